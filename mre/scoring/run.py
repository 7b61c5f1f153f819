"""A manifest and a judge make a file of scores: what is there is left out, what cannot be scored is listed, and the rest goes on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TYPE_CHECKING

from mre.data.triplets import TripletFault
from mre.judge.verdicts import Ask, OpenedJudge, Tally, Verdicts, costs_money

if TYPE_CHECKING:
    from mre.scoring.files import ScoredEdit, ScoreFile
    from mre.scoring.manifest import Question

BLOCK = 1024            # edits given to a judge at once where that is free: what a judge holds of them does not grow with the manifest
SHOWN = 5


@dataclass
class ScoreRun:
    """What a run made: its tally, how many edits have no score and the reasons of the first, and what was there already."""

    kept: int
    tally: Tally = field(default_factory=Tally)
    failed: int = 0
    reasons: dict[str, str] = field(default_factory=dict)

    def fail(self, name: str, reason: str) -> None:
        """Count an edit without scores."""
        self.failed += 1
        if len(self.reasons) < SHOWN:
            self.reasons[name] = reason


def score_rows(rows: Iterable[Question | TripletFault], judge: OpenedJudge, task: str, file: ScoreFile,
               on_progress: Callable[[int], object] = lambda done: None) -> ScoreRun:
    """Score every row that an open file does not hold yet, in their order. Raises JudgeError when asking is useless."""
    run = ScoreRun(len(file.done))
    waiting: deque[ScoredEdit] = deque()            # with the judge, which answers in order

    def asks() -> Iterator[Ask]:
        for row in rows:
            if isinstance(row, TripletFault):
                run.fail(row.id, str(row.error))
                file.add_failure(row.id, {"triplet": str(row.error)}, {})
                on_progress(1)
            elif file.name(row.edit) in file.done:
                on_progress(1)
            else:
                waiting.append(row.edit)
                yield row.ask

    def heard(_ask: Ask, verdicts: Verdicts) -> None:
        edit = waiting.popleft()
        if verdicts.errors:
            run.fail(file.name(edit), "; ".join(dict.fromkeys(verdicts.errors.values())))
            file.add_failure(file.name(edit), verdicts.errors, {verdict.perspective: verdict.raw for verdict in verdicts})
        else:
            file.add(edit, verdicts)
        on_progress(1)

    for block in [asks()] if costs_money(judge) else blocks(asks(), BLOCK):
        run.tally.add(judge.score_all(block, task, heard))
        if run.tally.stopped:
            break
    return run


def blocks(asks: Iterator[Ask], size: int) -> Iterator[Iterator[Ask]]:
    """Runs of at most `size` asks, none of them empty. Each must be taken whole before the next is asked for."""
    for first in asks:
        yield chain([first], islice(asks, size - 1))
