"""A checkpoint and a config that an earlier version wrote (commit 6c56537) are read as they were: the run goes on to the same losses."""

import shutil
from pathlib import Path

import pytest
import yaml
from safetensors.torch import load_file

from mre.training.config import TrainConfig
from tests import tiny_models
from tests.training.conftest import log_of

KEPT = Path(__file__).parent / "kept" / "step-000002"
SMALLER = {"block_out_channels": (4, 4), "norm_num_groups": 2, "attention_head_dim": 2, "reward_num_heads": 2,
           "reward_sinusoid_channels": 8, "reward_init": "released", "reward_dropout": 0.0}
LOSSES = [1.0319057, 1.0757912]             # of the third and the fourth step, in that version


@pytest.fixture
def old_run(tmp_path) -> Path:
    """The folder of that run after two steps, beside the model that it began with; its paths are those of this machine."""
    tiny_models.pipeline(tiny_models.reward_unet(**SMALLER), default_steps=2).save_pretrained(tmp_path / "editor")
    shutil.copytree(KEPT.parent / "tree", tmp_path / "tree")
    checkpoint = tmp_path / "run" / "checkpoints" / KEPT.name
    shutil.copytree(KEPT, checkpoint)
    text = (KEPT / "config.yaml").read_text(encoding="utf-8").replace("WORK", str(tmp_path))
    (checkpoint / "config.yaml").write_text(text, encoding="utf-8")
    return tmp_path / "run"


def test_an_old_run_goes_on_to_the_losses_that_it_had_and_its_checkpoint_has_the_same_tensors(old_run, train):
    config = TrainConfig.from_flags(["--config", str(old_run / "checkpoints" / KEPT.name / "config.yaml"), "--max-steps", "4"])
    train(config)
    assert [float(row["loss"]) for row in log_of(old_run)] == pytest.approx(LOSSES, rel=1e-4)
    for file in ("model", "ema", "optimizer"):
        old, new = (load_file(folder / f"{file}.safetensors") for folder in (KEPT, old_run / "checkpoints" / "step-000004"))
        assert {name: value.shape for name, value in new.items()} == {name: value.shape for name, value in old.items()}, file


def test_every_field_of_an_old_config_means_what_it_meant():
    old = yaml.safe_load((KEPT / "config.yaml").read_text(encoding="utf-8"))
    config = TrainConfig(**TrainConfig.read_yaml(KEPT / "config.yaml"))
    for name, value in old.items():
        assert getattr(config, name) == (tuple(value) if isinstance(value, list) else value), name
    assert (config.objective, config.lora_rank) == ("noise", 0), "what is new does as before"
