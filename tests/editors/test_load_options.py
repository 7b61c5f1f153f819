"""Number format, offload, LoRAs and quantised weights: of every editor on this machine, in its recipe, refused in one line."""

import json
import shutil
import struct
from dataclasses import replace
from pathlib import Path

import accelerate
import gguf
import numpy as np
import pytest
import torch
from diffusers import FluxTransformer2DModel
from PIL import Image
from safetensors.torch import load_file, save_file

from mre.__main__ import main
from mre.editors import memory, weights
from mre.editors.capabilities import unused
from mre.editors.kinds import make_editor
from mre.editors.load_options import LoadOptions, Lora
from mre.editors.settings import EditSettings
from mre.editors.weights import computed_dtypes
from mre.errors import ModelError, SettingsError
from mre.models.known import shipped_folder
from mre.recipes import png_bytes, read_recipe
from mre.rewards import Reward
from tests.editors import tiny_diffusers
from tests.tiny_models import pipeline

ASKED = EditSettings("make it red", steps=1, seed=1)


@pytest.fixture(scope="module")
def kontext(tmp_path_factory) -> Path:
    return tiny_diffusers.save("FluxKontextPipeline", tmp_path_factory.mktemp("loaded") / "kontext", native=64)


@pytest.fixture(scope="module")
def ours(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("loaded") / "ours"
    pipeline(native_size=32).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def photo() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 72, 3), dtype=np.uint8))


@pytest.fixture(autouse=True)
def every_format(monkeypatch):
    """As on a chip that computes all of them: this one may not."""
    torch.set_num_threads(1)
    monkeypatch.setattr(weights, "computed_dtypes", lambda device: ("bfloat16", "float32"))


def editor(folder: Path | str, **said):
    """In float32 unless another number format is said, None for none."""
    return make_editor(str(folder), device="cpu", loading=LoadOptions(**{"dtype": "float32", **said}))


def lora_for(folder: Path, file: Path, rank: int = 2, size: float = 1.0, width: int | None = None) -> Path:
    """A LoRA on the attention of the transformer in a folder; `width`: of another model."""
    generator = torch.Generator().manual_seed(0)
    named = {}
    for name, value in load_file(folder / "transformer" / "diffusion_pytorch_model.safetensors").items():
        if name.endswith((".to_q.weight", ".to_v.weight")):
            out, into = (width, width) if width else value.shape
            base = f"transformer.{name.removesuffix('.weight')}"
            named[f"{base}.lora_A.weight"] = size * torch.randn(rank, into, generator=generator)
            named[f"{base}.lora_B.weight"] = size * torch.randn(out, rank, generator=generator)
    save_file(named, file)
    return file


def merged(folder: Path, lora: Path, scale: float, to: Path) -> Path:
    """By another route: the LoRA's product added to the weights themselves."""
    shutil.copytree(folder, to)
    file = to / "transformer" / "diffusion_pytorch_model.safetensors"
    tensors, parts = load_file(file), load_file(lora)
    for name in [name for name in parts if ".lora_A." in name]:
        base = name.removeprefix("transformer.").replace(".lora_A.weight", ".weight")
        tensors[base] = tensors[base] + scale * parts[name.replace("lora_A", "lora_B")] @ parts[name]
    save_file(tensors, file, metadata={"format": "pt"})
    return to


def away(one: Image.Image, other: Image.Image) -> float:
    return float(np.abs(np.asarray(one, float) - np.asarray(other, float)).mean())


def test_a_lora_edits_as_weights_do_to_which_it_was_added(kontext, photo, tmp_path):
    lora = lora_for(kontext, tmp_path / "mine.safetensors")
    result = editor(kontext, loras=(Lora(str(lora), 0.5),)).edit(photo, ASKED)
    plain, other = (editor(folder).edit(photo, ASKED) for folder in (kontext, merged(kontext, lora, 0.5, tmp_path / "merged")))
    assert away(result.made, plain.made) > 1
    assert away(result.made, other.made) < 0.1
    assert result.recipe.made_with["lora"].startswith("mine.safetensors:0.5 ")
    assert "lora" not in plain.recipe.made_with
    assert any(line.startswith("LoRA: ") for line in result.recipe.differences(plain.recipe))


