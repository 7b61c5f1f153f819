"""Judges of a few hundred weights, for tests that need a trained judge's folder and not its wisdom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from mre.judge.reward_models.bodies import sizes_of
from mre.judge.reward_models.folder import Calibration, JudgeFacts, save_judge
from mre.judge.reward_models.tiny import TinyConfig, TinyJudge
from mre.rewards import PERSPECTIVES

SMALL = {"size": 32, "widths": (8, 8, 8, 8), "blocks": (1, 1), "word_buckets": 60, "word_width": 8, "queries": 2, "features": 16,
         "hidden": 8}


def small_network(perspectives: tuple[str, ...] = PERSPECTIVES, seed: int = 0) -> TinyJudge:
    """A network that gives every edit another score."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = TinyJudge(TinyConfig(**SMALL, perspectives=perspectives))
        for head in network.heads.heads.values():
            head[-1].weight.data.normal_()
        for block in (*network.blocks3, *network.blocks4):
            block.told.weight.data.normal_(std=0.3)
            block.second.weight.data.normal_(std=0.1)
        return network


def write_judge(folder: Path, perspectives: tuple[str, ...] = PERSPECTIVES, calibration: Calibration | None = None, seed: int = 0,
                network: Any = None) -> Path:
    """The folder of such a judge, or of another `network`, as `train-judge` writes it."""
    network = network or small_network(perspectives, seed)
    calibrations = dict.fromkeys(perspectives, calibration or Calibration())
    save_judge(folder, network, JudgeFacts(network.kind, sizes_of(network), perspectives, calibrations))
    return folder
