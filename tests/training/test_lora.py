"""Low-rank adapters: trained in place of the U-Net's weights, merged into the finished editor, and saved in diffusers' format."""

import dataclasses
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mre import Reward
from mre.errors import SettingsError
from mre.models.zoo import load_pipeline
from mre.training.config import TrainConfig
from tests import tiny_models
from tests.tiny_edits import edited, photo
from tests.training.conftest import log_of

OFF = {"use_score": False, "use_text": False, "rewards": ""}


def quiet(folder: str | Path):
    pipeline = load_pipeline(str(folder), device="cpu")
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> set[str]:
    """Names of tensors that are the same in both."""
    assert a.keys() == b.keys()
    return {name for name in a if torch.equal(a[name], b[name])}


def test_only_attention_of_the_finished_editor_differs_and_the_lora_alone_makes_the_same_of_the_start(config, train):
    run = train(config, lora_rank=2, max_steps=3)
    out = Path(run.config.out)
    before, after = (load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
                     for folder in (Path(config.init_from), out / "pipeline"))
    changed = before.keys() - same(before, after)
    attention = {name for name in before if name.endswith((".to_q.weight", ".to_k.weight", ".to_v.weight", ".to_out.0.weight"))}
    assert changed == attention
    for name in changed:
        assert torch.linalg.matrix_rank((after[name] - before[name]).double(), rtol=1e-3) <= 2, name
    adapters = load_file(out / "pipeline" / "lora" / "pytorch_lora_weights.safetensors")
    assert len(adapters) == 2 * len(attention)
    assert all(name.startswith("unet.") and ".lora" in name for name in adapters)
    start, finished = quiet(config.init_from), quiet(out / "pipeline")
    untouched = edited(start, "red", photo(), Reward(1, 2, 3))
    start.load_lora_weights(out / "pipeline" / "lora")
    torch.testing.assert_close(edited(start, "red", photo(), Reward(1, 2, 3)), edited(finished, "red", photo(), Reward(1, 2, 3)))
    assert not torch.allclose(untouched, edited(finished, "red", photo(), Reward(1, 2, 3)), atol=1e-3)


def test_a_plain_models_new_reward_layers_are_trained_beside_the_adapters(config, train, tmp_path):
    tiny_models.pipeline(tiny_models.plain_unet(), default_steps=2).save_pretrained(tmp_path / "plain")
    run = train(config, init_from=str(tmp_path / "plain"), lora_rank=2, max_steps=2)
    assert {name.split(".")[1] for name in run.names if "lora" not in name} == {"reward_condition", "reward_encoder"}
    assert any("lora" in name for name in run.names)
    assert quiet(Path(run.config.out) / "pipeline").conditioned


def test_a_cut_run_goes_on_to_the_same_losses_and_its_checkpoints_hold_what_is_trained_alone(config, train):
    whole = train(config, lora_rank=2, max_steps=4, out=f"{config.out}-whole")
    cut = dataclasses.replace(config, lora_rank=2, max_steps=2)
    train(cut)
    run = train(cut, max_steps=4)
    assert log_of(run.config.out) == log_of(whole.config.out)
    kept = load_file(Path(run.config.out) / "checkpoints" / "step-000004" / "model.safetensors")
    assert sorted(kept) == sorted(run.names)
    assert all("lora" in name for name in kept)


def test_a_pipeline_saved_on_the_way_leaves_the_adapters_where_they_are(config, train):
    steps = {"lora_rank": 2, "max_steps": 4, "half": True}
    plain, saved = (train(config, out=f"{config.out}-{every}", pipeline_every=every, **steps) for every in (0, 2))
    assert log_of(saved.config.out) == log_of(plain.config.out)


def test_what_would_crash_is_refused(config, train):
    with pytest.raises(SettingsError, match="channels_last with lora_rank needs a GPU"):
        train(config, lora_rank=2, channels_last=True)


def test_adapters_of_an_untrained_model_are_refused():
    with pytest.raises(SettingsError, match="lora_rank adapts a trained model; init_from embedded is an untrained one"):
        TrainConfig(lora_rank=4)