def test_several_loras_add_up_and_a_folder_is_named_for_its_only_file(kontext, photo, tmp_path):
    folder = tmp_path / "lora"
    folder.mkdir()
    lora = lora_for(kontext, folder / "any.safetensors")
    twice = editor(kontext, loras=(Lora(str(folder), 0.25), Lora(str(lora), 0.25))).edit(photo, ASKED)
    once = editor(kontext, loras=(Lora(str(lora), 0.5),)).edit(photo, ASKED)
    assert away(twice.made, once.made) < 0.1


@pytest.mark.parametrize(("make", "said"), [
    (lambda kontext, tmp: tmp / "absent", "there is no such file or folder, and it is no hub id"),
    (lambda kontext, tmp: tmp, "holds no .safetensors file"),
    (lambda kontext, tmp: lora_for(kontext, tmp / "wide.safetensors", width=48), "is no LoRA of a FluxKontextPipeline: "),
    (lambda kontext, tmp: saved(tmp / "other.safetensors", "transformer.blocks.7.attn.to_q"), "FluxKontextPipeline"),
    (lambda kontext, tmp: saved(tmp / "unet.safetensors", "unet.mid_block.attentions.0.to_q"), "FluxKontextPipeline"),
    (lambda kontext, tmp: kontext / "vae" / "diffusion_pytorch_model.safetensors", "holds no layers of a LoRA"),
    (lambda kontext, tmp: kontext / "model_index.json", "is no safetensors file, or is damaged")])
def test_a_lora_of_another_model_or_none_is_refused_in_one_line(kontext, photo, tmp_path, make, said):
    source = make(kontext, tmp_path)
    with pytest.raises(ModelError, match=said) as caught:
        editor(kontext, loras=(Lora(str(source)),)).edit(photo, ASKED)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"--lora {source.name}: ")


def saved(file: Path, layer: str) -> Path:
    save_file({f"{layer}.lora_A.weight": torch.ones(2, 32), f"{layer}.lora_B.weight": torch.ones(32, 2)}, file)
    return file


def test_the_embedded_editor_takes_a_lora_and_half_precision_too(photo, tmp_path):
    unet = make_editor("tiny", device="cpu").pipeline().unet
    name, layer = next((name, layer) for name, layer in unet.named_modules() if name.endswith("to_q"))
    ones = torch.ones(2, layer.in_features), torch.ones(layer.out_features, 2)
    save_file({f"unet.{name}.lora_A.weight": ones[0], f"unet.{name}.lora_B.weight": ones[1]}, tmp_path / "mine.safetensors")
    asked = EditSettings("make it night")
    mine = Lora(str(tmp_path / "mine.safetensors"))
    said = {}, {"loras": (mine,)}, {"dtype": "bfloat16"}
    plain, with_lora, half = (editor("tiny", **each).edit(photo, asked) for each in said)
    assert away(with_lora.made, plain.made) > 0.01
    assert 0 < away(half.made, plain.made) < 4
    assert half.recipe.made_with["dtype"] == "bfloat16"
    assert editor("tiny", dtype="float32").edit(photo, asked).png() == plain.png(), "its own format, asked for by name"


@pytest.mark.parametrize("kind", ["FluxKontextPipeline", "StableDiffusionXLInstructPix2PixPipeline"])
def test_half_precision_is_near_the_whole_one_and_auto_is_the_fastest_that_the_chip_computes(kind, photo, tmp_path):
    folder = tiny_diffusers.save(kind, tmp_path / kind, native=64)
    plain, half, auto = (editor(folder, dtype=dtype).edit(photo, ASKED) for dtype in ("float32", "bfloat16", "auto"))
    assert 0 < away(half.made, plain.made) < 6
    assert [each.recipe.made_with["dtype"] for each in (plain, half)] == ["float32", "bfloat16"]
    assert auto.png() == editor(folder, dtype=None).edit(photo, ASKED).png() == half.png(), "which is the default"


