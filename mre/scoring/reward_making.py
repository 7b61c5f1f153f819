"""Triplets and a judge make RewardEdit data: one JSON line a triplet as it is answered, the rest after any cut, then the released form."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mre.data.rewardedit import read_rewards, write_released
from mre.data.triplets import Triplet, TripletSource
from mre.errors import MreError
from mre.judge.verdicts import Ask, Judge, Tally, Verdicts
from mre.scoring.files import RewardFile

if TYPE_CHECKING:
    from mre.data.triplets import Triplet, TripletSource


@dataclass
class RewardRun:
    """What a run made: its tally, and the triplets that have no reward with the reason."""

    tally: Tally
    failed: dict[str, str]
    kept: int                   # rewards from earlier runs


class LazyAsks:
    """Questions about triplets, made when they are looked at; a triplet that is not whole is told to `on_fault` and left out.

    `open` holds the triplets that were asked about and not answered yet, where somebody takes them out again.
    """

    def __init__(self, triplets: TripletSource, skip: set[str], on_fault: Callable[[str, MreError], None] | None = None) -> None:
        self.triplets, self.skip, self.on_fault = triplets, skip, on_fault
        self.open: dict[str, Triplet] = {}

    def __iter__(self) -> Iterator[Ask]:
        for index in range(len(self.triplets)):
            try:
                triplet = self.triplets[index]
            except MreError as error:
                if self.on_fault:
                    self.on_fault(f"triplet {index}", error)
                continue
            if triplet.id in self.skip:
                continue
            if self.on_fault:
                self.open[triplet.id] = triplet
            yield Ask(triplet.id, triplet.instruction, triplet.original, triplet.edited, scene=triplet.scene)


def make_rewards(triplets: TripletSource, judge: Judge, out: Path,
                 on_progress: Callable[[int], object] = lambda done: None) -> RewardRun:
    """Judge all triplets that `out` does not hold yet. The lines of `out` are in the order of the source, run by run.

    Raises DataError when `out` holds another judge's rewards, JudgeError when asking is useless.
    """
    with RewardFile(out, judge.name) as file:
        kept, failed = len(file.done), {}

        def fault(name: str, error: MreError) -> None:
            if name in failed:          # batches look at the triplets twice
                return
            failed[name] = str(error)
            file.add_failure(name, {"triplet": str(error)}, {})

        asks = LazyAsks(triplets, set(file.done), fault)

        def heard(ask: Ask, verdicts: Verdicts) -> None:
            triplet = asks.open.pop(ask.item)
            if verdicts.errors:
                failed[ask.item] = "; ".join(dict.fromkeys(verdicts.errors.values()))
                file.add_failure(ask.item, verdicts.errors, {verdict.perspective: verdict.raw for verdict in verdicts})
            else:
                file.add(triplet, verdicts)
            on_progress(1)

        tally = judge.score_all(asks, "reward", heard)
    return RewardRun(tally, failed, kept)


def write_released_form(rewards: Path, out: Path) -> int:
    """The released JSON form of a JSONL file: its keys are triplet folders, and folder/SEED where a folder holds several pairs."""
    keys: dict[str, str] = {}
    with rewards.open(encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            keys[row["id"]] = row.get("key", row["id"])
    found = read_rewards(rewards)
    write_released(out, {keys[name]: row.reward for name, row in found.items()})
    return len(found)
