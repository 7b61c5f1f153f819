"""Model folders in three layouts, and everything that can be wrong with one."""

import json
import shutil

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionInstructPix2PixPipeline, StableDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file, save_file

from mre import Reward
from mre.errors import ModelError
from mre.models import zoo
from mre.models.released import export_released
from mre.models.unet import RewardUNet2DConditionModel
from mre.pipeline import RewardEditPipeline
from tests.tiny_models import UNET, pipeline, plain_unet, reward_inputs, reward_unet, unet_inputs

RELEASED_SIZES = {"block_out_channels": (320, 32), "norm_num_groups": 32, "attention_head_dim": 8, "reward_text_dim": 768,
                  "reward_sinusoid_channels": 256, "reward_num_heads": 8, "cross_attention_dim": 768}    # the reference's literals
CONDITION = {"use_score": True, "use_text": True, "use_attention": True, "use_addition": True, "reward_sinusoid_channels": 16,
             "reward_num_heads": 4}
WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


def edited(editor, reward: Reward | None = None) -> torch.Tensor:
    editor.set_progress_bar_config(disable=True)
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8))
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    rewards = {} if reward is None else {"reward": reward}
    return editor("red", image, **rewards, latents=latents, num_inference_steps=2, guidance_scale=7.5, image_guidance_scale=1.5,
                  output_type="latent").images


def rewrite(folder, part=WEIGHTS, *, drop=(), add=None, change=None):
    """The same weights with some tensors less, more, or other."""
    tensors = load_file(folder / part)
    tensors = {name: value for name, value in tensors.items() if name not in drop} | (add or {}) | (change or {})
    save_file(tensors, folder / part, metadata={"format": "pt"})


@pytest.fixture(scope="module")
def editor():
    """A pipeline of the released layout's literal sizes, but small otherwise."""
    return pipeline(reward_unet(reward_init="released", **RELEASED_SIZES), text_dim=768)


@pytest.fixture(scope="module")
def exported(editor, tmp_path_factory):
    return export_released(editor, tmp_path_factory.mktemp("released") / "model")


@pytest.fixture
def released(exported, tmp_path):
    """A copy to spoil."""
    return shutil.copytree(exported, tmp_path / "model")


