"""A small editor and a small triplet tree of synthetic scenes, for all tests of training."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from mre.data.rewardedit import read_rewards, write_released
from mre.data.scenes.tree import TreeSettings, write_tree
from mre.training.checkpoints import checkpoints as whole_checkpoints
from mre.training.config import TrainConfig
from tests import tiny_models

COUNT = 24


@pytest.fixture(scope="session")
def tree(tmp_path_factory) -> Path:
    """An InstructPix2Pix tree of 24 triplets, with `rewards.json` in the released form."""
    folder = tmp_path_factory.mktemp("triplets")
    write_tree(folder, COUNT, TreeSettings(size=32))
    write_released(folder / "rewards.json", {key: row.reward for key, row in read_rewards(folder / "scenes.jsonl").items()})
    return folder


@pytest.fixture(scope="session")
def editor(tmp_path_factory) -> Path:
    """A folder with a small untrained editor whose reward layers act, without dropout inside."""
    folder = tmp_path_factory.mktemp("editor")
    unet = tiny_models.reward_unet(reward_init="released", reward_dropout=0.0)
    tiny_models.pipeline(unet, default_steps=2).save_pretrained(folder)
    return folder


def config_of(tree: Path, editor: Path, out: Path) -> TrainConfig:
    """Six steps of four triplets on that editor and tree."""
    return TrainConfig(out=out, init_from=editor, data="pix2pix", data_dir=tree, rewards=tree / "rewards.json", resolution=16,
                       batch_size=2, accumulation=2, max_steps=6, learning_rate=1e-3, log_every=1, checkpoint_every=2, validation_every=0,
                       reward_init="released")


@pytest.fixture
def config(tree, editor, tmp_path) -> TrainConfig:
    return config_of(tree, editor, tmp_path / "run")


def log_of(out: str | Path) -> list[dict[str, str]]:
    """The rows of a run's log without its clock."""
    with (Path(out) / "log.csv").open(newline="", encoding="utf-8") as file:
        return [{name: value for name, value in row.items() if name != "seconds"} for row in csv.DictReader(file)]


def state_of(checkpoint: Path) -> dict:
    return json.loads((checkpoint / "state.json").read_text(encoding="utf-8"))


def weights(run_or_folder: str | Path) -> dict[str, torch.Tensor]:
    """What the newest checkpoint of a run holds."""
    return load_file(whole_checkpoints(Path(run_or_folder))[-1] / "model.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())
