"""FLUX.2 klein and Qwen-Image-Edit with a reward condition, trained by the same loop as U-Nets."""

import inspect
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from mre.errors import ModelError, SettingsError
from mre.models.transformer.files import add_condition
from mre.models.transformer.pipeline import TransformerPipeline, read_reward
from mre.rewards import Reward
from mre.training.config import TrainConfig
from mre.training.draws import Draws
from mre.training.encoding import encode_pictures, to_pixels
from mre.training.transformers import load_stock
from tests.editors.tiny_diffusers import save
from tests.training.conftest import log_of
from tests.training.transformers import squares

KLEIN, QWEN, PLUS = "Flux2KleinPipeline", "QwenImageEditPipeline", "QwenImageEditPlusPipeline"


@pytest.fixture(scope="module")
def scored(tmp_path_factory) -> Path:
    return squares.write(tmp_path_factory.mktemp("squares") / "tree", photos=2)


@pytest.fixture(scope="module")
def editors(tmp_path_factory) -> dict[str, Path]:
    return {kind: save(kind, tmp_path_factory.mktemp("editors") / kind) for kind in (KLEIN, QWEN, PLUS)}


@pytest.fixture
def short(monkeypatch):
    """Instructions of a few tokens, since most of 512 would be padding."""
    from mre.models.transformer.layouts import FluxInstructions

    monkeypatch.setattr(FluxInstructions.__init__, "__defaults__", (16,))


@pytest.mark.parametrize("kind", [KLEIN, QWEN, PLUS])
def test_training_shows_the_transformer_what_an_edit_shows_it(kind, editors, short, monkeypatch):
    pipeline = TransformerPipeline(load_stock(str(editors[kind])))
    pipeline.set_progress_bar_config(disable=True)
    side = 64
    results = 2 if kind == PLUS else 3
    if kind != KLEIN:                   # these show the photo at about a megapixel, whatever is asked for
        module = inspect.getmodule(type(pipeline.stock))
        monkeypatch.setattr(module, "calculate_dimensions", lambda area, ratio: (side, side, None)[:results])
        pipeline.instruction_encoder.seen = side
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 255, (8, 8, 3), np.uint8)).resize((side, side))
    seen: dict[str, Any] = {}

    def see(module, args, kwargs):
        seen.setdefault("call", kwargs)
    hook = pipeline.unet.register_forward_pre_hook(see, with_kwargs=True)
    more = {"max_sequence_length": 16} if kind == KLEIN else {}
    with torch.no_grad():
        pipeline.unet.forward = lambda hidden_states, **kwargs: (hidden_states[..., :16] * 0,)
        pipeline("make it red", photo, reward=Reward(1, 2, 3), num_inference_steps=1, generator=torch.Generator().manual_seed(0),
                 output_type="latent", **more)
        own = seen.pop("call")
        pixels = torch.from_numpy(np.asarray(photo)).permute(2, 0, 1)[None].contiguous()
        latents = encode_pictures(pipeline.vae, to_pixels(pixels, pipeline.device), to_pixels(pixels, pipeline.device)).original
        noise = own["hidden_states"][:, :latents.shape[2] * latents.shape[3]].transpose(1, 2).reshape(latents.shape)
        text = pipeline.instruction_encoder.encode(["make it red"], pixels).context
        pipeline.denoiser(torch.cat([noise, latents], dim=1), torch.tensor([1000]), text, pipeline.encode_rewards(Reward(1, 2, 3)))
    hook.remove()
    trained = seen["call"]
    torch.testing.assert_close(trained["hidden_states"], own["hidden_states"], atol=1e-4, rtol=1e-4)
    for name in ("timestep", "img_ids", "txt_ids", "encoder_hidden_states"):
        if name in own:
            one, other = own[name], trained[name]
            torch.testing.assert_close(other, one.to(other), atol=1e-4, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}")
    assert trained.get("img_shapes") == own.get("img_shapes")
    keyword = pipeline.layout.keyword
    torch.testing.assert_close(trained[keyword]["reward"], own[keyword]["reward"])


@pytest.mark.parametrize("kind", [KLEIN, QWEN])
def test_a_trained_editor_is_one_that_diffusers_reads_and_a_file_of_ours(kind, editors, scored, tmp_path, train, short):
    run = train(squares.config(scored, editors[kind], tmp_path / "run", ema=False))
    assert all(float(row["velocity"]) > 0 for row in log_of(run.config.out))
    folder = tmp_path / "run" / "pipeline"
    assert json.loads((folder / "transformer" / "config.json").read_text())["_class_name"] == type(run.pipeline.unet).stock.__name__
    before, after = (load_file(one / "transformer" / "diffusion_pytorch_model.safetensors") for one in (editors[kind], folder))
    assert before.keys() == after.keys()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    again = add_condition(load_stock(str(folder)), folder)
    trained = run.pipeline.unet.state_dict()
    assert again.unet.state_dict().keys() == trained.keys()
    for name, value in again.unet.state_dict().items():
        assert torch.equal(value, trained[name]), name


