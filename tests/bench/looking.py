"""What looking is worth: a small SmartEdit against a plain editor of its size, on scenes whose instructions need looking.

  python -m tests.bench.looking OUT [--trainings 3] [--start-steps 12000] [--steps 6000] [--per-need 80] [--only ARM ...]

Trains what is not in OUT yet (a cut training goes on): a start on flawless triplets for each of both, and from each start one model with
rewards and one without, all on the same triplets. Then each edits held-out scenes at 5/5/5. Printed by kind of need: the share of scenes in
which the right thing changes most ("right"), and the oracle's mean following, with a 95 % interval over scenes.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from math import comb
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tqdm import tqdm

from mre.benchmark.tables import interval
from mre.data.scenes.looking import NEEDS, draw_looking, finds_right
from mre.data.scenes.oracle import Oracle
from mre.data.scenes.triplets import SceneTriplet
from mre.embedded.settings import PLAIN, PRESETS, SMART
from mre.models.zoo import load_pipeline
from mre.rewards import Reward
from mre.training.config import TrainConfig
from mre.training.loop import PIPELINE, Run

SCENES_SEED = 90_210
NO_REWARD = dict.fromkeys(("use_score", "use_text", "use_attention", "use_addition"), False)
KINDS = {"smart": {}, "plain": {"train_readers": ()}}
ARMS = [f"{kind}-{stage}" for kind in KINDS for stage in ("start", "reward", "no-reward")]


def config_of(arm: str, training: int, args: argparse.Namespace) -> TrainConfig:
    """The settings of one training."""
    kind, _, stage = arm.partition("-")
    common: dict[str, Any] = {**KINDS[kind], "seed": training, "out": str(args.out / f"{arm}-{training}"), "validation_samples": 14}
    if stage == "start":
        return TrainConfig(**PRESETS["tiny-smart-start"] | common | {
            "init_from": SMART if kind == "smart" else PLAIN, "max_steps": args.start_steps})
    begin = args.out / f"{kind}-start-{training}" / PIPELINE
    return TrainConfig(**PRESETS["tiny-smart"] | common | (NO_REWARD if stage == "no-reward" else {}) | {
        "init_from": str(begin), "max_steps": args.steps})


def measured(folder: Path, scenes: Sequence[SceneTriplet]) -> tuple[np.ndarray, np.ndarray]:
    """(N,) whether the right thing changes, (N,) following, of the edits of a model at 5/5/5."""
    pipeline: Any = load_pipeline(str(folder), "cpu")
    pipeline.set_progress_bar_config(disable=True)
    right, following = [], []
    for scene in tqdm(scenes, desc=folder.parent.name, leave=False, disable=None):
        edited = np.asarray(pipeline(scene.instruction, Image.fromarray(scene.original), reward=Reward.best(),
                                     generator=torch.Generator().manual_seed(0)).images[0])
        right.append(finds_right(scene, edited))
        following.append(Oracle(scene).score(edited).following)
    return np.array(right, float), np.array(following)


def guess(scene: SceneTriplet) -> float:
    """How often as many things as are meant, taken by chance, are the right ones."""
    things = scene.edit.before.things
    return 1 / comb(len(things), len(set(things) - set(scene.edit.after.things)))


def row(name: str, values: np.ndarray, needs: Sequence[str], groups: Sequence[str]) -> str:
    """A row of the table: a mean for each kind of need, and of all with its interval."""
    low, high = interval(values, groups)
    cells = [f"{values[[need == one for one in needs]].mean():.2f}" for need in NEEDS]
    return f"| {name} | {' | '.join(cells)} | {values.mean():.2f} [{low:.2f}, {high:.2f}] |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder of the trainings")
    parser.add_argument("--trainings", type=int, default=3, help="of each, with seeds 0, 1, ... (default %(default)s)")
    parser.add_argument("--start-steps", type=int, default=12_000, help="of 16 flawless triplets each (default %(default)s)")
    parser.add_argument("--steps", type=int, default=6000, help="of 16 triplets with faults each (default %(default)s)")
    parser.add_argument("--per-need", type=int, default=80, help="held-out scenes of each kind of need (default %(default)s)")
    parser.add_argument("--only", nargs="+", choices=ARMS, default=ARMS, help="train and measure these alone (default: all)")
    args = parser.parse_args()
    scenes = [draw_looking(SCENES_SEED, index, "heldout", need=need, spoiled=False) for need in NEEDS for index in range(args.per_need)]
    found: dict[str, list[tuple[np.ndarray, np.ndarray]]] = {}
    for training in range(args.trainings):
        for arm in args.only:
            config = config_of(arm, training, args)
            folder = Path(config.out) / PIPELINE
            if not folder.exists():
                Run(config).train()
            found.setdefault(arm, []).append(measured(folder, scenes))
    needs = [scene.edit.operation for scene in scenes] * args.trainings
    groups = [scene.id + scene.edit.operation for scene in scenes] * args.trainings             # a scene's edits belong together
    values = {arm: [np.concatenate(each) for each in zip(*runs, strict=True)] for arm, runs in found.items()}
    for number, title in enumerate(("right", "following")):
        print(f"\n| {title} | {' | '.join(NEEDS)} | all |\n|{' --- |' * (len(NEEDS) + 2)}")
        if title == "right":
            print(row("a guess", np.array([guess(scene) for scene in scenes] * args.trainings), needs, groups))
        for arm, both in values.items():
            print(row(arm, both[number], needs, groups))
        for one, other in (("smart-start", "plain-start"), ("smart-reward", "plain-reward"), ("smart-reward", "smart-no-reward"),
                           ("plain-reward", "plain-no-reward")):
            if one in values and other in values:
                print(row(f"{one} less {other}", values[one][number] - values[other][number], needs, groups))


if __name__ == "__main__":
    main()
