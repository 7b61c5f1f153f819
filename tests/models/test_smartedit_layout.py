"""SmartEdit's released layout: read, converted, and refused in one line where it is not right."""

import json
import shutil
import sys
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import LlamaModel

from mre.__main__ import main
from mre.editors.kinds import make_editor
from mre.editors.load_options import LoadOptions
from mre.errors import ModelError, SettingsError
from mre.models.hub import find_folder
from mre.models.smartedit import assembly
from mre.models.smartedit.connector import SmartEditConnector, VisionProjector
from mre.models.smartedit.names import is_computed, our_name
from mre.models.smartedit.prompt import NEW_TOKENS, check_tokenizer, encode, read_tokenizer
from mre.models.smartedit.released import LORA, ReleasedFolder, llama_config
from mre.models.zoo import load_pipeline, load_starting_pipeline
from mre.rewards import Reward
from tests.models.fake_hub import hub_for
from tests.tiny_smartedit import released_tensors

LLM, SMALL = "LLM-15000/adapter_model.bin", "embeddings_qformer/checkpoint-15000_embeddings_qformer.bin"


@pytest.fixture(scope="module")
def tensors(shared):
    return released_tensors(shared)


@pytest.fixture(scope="module")
def folder(smartedit_released):
    return smartedit_released


@pytest.fixture(scope="module")
def converted(smartedit_converted):
    return smartedit_converted


@pytest.fixture
def copy(folder, tmp_path):
    """The folder, to be spoiled: with links to what stands beside it."""
    for place in folder.parent.iterdir():
        if place != folder:
            (tmp_path / place.name).symlink_to(place)
    return shutil.copytree(folder, tmp_path / folder.name)


def edited(pipeline, **settings):
    pipeline.set_progress_bar_config(disable=True)
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8))
    return np.asarray(pipeline("add 2 bicycles", image=photo, num_inference_steps=1, generator=torch.Generator().manual_seed(1),
                               **settings).images[0])


def test_a_folder_edits_and_its_converted_form_gives_the_same_bytes(folder, converted):
    released, anew = load_pipeline(str(folder), "cpu"), load_pipeline(str(converted), "cpu")
    made = edited(released)
    assert made.std() > 5
    assert np.array_equal(edited(anew), made)
    assert released.config.native_size == 256
    assert anew.config.native_size == 64
    assert not [*converted.rglob("*.bin")]
    assert released.language_model.dtype == anew.language_model.dtype == torch.bfloat16
    assert anew.to(torch.float16).connector.dtype == torch.float32
    assert anew.language_model.dtype == torch.bfloat16


def test_what_was_converted_in_many_shards_is_what_was_converted_in_one(folder, converted, tmp_path):
    from mre.models.smartedit.convert import convert

    convert(folder, tmp_path, shard_bytes=8_000)
    for part, stem in (("language_model", "model"), ("unet", "diffusion_pytorch_model")):
        shards = sorted((tmp_path / part).glob("*.safetensors"))
        assert len(shards) > 3
        assert max(file.stat().st_size for file in shards) < sum(file.stat().st_size for file in shards) * 0.6
        together = {name: value for file in shards for name, value in load_file(file).items()}
        whole = load_file(converted / part / f"{stem}.safetensors")
        assert together.keys() == whole.keys()
        assert all(torch.equal(together[name], whole[name]) for name in whole)
    assert np.array_equal(edited(load_pipeline(str(tmp_path), "cpu")), edited(load_pipeline(str(converted), "cpu")))


def test_adapters_are_merged_in_float32(folder, tensors):
    merged = ReleasedFolder(folder).read()["language_model"].tensors
    name = "model.base_model.model.layers.1.self_attn.q_proj"
    weight, a, b = (tensors["llm"][f"{name}{part}"] for part in (".weight", ".lora_A.default.weight", ".lora_B.default.weight"))
    x = torch.randn(3, 32, generator=torch.Generator().manual_seed(0))
    unmerged = x @ weight.T + 16 / 8 * (x @ a.T) @ b.T
    assert torch.allclose(x @ merged["layers.1.self_attn.q_proj.weight"].T, unmerged, atol=1e-5)