@pytest.mark.parametrize(("said", "message"), [
    ({"dtype": "float16"}, "--dtype float16: cpu has no units for it; take bfloat16 or float32, or auto"),
    ({"offload": "model"}, "--offload model keeps weights in the machine's memory until an accelerator needs them, and this"),
    ({"quantise": "quanto-int8"}, "--quantise quanto-int8 needs the package optimum-quanto, which is not installed: python -m pip install"),
    ({"gguf": Path(__file__)}, "--gguf test_load_options.py: this is no GGUF file")])
def test_what_this_machine_cannot_do_is_said_in_one_line(kontext, photo, said, message):
    with pytest.raises(SettingsError) as caught:
        editor(kontext, **said).edit(photo, ASKED)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("said", "message"), [
    ({"dtype": "int3"}, "--dtype must be one of auto, float32, bfloat16, float16, got 'int3'"),
    ({"gguf": Path("no/such.gguf")}, "--gguf no/such.gguf: there is no such file"),
    ({"gguf": Path(__file__), "quantise": "torchao-int8"}, "--gguf: such a file is quantised already; leave out --quantise")])
def test_options_that_are_none_are_refused(said, message):
    with pytest.raises(SettingsError) as caught:
        LoadOptions(**said)
    assert str(caught.value) == message


def test_a_lora_is_read_with_its_scale_and_its_model(tmp_path):
    (tmp_path / "a:2").mkdir()
    assert Lora.parse("x.safetensors:0.8") == Lora("x.safetensors", 0.8)
    assert Lora.parse("owner/name/file.safetensors") == Lora("owner/name/file.safetensors")
    assert Lora.parse("kontext=owner/name:-1") == Lora("owner/name", -1.0, "kontext")
    assert Lora.parse(f"{tmp_path}/a:2") == Lora(f"{tmp_path}/a:2"), "a folder of that name"
    assert Lora.parse("C:\\loras\\x") == Lora("C:\\loras\\x")
    for wrong in ("x:nan", "x:99", f"{tmp_path}:much"):
        with pytest.raises(SettingsError, match=r"^--lora [^\n/]+: the scale must be a number between -10 and 10, got "):
            Lora.parse(wrong)
    options = LoadOptions(loras=(Lora("a"), Lora("b", model="kontext"), Lora("c", model="tiny")))
    assert [lora.source for lora in options.of_model("/models/kontext").loras] == ["a", "b"]


@pytest.mark.parametrize("offload", ["model", "sequential", "group"])
@pytest.mark.parametrize("kind", ["kontext", "ours"])
def test_offloaded_it_gives_the_same_pixels(kind, photo, offload, request, monkeypatch):
    """The processor in the accelerator's place: the hooks are the same. (There is one processor; for accelerate "cpu:0" is another.)"""
    own = accelerate.cpu_offload
    monkeypatch.setattr(accelerate, "cpu_offload", lambda model, device, **more: own(model, torch.device(device.type), **more))
    folder = request.getfixturevalue(kind)
    expected = editor(folder).edit(photo, ASKED)
    monkeypatch.setattr(weights, "check_offload", lambda *_: None)
    result = editor(folder, offload=offload).edit(photo, ASKED)
    assert result.made.tobytes() == expected.made.tobytes()
    assert (result.recipe.made_with["offload"], result.recipe.differences(expected.recipe)) == (offload, [])


