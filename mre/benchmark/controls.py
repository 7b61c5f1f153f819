"""Controls of the method: small trainings, alike but for one thing, on synthetic scenes whose true scores are known.

Each *arm* is trained by the same trainer on the same pool of triplets in the same order: with the reward, blind, with shuffled scores, on
flawless triplets alone, weighted by score, with scores written into the instruction (HIVE), with one perspective alone or without one, on
triplets scored at most 3. Over the *share* of flawless triplets that are added to the pool (none, by chance, 5 %, 25 %) this says when the
condition does better than throwing the flawed triplets away. All are asked for 5/5/5 on held-out scenes.

OUT/cells/ARM-SHARE-TRAINING/ holds a training and its scores.csv; what is there is not made again.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mre.benchmark.laboratory import BLIND, LAB, SIZE, TYPES, Pool, asked, crossed_cell, is_flawless
from mre.benchmark.tables import Cell, Table
from mre.data.scenes.triplets import VERSION, draw_triplet
from mre.errors import SettingsError
from mre.families import named, write_first_words
from mre.files import csv_text, read_json, write_whole
from mre.rewards import PERSPECTIVES, Reward

if TYPE_CHECKING:
    from mre.data.scenes.triplets import SceneTriplet
    from mre.training.config import TrainConfig
    from mre.training.examples import TrainingExample

SHARES = {"none": -1.0, "chance": 0.0, "5 %": 0.05, "25 %": 0.25}     # flawless triplets added to those that are so by chance; none: none
POOL, STEPS, SCENES = 6000, 130, 60                       # triplets, steps of 32, held-out scenes
WORD_STEPS = 200                                          # of the text encoder that all arms of a training start with
MEASURES = (*PERSPECTIVES, "error left")


@dataclass(frozen=True)
class Arm:
    """One way to use a pool of triplets."""

    about: str
    reads_reward: bool = True
    keep: Callable[[SceneTriplet], bool] | None = None                  # which of the pool are trained on; None: all
    reward: Callable[[SceneTriplet, Pool, int], Reward] = lambda triplet, pool, index: triplet.reward
    weight: Callable[[SceneTriplet], float] = lambda triplet: 1.0
    words: bool = False                                                 # whether the scores are written into the instruction
    flawless: bool = False                                              # on a pool of its own, of flawless triplets alone
    shares: Sequence[str] = ("chance",)


def _alone(name: str) -> Callable[[SceneTriplet, Pool, int], Reward]:
    return lambda triplet, pool, index: _only(triplet.reward, [name])


def _without(name: str) -> Callable[[SceneTriplet, Pool, int], Reward]:
    return lambda triplet, pool, index: _only(triplet.reward, [other for other in PERSPECTIVES if other != name])


def _only(reward: Reward, names: Sequence[str]) -> Reward:
    """The reward with 5 and no text for all perspectives but these."""
    told = [(score, text) if name in names else (5.0, "None") for name, score, text in
            zip(PERSPECTIVES, reward.scores, reward.texts, strict=True)]
    return Reward.of([score for score, _ in told], [text for _, text in told])


ARMS: dict[str, Arm] = {
    "reward": Arm("all triplets, with their rewards", shares=tuple(SHARES)),
    "blind": Arm("all triplets, without rewards", reads_reward=False, shares=tuple(SHARES)),
    "filtered": Arm("the flawless triplets alone, as many steps", reads_reward=False, keep=is_flawless, shares=("chance", "5 %", "25 %")),
    "all flawless": Arm("as many triplets, all of them flawless", reads_reward=False, flawless=True, shares=("chance",)),
    "shuffled": Arm("each triplet with another's reward", reward=lambda triplet, pool, index: pool.triplet(index + 1).reward),
    "weighted": Arm("without rewards, the loss weighted by the mean score", reads_reward=False,
                    weight=lambda triplet: sum(triplet.reward.scores) / 9),
    "hive": Arm("without rewards, the scores written into the instruction", reads_reward=False, words=True),
    "at most 3": Arm("triplets scored at most 3 on every perspective, with their rewards",
                     keep=lambda triplet: max(triplet.reward.scores) <= 3, shares=("none",)),
    **{f"{name} alone": Arm(f"the score of {name} alone", reward=_alone(name), shares=("chance",)) for name in PERSPECTIVES},
    **{f"no {name}": Arm(f"without the score of {name}", reward=_without(name), shares=("chance",)) for name in PERSPECTIVES}}


class ControlExamples:
    """The triplets of a pool as an arm uses them, in an order that all arms share."""

    def __init__(self, arm: Arm, pool: Pool) -> None:
        self.arm, self.pool = arm, pool

    @cached_property
    def numbers(self) -> list[int]:
        numbers = self.pool.where(self.arm.keep) if self.arm.keep else list(range(self.pool.count))
        if not numbers:
            raise SettingsError(f"none of {self.pool.count} triplets is one that is to be trained on")
        return numbers

    def row(self, sample: int) -> int:
        return self.numbers[sample % len(self.numbers)]

    def example(self, row: int) -> TrainingExample:
        from mre.rewards import WHOLE_PICTURE
        from mre.training.examples import TrainingExample

        triplet = self.pool.triplet(row)
        reward = self.arm.reward(triplet, self.pool, row)
        return TrainingExample(asked(triplet, reward if self.arm.words else None), reward, triplet.original, triplet.edited,
                               everywhere=triplet.edit_type in WHOLE_PICTURE, weight=self.arm.weight(triplet))

    def training(self, sample: int) -> TrainingExample:
        return self.example(self.row(sample))

    def held_out(self, index: int) -> TrainingExample:
        return self.training(index)


@dataclass(frozen=True)
class Training:
    """One training: an arm at a share of flawless triplets."""

    arm: str
    share: str
    training: int

    @property
    def name(self) -> str:
        return f"{self.arm}-{self.share}-{self.training}".replace(" ", "_").replace("%", "percent")


def cells(only: Sequence[str] | None, trainings: int) -> list[Training]:
    """All trainings: the first of each arm at each share, most flawless triplets first, then the second, and so on. Raises SettingsError
    for an unknown arm."""
    unknown = [name for name in only or () if name not in ARMS]
    if unknown:
        raise SettingsError(f"--only must name arms of {', '.join(ARMS)}; got {unknown[0]!r}")
    return [Training(name, share, training) for training in range(trainings) for share in reversed(SHARES) for name, arm in ARMS.items()
            if share in arm.shares and (not only or name in only)]


def claim(out: Path, steps: int) -> None:
    """Note how long the trainings of a folder are. Raises SettingsError where it holds others."""
    path, settings = out / "controls.json", {"steps": steps, "pool": POOL, "scenes": SCENES, "types": list(TYPES), "drawn": VERSION}
    if path.exists() and read_json(path) != settings:
        raise SettingsError(f"{out}: holds trainings of {read_json(path)}, not of {settings}; name another --out")
    write_whole(path, json.dumps(settings) + "\n")


def start_of(training: int, out: Path) -> Path:
    """The untrained editor that all arms of a training start from, in OUT/start-TRAINING: its text encoder can name what is asked."""
    from mre.training.config import TrainConfig

    folder = out / f"start-{training}"
    if not folder.is_dir():
        write_first_words(TrainConfig(**{**LAB, **BLIND, "seed": training, "out": str(folder)}), folder, WORD_STEPS)
    return folder


def run_apart(cell: Training, out: Path, steps: int) -> list[dict[str, float]]:
    """`run_cell` in a process of its own, with one thread and nothing said."""
    import os

    import torch

    os.environ["TQDM_DISABLE"] = "1"            # read where tqdm is imported
    torch.set_num_threads(1)
    Run = named("mre.training.loop:Run")
    return run_cell(cell, out, lambda config, examples: Run(config, examples).train(), steps, init_from=str(start_of(cell.training, out)))


def run_cell(cell: Training, out: Path, train: Callable[[TrainConfig, Any], object], steps: int = STEPS, pool_size: int = POOL,
             scenes: int = SCENES, **lab: Any) -> list[dict[str, float]]:
    """One training and the scores of its edits, one row a held-out scene; read from its folder where they are there.

    train: the trainer, of a config and its examples
    """
    folder = out / "cells" / cell.name
    if not (folder / "scores.csv").exists():
        from mre.training.config import TrainConfig

        arm = ARMS[cell.arm]
        pool = Pool(cell.training, 1.0 if arm.flawless else SHARES[cell.share], pool_size, lab.get("resolution", SIZE))
        config = TrainConfig(**{**LAB, **({} if arm.reads_reward else BLIND), "seed": cell.training, "max_steps": steps,
                                "out": str(folder / "run"), **lab})
        train(config, ControlExamples(arm, pool))
        rows = scored(folder / "run" / "pipeline", arm, scenes, pool.size)
        text = csv_text(["scene", *MEASURES], [[number, *row] for number, row in enumerate(rows)], floats=".6g")
        write_whole(folder / "scores.csv", text)
    with (folder / "scores.csv").open(encoding="utf-8", newline="") as lines:
        return [{name: float(row[name]) for name in MEASURES} for row in csv.DictReader(lines)]


def scored(pipeline_folder: Path, arm: Arm, scenes: int, size: int) -> list[list[float]]:
    """Scores of the oracle, and the error left (mean squared, 1: as the original), of edits of held-out scenes asked for 5/5/5."""
    import torch
    from PIL import Image

    from mre.data.scenes.oracle import Oracle
    from mre.models.zoo import load_pipeline

    pipeline: Any = load_pipeline(str(pipeline_folder), device="cpu")
    pipeline.set_progress_bar_config(disable=True)
    rows, best = [], Reward.best()
    for index in range(scenes):
        triplet = draw_triplet(7, index, "heldout", size, edit_type=TYPES[index % len(TYPES)], spoiled=False)
        text = asked(triplet, best if arm.words else None)
        made = np.asarray(pipeline(text, image=Image.fromarray(triplet.original), reward=best,
                                   generator=torch.Generator().manual_seed(0)).images[0])
        error, before = (((picture.astype(float) - triplet.target) ** 2).mean() for picture in (made, triplet.original))
        rows.append([*Oracle(triplet).score(made).scores, error / before])
    return rows


def table_of_controls(results: dict[Training, list[dict[str, float]]], steps: int, pool_size: int) -> Table:
    """One row an arm and share, over all its trainings."""
    rows: list[list[Any]] = []
    for name, arm in ARMS.items():
        for share in arm.shares:
            found = [rows_ for cell, rows_ in results.items() if (cell.arm, cell.share) == (name, share)]
            if found:
                measures = [crossed_cell(np.array([[row[measure] for row in one] for one in found])) for measure in MEASURES]
                rows.append([name, share, str(len(found)), *measures])
    notes = ["Intervals: 95 %, bootstrap over trainings and scenes; over one training, over scenes alone.",
             "Scores are the oracle's, 0 to 5; error left is the squared distance from the target by that of the original.",
             f"{steps} steps of {LAB['batch_size']} from nothing, {pool_size} triplets; edit types {', '.join(TYPES)} in plain wordings.",
             *(f"{name}: {ARMS[name].about}." for name in dict.fromkeys(row[0] for row in rows))]
    return Table("controls", "Controls, asked for 5/5/5", ["arm", "flawless added", "trainings", *MEASURES], rows, notes)


def plot_of_controls(table: Table, path: Path) -> None:
    """Each measure over the share of flawless triplets, with the intervals of the table."""
    import io

    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 3.6), layout="constrained")
    axes = figure.subplots(1, len(MEASURES))
    places = {share: number for number, share in enumerate(SHARES)}
    arms = list(dict.fromkeys(str(row[0]) for row in table.rows))
    for number, (axis, measure) in enumerate(zip(axes, MEASURES, strict=True)):
        for order, arm in enumerate(arms):
            shown = [(places[str(row[1])] + 0.05 * (order - len(arms) / 2), row[3 + number]) for row in table.rows if row[0] == arm]
            points = [(x, cell) for x, cell in shown if isinstance(cell, Cell)]
            reach = [[max(cell.value - cell.low, 0), max(cell.high - cell.value, 0)] for _, cell in points]
            axis.errorbar([x for x, _ in points], [cell.value for _, cell in points], fmt="o-", markersize=3, linewidth=1, label=arm,
                          yerr=np.array(reach).reshape(-1, 2).T)
        axis.set_xticks(list(places.values()), list(places))
        axis.set_title(measure)
        axis.set_xlabel("flawless triplets added")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", fontsize="small")
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    write_whole(path, picture.getvalue())