def test_names_and_shapes_are_those_of_both_released_sizes(shared):
    keys = json.loads((shared / "parity_smartedit" / "released_checkpoint_keys.json").read_text())
    for size, width, hidden, heads in (("7b", 4096, 11008, 32), ("13b", 5120, 13824, 40)):
        layers = [(name.replace("layers.0.", f"layers.{number}."), shape) for number in range(keys[size]["llm_layers"])
                  for name, shape in keys[size]["llm_layer0"]]
        listed = {our_name(name): tuple(shape) for name, shape in
                  [*layers, *keys[size]["llm_other"], *keys[size]["qformer"], *keys[size]["embeddings_file_extra"], *keys["bim"]]
                  if not is_computed(name) and not LORA.fullmatch(name) and name != "lm_head.weight"}
        stored = {name.removeprefix("language_model."): torch.empty(shape, device="meta") for name, shape in listed.items()
                  if name.startswith("language_model.")}
        config = llama_config(assembly.Stored(None, stored, {}), {})
        assert (config.hidden_size, config.intermediate_size, config.num_attention_heads) == (width, hidden, heads)
        with torch.device("meta"):
            models = {"language_model": LlamaModel(config), "projector": VisionProjector(1024, width),
                      "connector": SmartEditConnector(language_width=width)}
        ours = {f"{part}.{name}": tuple(value.shape) for part, model in models.items() for name, value in model.state_dict().items()}
        assert ours == listed
        assert len(layers) + len(keys[size]["llm_other"]) == keys[size]["llm_key_count"]


def test_an_editor_of_a_folder_says_what_it_is_without_loading_and_gives_the_photo_its_size_back(folder):
    editor = make_editor(str(folder))
    info = editor.info
    assert (info.native_size, info.size_rule, info.steps, info.conditioned) == (256, "square", 100, False)
    assert len(info.digest) == 64
    public = make_editor("smartedit-13b")
    assert (public.info.steps, public.capabilities.reward, public.info.digest) == (100, False, None)


def test_training_begins_from_it_without_effect_of_the_new_layers_and_reads_the_readers_when_it_needs_them(folder):
    start = load_starting_pipeline(str(folder), variant="released", use_score=True, use_text=True, use_attention=True, use_addition=True,
                                   perspectives=("following", "preserving", "quality"), reward_init="zero")
    assert start.conditioned
    assert start.readers is None
    start.load_readers()
    assert np.array_equal(edited(start, reward=Reward(1, 2, 3)), edited(load_pipeline(str(folder), "cpu")))


def test_a_model_saved_without_its_readers_reads_those_of_the_model_that_it_names(folder, tmp_path):
    pipeline = load_pipeline(str(folder), "cpu")
    made = edited(pipeline)
    pipeline.drop_readers()
    assert np.array_equal(edited(pipeline), made)                   # what was read is kept
    pipeline.register_to_config(readers_from=str(folder))
    pipeline.save_pretrained(tmp_path / "light")
    assert not (tmp_path / "light" / "language_model").exists()
    assert np.array_equal(edited(load_pipeline(str(tmp_path / "light"), "cpu")), made)


def spoil(path, change):
    tensors = torch.load(path)
    change(tensors)
    torch.save(tensors, path)


def rows(count):
    name = "model.base_model.model.embed_tokens.weight"
    return lambda tensors: tensors.update({name: torch.zeros(count, 32)})