def test_a_second_edit_of_the_same_photo_and_instruction_runs_no_encoder_whatever_else_is_asked(ours, photo):
    mine, runs = editor(ours), []
    for part in (mine.pipeline().text_encoder, mine.pipeline().vae.encoder):
        part.register_forward_hook(lambda module, *_: runs.append(type(module).__name__))
    mine.edit(photo, ASKED)
    assert runs == ["CLIPTextModel", "CLIPTextModel", "Encoder"], "reward text, instruction, photo"
    mine.edit(photo, replace(ASKED, seed=9, steps=2, guidance_scale=3.0, reward=Reward(1, 2, 3), fast=True))
    assert len(runs) == 3


@pytest.mark.parametrize("kind", ["kontext", "ours"])
def test_compiled_every_step_of_the_denoiser_goes_through_what_torch_compiled(kind, photo, request, monkeypatch):
    """With a compiler in torch's place that changes nothing: torch's own takes a minute."""
    calls, folder = [], request.getfixturevalue(kind)

    def compiler(forward):
        def compiled(*values, **named):
            calls.append(forward)
            return forward(*values, **named)
        return compiled
    monkeypatch.setattr(torch, "compile", compiler)
    plain, result = (editor(folder, compile=compile).edit(photo, replace(ASKED, steps=2)) for compile in (False, True))
    assert len(calls) == 2
    assert result.made.tobytes() == plain.made.tobytes()
    assert result.recipe.made_with["compiled"] == "by torch"
    assert plain.recipe.differences(result.recipe) == ["compiled: no then, by torch now"]