def test_adapters_of_named_layers_and_the_condition_alone_are_trained_and_come_back(editors, scored, tmp_path, train, short):
    config = squares.config(scored, editors[KLEIN], tmp_path / "run", ema=False, lora_rank=2, lora_layers=("attn.to_q", "to_qkv_mlp_proj"),
                            mixed_precision="bf16")
    run = train(config)
    adapted = {name.split(".lora_")[0].removeprefix("unet.transformer.") for name in run.names if "lora" in name}
    assert adapted == {"transformer_blocks.0.attn.to_q", "single_transformer_blocks.0.attn.to_qkv_mlp_proj"}
    assert all("lora" in name or name.startswith(("unet.transformer.reward_",)) for name in run.names)
    folder = tmp_path / "run" / "pipeline"
    assert sorted(one.name for one in folder.iterdir()) == ["pytorch_lora_weights.safetensors", "reward.json", "reward.safetensors",
                                                            "training.yaml"]
    again = add_condition(load_stock(str(editors[KLEIN])), folder)
    trained = {name.removeprefix("unet.transformer."): value for name, value in zip(run.names, run.parameters, strict=True)}
    loaded = {name.replace(".default_0.", ".default."): value for name, value in again.unet.state_dict().items()}
    for name, value in trained.items():
        assert torch.equal(loaded[name], value), name


def test_a_cut_run_goes_on_to_the_same_losses(editors, scored, tmp_path, train, short):
    more = {"perspective_dropout": 0.3, "reward_dropout": 0.1, "lora_rank": 2}
    whole = train(squares.config(scored, editors[KLEIN], tmp_path / "whole", max_steps=4, **more))
    train(squares.config(scored, editors[KLEIN], tmp_path / "cut", **more))
    run = train(squares.config(scored, editors[KLEIN], tmp_path / "cut", max_steps=4, **more))
    assert log_of(run.config.out) == log_of(whole.config.out)


def test_each_perspective_is_dropped_by_itself_and_at_the_share_asked_for(scored, editors, tmp_path):
    config = squares.config(scored, editors[KLEIN], tmp_path, perspective_dropout=0.3)
    draws = Draws.of(config, range(2000), (1,))
    wished = draws.perspectives >= config.perspective_dropout
    assert wished.float().mean(dim=0).tolist() == pytest.approx([0.7] * 3, abs=0.04)
    assert np.corrcoef(wished.T.numpy())[np.triu_indices(3, 1)] == pytest.approx([0] * 3, abs=0.08)
    plain = Draws.of(squares.config(scored, editors[KLEIN], tmp_path), range(2000), (1,))
    assert plain.perspectives is None
    assert torch.equal(plain.noise, draws.noise), "older draws stay as they were"


def test_what_is_dropped_is_no_wish_in_score_and_text():
    reward = read_reward({"reward_scores": torch.tensor([[5.0, 4, 3], [2, 1, 0]]), "reward_text": torch.zeros(2, 3, 2, 4),
                          "reward_text_mask": torch.tensor([[[True, True], [True, False], [True, True]]] * 2),
                          "reward_wished": torch.tensor([[True, False, True], [True] * 3]), "reward_present": torch.tensor([True, False])})
    assert reward["reward_scores"].isnan().tolist() == [[False, True, False], [True] * 3]
    assert reward["reward_text_mask"].tolist() == [[[True, True], [False, False], [True, True]], [[False, False]] * 3]


@pytest.mark.parametrize(("changes", "says"), [
    ({"variant": "released"}, "variant must be paper for an editor with a transformer"),
    ({"train_text_encoder": True}, "train_text_encoder must be false"), ({"plain_attention": True}, "plain_attention must be false"),
    ({"objective": "noise"}, "try --objective flow"),
    ({"lora_rank": 2, "lora_layers": ("to_nothing",)}, "lora_layers: no linear layer's name ends in 'to_nothing'")])
def test_settings_of_u_nets_are_refused(changes, says, editors, scored, tmp_path, train):
    with pytest.raises(SettingsError, match=says):
        train(squares.config(scored, editors[KLEIN], tmp_path / "run", **changes))


@pytest.mark.parametrize("preset", ["reward-klein", "reward-qwen-edit"])
def test_a_preset_whose_base_is_not_here_is_refused_in_one_line(preset, scored, tmp_path, train):
    config = TrainConfig.from_flags(["--preset", preset, "--data-dir", str(scored), "--rewards", str(scored / "rewards.json"),
                                     "--out", str(tmp_path / "run"), "--mixed-precision", "no"])
    with pytest.raises(ModelError, match=f"^{config.init_from} is not on this machine, and HF_HUB_OFFLINE forbids asking the hub$"):
        train(config)
    assert not list(tmp_path.rglob("*.safetensors"))


def test_named_layers_without_adapters_are_refused(scored, editors, tmp_path):
    with pytest.raises(SettingsError, match="it needs lora_rank"):
        squares.config(scored, editors[KLEIN], tmp_path, lora_layers=("to_q",))