FAULTS = {
    "an embedding of LLaVA's": (LLM, rows(32_003), "32003 rows"),
    "an embedding of other rows": (LLM, rows(600), "600 rows, and the tokenizer 595 tokens"),
    "delta weights": (LLM, lambda t: t["model.base_model.model.norm.weight"].mul_(0.001), "delta weights"),
    "half an adapter": (LLM, lambda t: t.pop("model.base_model.model.layers.1.self_attn.v_proj.lora_B.default.weight"),
                        "adapter of model.base_model.model.layers.1.self_attn.v_proj is not whole"),
    "a missing tensor": (LLM, lambda t: t.pop("model.base_model.model.layers.1.mlp.up_proj.weight"),
                         "missing tensor: layers.1.mlp.up_proj.weight"),
    "a tensor too many": (SMALL, lambda t: t.update({"sd_qformer.extra": torch.zeros(1)}), "unexpected tensor: sd_qformer.extra"),
    "another shape": (SMALL, lambda t: t.update({"mm_projector.bias": torch.zeros(5)}), "mm_projector.bias must be"),
    "no numbers": (SMALL, lambda t: t["sd_query_tokens"].fill_(float("nan")), "the Q-Former gives numbers that are not finite"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_a_file_is_one_line_that_names_it(copy, fault):
    file, change, message = FAULTS[fault]
    spoil(copy / file, change)
    with pytest.raises(ModelError, match=message.replace(".", r"\.")) as raised:
        edited(load_pipeline(str(copy), "cpu"))
    assert "\n" not in str(raised.value)


def test_a_missing_part_names_what_is_there_in_its_place(copy):
    (copy / LLM).rename(copy / "LLM-15000" / "pytorch_model-00001-of-00002.bin")
    with pytest.raises(ModelError, match=r"adapter_model\.bin is missing; there is pytorch_model-00001-of-00002\.bin"):
        load_pipeline(str(copy), "cpu")
    shutil.rmtree(copy / "modulate-15000")
    with pytest.raises(ModelError, match=r"LLM-15000/adapter_model\.bin is missing"):
        load_pipeline(str(copy), "cpu")


def test_a_pickle_that_holds_more_than_tensors_is_refused_unread(copy, tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "written"), "w"))

    torch.save({"a": Evil()}, copy / LLM)
    with pytest.raises(ModelError, match="holds more than tensors"):
        load_pipeline(str(copy), "cpu")
    assert not (tmp_path / "written").exists()
    (copy / LLM).write_bytes((copy / SMALL).read_bytes()[:2000])
    with pytest.raises(ModelError, match="is damaged"):
        load_pipeline(str(copy), "cpu")


@pytest.mark.parametrize("place", ["LLM-15000", "."])
def test_the_adapters_config_is_heard_at_either_level(copy, tensors, place):
    name = "model.base_model.model.layers.0.self_attn.q_proj"
    weight, a, b = (tensors["llm"][f"{name}{part}"] for part in (".weight", ".lora_A.default.weight", ".lora_B.default.weight"))
    path = copy / place / "adapter_config.json"
    path.write_text(json.dumps({"r": 8, "lora_alpha": 24, "target_modules": ["q_proj", "v_proj"]}))
    merged = ReleasedFolder(copy).read()["language_model"].tensors["layers.0.self_attn.q_proj.weight"]
    assert torch.allclose(merged, weight + 3 * b @ a, atol=1e-6)
    for config, message in (({"r": 4}, "says rank 4"), ({"lora_alpha": "x"}, "lora_alpha must be a number"),
                            ({"target_modules": ["k_proj"]}, "says adapters of k_proj")):
        path.write_text(json.dumps(config))
        with pytest.raises(ModelError, match=message):
            ReleasedFolder(copy).read()


def test_what_is_neither_beside_the_folder_nor_on_the_hub_is_named(copy):
    (copy.parent / "clip-vit-large-patch14").unlink()
    with pytest.raises(ModelError, match="needs openai/clip-vit-large-patch14 beside it, in a folder clip-vit-large-patch14"):
        load_pipeline(str(copy), "cpu")


def test_converting_refuses_what_it_cannot_use_and_leaves_nothing(copy, tmp_path, capsys):
    for flags, message in ((["--size", "100"], "--size must be a multiple of 8"), ([], "unet-15000/adapter_model.bin is missing")):
        if not flags:
            (copy / "unet-15000" / "adapter_model.bin").unlink()
        assert main(["convert", str(copy), "--out", str(tmp_path / "out"), *flags]) == 1
        assert message in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
    assert main(["convert", str(tmp_path), "--out", str(tmp_path / "out")]) == 1
    assert "not in SmartEdit's released layout" in capsys.readouterr().err


def test_a_tokenizer_that_splits_otherwise_is_refused_at_the_first_token_that_differs(shared):
    tokenizer = read_tokenizer(shared / "parity_smartedit")

    class Large:
        """As large as LLaMA's, and splits like the small one."""

        def __len__(self):
            return 32_035

        def convert_tokens_to_ids(self, tokens):
            return [32_000 + NEW_TOKENS.index(token) for token in tokens]

        def encode(self, text):
            return tokenizer.encode(text)

    with pytest.raises(ModelError, match="token 1 of the question is 298, it must be 319"):
        check_tokenizer(Large(), "folder")