def test_without_a_compiler_it_is_said_in_one_line_before_anything_is_read(kontext, photo, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setenv("CXX", "cc9")
    monkeypatch.setattr(weights, "add_loras", lambda *_: pytest.fail("the weights were read"))
    photo.save(tmp_path / "photo.png")
    assert main(["edit", str(tmp_path / "photo.png"), "make it red", "--model", str(kontext), "--device", "cpu", "--compile", "--out",
                 str(tmp_path / "out.png")]) == 1
    assert capsys.readouterr().err == "error: --compile needs a C++ compiler, and there is no cc9 here; install one, or name it in CXX\n"
    with pytest.raises(SettingsError, match=r"--compile: with --offload group weights come and go during a run; leave out one of the two"):
        LoadOptions(offload="group", compile=True)


def gguf_of(kontext: Path, file: Path) -> Path:
    """The transformer in a file as llama.cpp's tools write it: matrices in blocks of 32 numbers of 8 bits where these fit."""
    writer = gguf.GGUFWriter(str(file), "flux")
    for name, value in load_file(kontext / "transformer" / "diffusion_pytorch_model.safetensors").items():
        array = value.float().numpy()
        kind = gguf.GGMLQuantizationType.Q8_0 if array.ndim == 2 and array.shape[1] % 32 == 0 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(name, gguf.quants.quantize(array, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file


def test_a_gguf_file_edits_nearly_as_the_weights_that_it_was_made_of(kontext, photo, tmp_path):
    folder = shutil.copytree(kontext, tmp_path / "mine")
    file = gguf_of(kontext, tmp_path / "tiny-Q8_0.gguf")
    (folder / "transformer" / "diffusion_pytorch_model.safetensors").unlink()           # it is read from the other file
    plain, result = editor(kontext).edit(photo, ASKED), editor(folder, gguf=file).edit(photo, ASKED)
    assert 0 < away(result.made, plain.made) < 6
    assert result.recipe.made_with["gguf"].startswith("tiny-Q8_0.gguf ")


def test_a_gguf_file_of_another_model_is_refused_in_one_line(kontext, photo, tmp_path):
    other = FluxTransformer2DModel(patch_size=1, in_channels=8, num_layers=2, num_single_layers=1, attention_head_dim=16,
                                   num_attention_heads=4, joint_attention_dim=32, pooled_projection_dim=32, axes_dims_rope=(4, 4, 8))
    other.save_pretrained(tmp_path / "transformer")
    file = gguf_of(tmp_path, tmp_path / "other.gguf")
    with pytest.raises(SettingsError, match=r"^--gguf other.gguf: [^\n]+$"):
        editor(kontext, gguf=file).edit(photo, ASKED)
    (tmp_path / "cut.gguf").write_bytes(file.read_bytes()[:2000])
    with pytest.raises(SettingsError, match=r"^--gguf cut.gguf: [^\n]+$"):
        editor(kontext, gguf=tmp_path / "cut.gguf").edit(photo, ASKED)


@pytest.mark.parametrize(("free", "device", "said"), [
    ({"cpu": 30e9}, "cpu", "12 billion weights, 48 GB as float32, and 30 GB of memory are free on cpu; what would fit: --dtype bfloat16"),
    ({"cpu": 14e9}, "cpu", "14 GB of memory are free on cpu; what would fit: --quantise torchao-int8 or --quantise bitsandbytes-4bit"),
    ({"cpu": 2e9}, "cpu", "nothing makes it fit here: take a smaller model, such as FLUX.2 klein 4B"),
    ({"cpu": 60e9, "cuda": 18e9}, "cuda", "18 GB of memory are free on cuda; what would fit: --offload group or --offload sequential or "),
    ({"cpu": 60e9, "cuda": 42e9}, "cuda", "--dtype bfloat16 or --offload model or --offload group")])
def test_weights_that_do_not_fit_are_refused_with_what_would(tmp_path, monkeypatch, free, device, said):
    for part, count in (("transformer", 10_000_000_000), ("text_encoder", 2_000_000_000)):
        (tmp_path / part).mkdir()
        header = json.dumps({"w": {"dtype": "BF16", "shape": [count], "data_offsets": [0, 2 * count]}}).encode()
        (tmp_path / part / "model.safetensors").write_bytes(struct.pack("<Q", len(header)) + header)     # the header alone: nothing is read
    monkeypatch.setattr(memory, "free_memory", lambda place: int(free[place]))
    with pytest.raises(ModelError) as caught:
        memory.check_memory(memory.parts_of(tmp_path), device, "float32", LoadOptions(), "mine", ("bfloat16", "float32"))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_command_takes_them_and_a_model_that_is_not_named_is_refused(kontext, photo, tmp_path, capsys):
    photo.save(tmp_path / "photo.png")
    lora = lora_for(kontext, tmp_path / "mine.safetensors")
    command = ["edit", str(tmp_path / "photo.png"), "make it red", "--model", str(kontext), "--device", "cpu", "--steps", "1", "--out",
               str(tmp_path / "out.png"), "--dtype", "bfloat16", "--lora"]
    assert main([*command, f"kontext={lora}:0.5"]) == 0
    assert read_recipe(tmp_path / "out.png").made_with.keys() >= {"dtype", "lora"}
    capsys.readouterr()
    assert main([*command, f"klein={lora}"]) == 1
    assert capsys.readouterr().err == f"error: --lora klein=mine.safetensors: no such model is named; there are {kontext}\n"


def test_the_chip_is_asked_for_the_formats_that_it_computes(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True, "amx_fp16": False})
    assert computed_dtypes("cpu") == ("bfloat16", "float32")
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    assert computed_dtypes("cpu") == ("float32",)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: pytest.fail("a process that may not ask"))
    monkeypatch.setenv("SPACES_ZERO_GPU", "true")
    assert computed_dtypes("cuda")[0] == "bfloat16"


def test_the_models_that_ship_and_those_trained_from_them_stay_in_float32_and_others_take_what_the_chip_computes(tmp_path):
    for name, dtype in (("tiny", "float32"), ("tiny-untrained", "float32"), ("reward-insp2p", "bfloat16")):
        assert make_editor(name, device="cpu").dtype == dtype
    shipped = shutil.copytree(shipped_folder("tiny"), tmp_path / "mine")
    assert make_editor(str(shipped), device="cpu").loaded_with() == {"dtype": "float32"}
    assert make_editor(str(shipped), device="cpu").identity == make_editor("tiny").info.digest, "as in results of before"
    pipeline().save_pretrained(tmp_path / "other")
    other = make_editor(str(tmp_path / "other"), device="cpu")
    assert other.identity == f"{other.info.digest}; dtype bfloat16", "whose edits are not mixed with those of before"
    assert editor(tmp_path / "other").identity == other.info.digest
    assert other.prepare().unet.dtype == torch.bfloat16


def test_fast_is_half_the_steps_by_another_solver_with_guidance_on_an_interval_and_the_same_bytes_from_its_recipe(photo, tmp_path, capsys):
    pipeline(native_size=32, default_steps=5).save_pretrained(tmp_path / "model")
    photo.save(tmp_path / "photo.png")
    flags, model = ["--device", "cpu"], str(tmp_path / "model")
    (tmp_path / "jobs.csv").write_text("image,instruction,fast,out\nphoto.png,make it red,,fast.png\nphoto.png,make it red,no,slow.png\n")
    assert main(["edit", str(tmp_path / "jobs.csv"), *flags, "--model", model, "--fast", "--out", str(tmp_path)]) == 0
    made = read_recipe(tmp_path / "fast.png")
    assert (made.steps, made.scheduler, made.guidance_interval) == (2, "dpm-solver", (0.1, 0.8))
    assert read_recipe(tmp_path / "slow.png").steps == 5
    command = ["edit", str(tmp_path / "photo.png"), *flags]
    assert main([*command, "--model", model, "--recipe", str(tmp_path / "fast.png"), "--out", str(tmp_path / "again.png")]) == 0
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "fast.png").read_bytes()
    info = make_editor(model, device="cpu").info
    own = EditSettings("make it red", steps=4, scheduler="ddim", fast=True).resolved(info)
    assert (own.steps, own.scheduler, own.guidance_interval) == (4, "ddim", (0.1, 0.8)), "what is said stays"
    assert unused(replace(EditSettings.from_recipe(made), fast=True), info) == {}, "it is fast already"
    capsys.readouterr()
    assert main([*command[:2], "make it red", *flags, "--model", "tiny", "--fast", "--out", str(tmp_path / "tiny.png")]) == 1
    assert capsys.readouterr().err == ("error: --fast: the model tiny has no steps and no guidance to leave out of an edit with these "
                                       "settings; leave it out\n")