@pytest.fixture(scope="module")
def ours(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ours") / "model"
    pipeline().save_pretrained(folder)
    return folder


# ---------------------------------------------------------------------------------------------------- the released layout

def test_an_export_has_the_files_index_config_and_tensors_of_the_released_weights(exported, shared):
    reference = json.loads((shared / "parity" / "reference_unet_keys.json").read_text())
    layout = json.loads((shared / "parity" / "checkpoint_layout.json").read_text())
    files = {str(path.relative_to(exported)) for path in exported.rglob("*") if path.is_file()}
    assert set(layout["files"]) <= files
    index = json.loads((exported / "model_index.json").read_text())
    assert index == layout["model_index_expected"] | {"scheduler": ["diffusers", "DDIMScheduler"]}
    config = json.loads((exported / "unet" / "config.json").read_text())
    assert config.keys() == reference["saved_config_json"].keys()
    assert config["_class_name"] == "UNet2DConditionModel"
    tensors = load_file(exported / WEIGHTS)
    added = {name: list(value.shape) for name, value in tensors.items() if name in reference["additional_keys"]}
    assert added == reference["additional_keys"]
    assert set(tensors) - set(added) == set(plain_unet(**{k: v for k, v in RELEASED_SIZES.items() if k in UNET}).state_dict())
    assert any(name.startswith("text_model.") for name in load_file(exported / "text_encoder" / "model.safetensors"))


def test_an_export_read_back_edits_the_same_and_exports_the_same_bytes(editor, exported, tmp_path):
    again = RewardEditPipeline.from_pretrained(exported)
    assert torch.equal(edited(again, Reward(1, 0, 2)), edited(editor, Reward(1, 0, 2)))
    assert not torch.equal(edited(again, Reward(1, 0, 2)), edited(again))
    export_released(again, tmp_path / "again")
    for path in (WEIGHTS, "model_index.json", "unet/config.json", "tokenizer/vocab.json", "tokenizer/merges.txt"):
        assert (tmp_path / "again" / path).read_bytes() == (exported / path).read_bytes(), path


def test_the_unet_alone_is_read_from_its_folder_too(editor, exported):
    for unet in (RewardUNet2DConditionModel.from_pretrained(exported, subfolder="unet"),
                 RewardUNet2DConditionModel.from_pretrained(exported / "unet")):
        assert unet.state_dict().keys() == editor.unet.state_dict().keys()
        assert all(torch.equal(value, editor.unet.state_dict()[name]) for name, value in unet.state_dict().items())
        assert not unet.training


def test_a_subfolder_of_a_repository_is_a_model(editor, exported):
    again = RewardEditPipeline.from_pretrained(exported.parent, subfolder="model")
    assert torch.equal(edited(again), edited(editor))


def test_a_tokenizer_of_two_files_reads_the_same(editor, released):
    (released / "tokenizer" / "tokenizer.json").unlink()
    again = RewardEditPipeline.from_pretrained(released)
    for text in ("None; None; None", "Make the dog's hat red, 2 × bigger!"):
        assert again.tokenizer(text).input_ids == editor.tokenizer(text).input_ids


@pytest.mark.parametrize(("settings", "message"), [
    ({"variant": "paper"}, "variant must be released, it is paper"), ({"use_addition": False}, "use_addition must be True"),
    ({"perspectives": ("quality",)}, "all perspectives, it reads quality"),
    ({"reward_num_heads": 4}, "reward_num_heads must be 8, it is 4"),
    ({"block_out_channels": (64, 32)}, "first block must be 320"),
])
def test_a_model_that_the_released_layout_cannot_hold_is_not_exported(settings, message, tmp_path):
    editor = pipeline(reward_unet(**{**RELEASED_SIZES, **settings}), text_dim=768)
    with pytest.raises(ModelError, match=message):
        export_released(editor, tmp_path / "model")
    assert not list(tmp_path.iterdir()), "nothing is left half-written"


def test_an_export_overwrites_nothing(editor, exported):
    with pytest.raises(ModelError, match="is not empty"):
        export_released(editor, exported)


# ---------------------------------------------------------------------------------------------------- what can be wrong

@pytest.mark.parametrize("name", ["ca.attention.output.LayerNorm.bias", "add_embedding.linear_1.weight", "text_linear2.weight",
                                  "proj_deal.proj_in.weight", "conv_in.weight", "down_blocks.0.resnets.0.conv1.bias"])
def test_a_missing_tensor_of_a_released_model_is_named_as_it_is_named_there(released, name):
    rewrite(released, drop=[name])
    with pytest.raises(ModelError, match=f"missing tensor: {name}$"):
        RewardEditPipeline.from_pretrained(released)


@pytest.mark.parametrize("name", ["ca.attention.self.gate.weight", "add_embedding3.bias", "conv_in.scale"])
def test_an_unexpected_tensor_is_named(released, name):
    rewrite(released, add={name: torch.zeros(2)})
    with pytest.raises(ModelError, match=f"unexpected tensor: {name}$"):
        RewardEditPipeline.from_pretrained(released)


def test_a_misshapen_tensor_is_named_with_both_shapes(released):
    rewrite(released, change={"ca.output.dense.weight": torch.zeros(320, 160)})
    with pytest.raises(ModelError, match=r"tensor ca.output.dense.weight must be \(320, 320\), it is \(320, 160\)"):
        RewardEditPipeline.from_pretrained(released)


@pytest.mark.parametrize(("part", "drop", "message"), [
    ("unet/diffusion_pytorch_model.safetensors", "reward_encoder.out.bias", "unet: missing tensor: reward_encoder.out.bias"),
    ("vae/diffusion_pytorch_model.safetensors", "encoder.conv_in.bias", "vae: missing tensor: encoder.conv_in.bias"),
    ("text_encoder/model.safetensors", "text_model.final_layer_norm.bias", "text_encoder: missing tensor: .*final_layer_norm.bias"),
])
def test_a_missing_tensor_of_any_part_is_named(ours, tmp_path, part, drop, message):
    folder = shutil.copytree(ours, tmp_path / "model")
    tensors = load_file(folder / part)
    rewrite(folder, part, drop=[drop if drop in tensors else drop.removeprefix("text_model.")])
    with pytest.raises(ModelError, match=message):
        RewardEditPipeline.from_pretrained(folder)
    rewrite(folder, part, add={"stray.weight": torch.zeros(1)}, change=tensors)
    with pytest.raises(ModelError, match=r"unexpected tensor: .*stray.weight"):
        RewardEditPipeline.from_pretrained(folder)


def test_a_config_that_claims_a_reward_without_its_tensors_is_refused(ours, tmp_path):
    folder = shutil.copytree(ours, tmp_path / "model")
    rewrite(folder, drop=[name for name in load_file(folder / WEIGHTS) if name.startswith("reward_")])
    with pytest.raises(ModelError, match=r"missing tensors: reward_condition.score_time.linear_1.bias, .* and 31 more"):
        RewardEditPipeline.from_pretrained(folder)


def spoil_json(path, **changes):
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(("spoil", "message"), [
    (lambda m: shutil.rmtree(m), "there is no model folder"),
    (lambda m: shutil.rmtree(m / "unet"), "unet/diffusion_pytorch_model.safetensors is missing"),
    (lambda m: (m / "model_index.json").unlink(), "model_index.json is missing"),
    (lambda m: (m / "model_index.json").write_text("{"), "model_index.json cannot be read: it is damaged or no JSON"),
    (lambda m: (m / "model_index.json").write_text("[]"), "model_index.json cannot be read: it must hold an object"),
    (lambda m: (m / "unet" / "config.json").write_bytes(b"\xff\x00"), "unet/config.json cannot be read"),
    (lambda m: spoil_json(m / "unet" / "config.json", block_out_channels=[32]), "unet/config.json: Must provide the same number"),
    (lambda m: spoil_json(m / "unet" / "config.json", _class_name="Flux"), "Flux is not the U-Net of an editor"),
    (lambda m: spoil_json(m / "unet" / "config.json", use_text=False), "unexpected tensors: reward_condition.text_time.bias"),
    (lambda m: spoil_json(m / "model_index.json", _class_name="FluxPipeline"), "FluxPipeline is not an editor"),
    (lambda m: spoil_json(m / "model_index.json", scheduler=["os", "system"]), "system is not a scheduler"),
    (lambda m: spoil_json(m / "model_index.json", vae=["os", "AutoencoderRCE"]), "must be one of AutoencoderKL, PatchAutoencoder"),
    (lambda m: spoil_json(m / "model_index.json", tokenizer=None), "names no class for tokenizer"),
    (lambda m: (m / WEIGHTS).write_bytes((m / WEIGHTS).read_bytes()[:5000]), "diffusion_pytorch_model.safetensors is damaged"),
    (lambda m: (m / WEIGHTS).write_bytes(b""), "diffusion_pytorch_model.safetensors is damaged"),
    (lambda m: (m / WEIGHTS).rename(m / "unet" / "diffusion_pytorch_model.bin"), "diffusion_pytorch_model.bin is not read, since"),
    (lambda m: (m / "text_encoder" / "model.safetensors").write_bytes(b"x"), "text_encoder/model.safetensors is damaged"),
    (lambda m: (m / "tokenizer" / "tokenizer.json").unlink(), "tokenizer/tokenizer.json is missing"),
    (lambda m: (m / "tokenizer" / "tokenizer.json").write_text("{}"), "tokenizer cannot be read"),
    (lambda m: (m / "scheduler" / "scheduler_config.json").unlink(), "scheduler_config.json is missing"),
    (lambda m: spoil_json(m / "scheduler" / "scheduler_config.json", beta_schedule="steep"), "scheduler_config.json"),
])
def test_a_damaged_folder_gives_one_line_that_names_the_file(ours, tmp_path, spoil, message):
    folder = shutil.copytree(ours, tmp_path / "model")
    spoil(folder)
    with pytest.raises(ModelError, match=message) as caught:
        RewardEditPipeline.from_pretrained(folder)
    assert "\n" not in str(caught.value)


# ----------------------------------------------------------------------------------------- plain weights, and where training starts

@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plain") / "model"
    pipeline(plain_unet(), StableDiffusionInstructPix2PixPipeline).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def text_to_image(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sd") / "model"
    pipeline(plain_unet(in_channels=4), StableDiffusionPipeline).save_pretrained(folder)
    return folder


def test_plain_instructpix2pix_weights_edit_as_in_the_stock_pipeline(plain):
    stock = StableDiffusionInstructPix2PixPipeline.from_pretrained(plain, safety_checker=None)
    editor = RewardEditPipeline.from_pretrained(plain)
    assert not editor.conditioned
    assert torch.equal(edited(editor, Reward(0, 0, 0)), edited(stock))


def test_plain_weights_given_a_condition_start_as_what_they_were(plain):
    stock = StableDiffusionInstructPix2PixPipeline.from_pretrained(plain, safety_checker=None)
    for variant in ("released", "paper"):
        editor = zoo.load_starting_pipeline(str(plain), variant=variant, **CONDITION)
        assert editor.conditioned
        assert editor.unet.config.reward_text_dim == 32, "the width of the text encoder's states"
        assert torch.equal(edited(editor, Reward(0, 0, 0)), edited(stock))
        assert not any(value.is_meta for value in editor.unet.state_dict().values())


def test_a_condition_is_trained_on_but_never_exchanged(ours):
    switches = {"use_score": True, "use_text": True, "use_attention": True, "use_addition": True, "variant": "released"}
    assert torch.equal(edited(zoo.load_starting_pipeline(str(ours), **switches, reward_init="zero")),
                       edited(RewardEditPipeline.from_pretrained(ours)))
    with pytest.raises(ModelError, match="trained with use_text True; it cannot be given False"):
        zoo.load_starting_pipeline(str(ours), **switches | {"use_text": False})


def test_a_blind_baseline_starts_from_a_model_that_reads_rewards_without_its_condition(ours):
    off = dict.fromkeys(("use_score", "use_text", "use_attention", "use_addition"), False)
    blind, told = zoo.load_starting_pipeline(str(ours), **off), RewardEditPipeline.from_pretrained(ours)
    assert not blind.conditioned
    kept = {name: value for name, value in told.unet.state_dict().items() if not name.startswith("reward_")}
    assert kept.keys() == blind.unet.state_dict().keys() < told.unet.state_dict().keys()
    assert all(torch.equal(value, kept[name]) for name, value in blind.unet.state_dict().items())


def test_a_text_to_image_model_is_where_training_starts_but_no_editor(text_to_image):
    with pytest.raises(ModelError, match="StableDiffusionPipeline is not an editor"):
        zoo.load_pipeline(str(text_to_image))
    original = load_file(text_to_image / WEIGHTS)["conv_in.weight"]
    unet = zoo.load_starting_pipeline(str(text_to_image), use_score=False, use_text=False).unet
    assert torch.equal(unet.conv_in.weight[:, :4], original)
    assert not unet.conv_in.weight[:, 4:].any(), "the new channels start without effect"
    parent, inputs = plain_unet(in_channels=4), unet_inputs()
    with torch.no_grad():
        assert torch.allclose(unet(**inputs).sample, parent(**{**inputs, "sample": inputs["sample"][:, :4]}).sample, atol=1e-6)


def test_a_stage_one_model_of_ours_is_given_its_condition_in_stage_two(plain, tmp_path):
    stage_one = zoo.load_starting_pipeline(str(plain), use_score=False, use_text=False)
    stage_one.save_pretrained(tmp_path / "one")
    stage_two = zoo.load_starting_pipeline(str(tmp_path / "one"), **CONDITION)
    assert stage_two.conditioned
    assert torch.equal(edited(stage_two, Reward(0, 0, 0)), edited(stage_one))


def test_a_paper_model_saved_before_there_was_a_choice_of_its_term_stays_what_it_was(tmp_path):
    """Its term was the mean of all tokens of the condition: by another route, through the weights as they are."""
    unet = reward_unet(variant="paper", use_attention=False, reward_init="released", reward_term_pooling="tokens")
    unet.save_pretrained(tmp_path / "old")
    config = json.loads((tmp_path / "old" / "config.json").read_text())
    del config["reward_term_pooling"]
    (tmp_path / "old" / "config.json").write_text(json.dumps(config))
    again = RewardUNet2DConditionModel.from_pretrained(tmp_path / "old")
    inputs, rewards = unet_inputs(), reward_inputs("paper")
    with torch.no_grad():
        assert torch.equal(again(**inputs, added_cond_kwargs=rewards).sample, unet(**inputs, added_cond_kwargs=rewards).sample)
        score = again.reward_condition(rewards["reward_scores"], rewards["reward_text"][:, :0], torch.float32, None)
        text = rewards["reward_text"] + again.reward_condition.type_embedding.weight[1]
        whole = again.reward_condition(rewards["reward_scores"], rewards["reward_text"], torch.float32, None)
        torch.testing.assert_close(whole.term, (score.term + text.sum(dim=1)) / 7)
    again.save_pretrained(tmp_path / "new")
    assert RewardUNet2DConditionModel.from_pretrained(tmp_path / "new").config.reward_term_pooling == "tokens"


def test_weights_in_half_precision_are_read_in_single_precision(tmp_path):
    half = pipeline().to(torch.float16)
    half.save_pretrained(tmp_path / "model")
    editor = RewardEditPipeline.from_pretrained(tmp_path / "model")
    assert {editor.unet.dtype, editor.vae.dtype, editor.text_encoder.dtype} == {torch.float32}
    assert all(torch.equal(value, half.unet.state_dict()[name].float()) for name, value in editor.unet.state_dict().items())


def test_weights_in_several_files_are_read_as_one(ours, tmp_path):
    folder = shutil.copytree(ours, tmp_path / "model")
    unet = RewardEditPipeline.from_pretrained(ours).unet
    (folder / WEIGHTS).unlink()
    unet.save_pretrained(folder / "unet", max_shard_size="200KB")
    assert len(list((folder / "unet").glob("*.safetensors"))) > 2
    assert torch.equal(edited(RewardEditPipeline.from_pretrained(folder)), edited(RewardEditPipeline.from_pretrained(ours)))
    next((folder / "unet").glob("*-00002-of-*")).unlink()
    with pytest.raises(ModelError, match=r"00002-of-.* is missing"):
        RewardEditPipeline.from_pretrained(folder)


def test_a_setting_that_does_not_exist_is_refused(ours):
    with pytest.raises(TypeError, match="has no argument 'use_magic'"):
        RewardUNet2DConditionModel.from_pretrained(ours, subfolder="unet", use_magic=True)


def test_a_loaded_model_does_not_change_with_its_file(ours, tmp_path):
    folder = shutil.copytree(ours, tmp_path / "model")
    editor = RewardEditPipeline.from_pretrained(folder)
    before = edited(editor)
    with open(folder / WEIGHTS, "r+b") as file:
        file.seek(-4000, 2)
        file.write(b"\x01" * 4000)
    assert torch.equal(edited(editor), before)


def test_a_hub_id_is_read_from_the_cache_without_the_network(editor, exported, tmp_path):
    """A cache as the hub's library leaves it, with the model in a subfolder, as the released weights are published."""
    repository = tmp_path / "models--someone--weights"
    snapshot = repository / "snapshots" / ("0" * 40)
    shutil.copytree(exported, snapshot / "stage2")
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("0" * 40)
    for settings in ({"local_files_only": True}, {}):
        cached = RewardEditPipeline.from_pretrained("someone/weights", subfolder="stage2", cache_dir=tmp_path, **settings)
        assert torch.equal(edited(cached), edited(editor))
    with pytest.raises(ModelError, match="someone/weights has no folder stage3"):
        RewardEditPipeline.from_pretrained("someone/weights", subfolder="stage3", cache_dir=tmp_path, local_files_only=True)
    (snapshot / "stage2" / WEIGHTS).unlink()
    with pytest.raises(ModelError, match=r"not whole on this machine \(stage2/unet/.*safetensors is missing\), and HF_HUB_OFFLINE"):
        RewardEditPipeline.from_pretrained("someone/weights", subfolder="stage2", cache_dir=tmp_path)