def test_bitsandbytes_that_is_not_installed_is_named(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match="--quantise bitsandbytes-4bit needs the package bitsandbytes, which is not installed"):
        assembly.quantization("bitsandbytes-4bit")
    with pytest.raises(ModelError, match=r"--quantise torchao-int8: .* by bitsandbytes-8bit or bitsandbytes-4bit"):
        assembly.quantization("torchao-int8")


def test_bits_of_a_language_model_are_a_flag_that_no_other_model_takes(smartedit_converted, smartedit_released, monkeypatch):
    asked = []
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr(assembly, "folder_readers", lambda folder, dtype, quantise: asked.append((folder.name, quantise)) or sys.exit())
    flag = LoadOptions(quantise="bitsandbytes-4bit")
    with pytest.raises(SystemExit):
        make_editor(str(smartedit_converted), device="cpu", loading=flag).prepare()
    assert asked == [(smartedit_converted.name, "bitsandbytes-4bit")]
    with pytest.raises(ModelError, match="needs a converted folder: python -m mre convert"):
        load_pipeline(str(smartedit_released), "cpu", quantise="bitsandbytes-8bit")
    with pytest.raises(SettingsError, match="is for other people's pipelines and for the language model of a SmartEdit"):
        load_pipeline("tiny-untrained", "cpu", quantise="bitsandbytes-8bit")


def test_tokens_of_an_instruction_are_counted_beside_those_of_the_conversation(smartedit_converted):
    editor: Any = make_editor(str(smartedit_converted), device="cpu")
    tokenizer = editor.prepare().llm_tokenizer
    count, most, rest = editor.count_tokens("make it blue")
    assert (count, rest) == (len(tokenizer.tokenize("make it blue")), "")
    text = "blue " * (most + 5)
    count, _, rest = editor.count_tokens(text)
    assert count > most
    assert len(tokenizer.tokenize(text.removesuffix(rest))) == pytest.approx(most, abs=2)
    with pytest.raises(SettingsError, match=f"this model reads {most}; shorten it"):
        encode(text, tokenizer)


def test_too_little_memory_is_said_before_anything_is_read_with_what_would_fit(smartedit_converted, monkeypatch):
    monkeypatch.setattr(assembly, "folder_readers", None)
    sizes = {name: sum(file.stat().st_size for file in (smartedit_converted / name).glob("*.safetensors"))
             for name in ("language_model", "projector", "connector", "vision_tower")}
    others = sum(sizes.values()) - sizes["language_model"]
    for share, message in ((0.4, "--quantise bitsandbytes-4bit of a converted folder .* would fit"), (0.1, "nothing of it would fit")):
        monkeypatch.setattr(assembly, "free_memory", lambda share=share: round(others + share * sizes["language_model"]))
        with pytest.raises(ModelError, match=f"GB of memory, and .* GB are free; {message}"):
            load_pipeline(str(smartedit_converted), "cpu")


def test_a_converted_folder_comes_from_the_hub_with_its_readers_also_after_a_cut(smartedit_converted, monkeypatch, tmp_path):
    with hub_for(monkeypatch, tmp_path / "cache") as hub:
        hub.repositories["someone/smart"] = smartedit_converted
        fetched = find_folder("someone/smart", token=False)
        names = {path.relative_to(fetched).as_posix() for path in fetched.rglob("*") if path.is_file()}
        assert {"language_model/model.safetensors", "vision_tower/model.safetensors", "llm_tokenizer/tokenizer.json",
                "connector/diffusion_pytorch_model.safetensors", "projector/config.json"} <= names
        assert find_folder("someone/smart", local_files_only=True) == fetched
        (fetched / "language_model" / "model.safetensors").unlink()
        with pytest.raises(ModelError, match=r"language_model/model\.safetensors is missing"):
            find_folder("someone/smart", local_files_only=True)
        find_folder("someone/smart", token=False)
        assert (fetched / "language_model" / "model.safetensors").is_file()