def test_a_recipe_from_before_number_formats_were_told_is_made_in_float32_again(photo, tmp_path, capsys, monkeypatch):
    pipeline(native_size=32).save_pretrained(tmp_path / "model")
    photo.save(tmp_path / "photo.png")
    command = ["edit", str(tmp_path / "photo.png"), "--model", str(tmp_path / "model"), "--device", "cpu", "--steps", "1"]
    before = editor(tmp_path / "model").edit(photo, ASKED)
    told_nothing = replace(before.recipe, made_with={name: text for name, text in before.recipe.made_with.items() if name != "dtype"})
    (tmp_path / "before.png").write_bytes(png_bytes(before.image, told_nothing))
    now = make_editor(str(tmp_path / "model"), device="cpu").edit(photo, ASKED)
    (tmp_path / "now.png").write_bytes(now.png())
    assert told_nothing.differences(now.recipe) == ["number format: float32 then, bfloat16 now"]
    for name, expected in (("before", before), ("now", now)):
        assert main([*command, "--recipe", str(tmp_path / f"{name}.png"), "--out", str(tmp_path / f"{name} again.png")]) == 0
        assert (tmp_path / f"{name} again.png").read_bytes() == expected.png()
    monkeypatch.setattr(weights, "computed_dtypes", lambda device: ("float32",))
    assert main([*command, "--recipe", str(tmp_path / "now.png"), "--out", str(tmp_path / "other.png")]) == 0
    assert "note: now.png was made in bfloat16, which this chip does not compute: it is made in float32 here\n" in capsys.readouterr().err
    assert (tmp_path / "other.png").read_bytes() == before.png()
