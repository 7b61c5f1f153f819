"""A manifest and a judge make a file of scores: what is there is left out, what cannot be scored is listed, and the rest goes on."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING

from mre.data.triplets import TripletFault
from mre.judge.verdicts import Ask, OpenedJudge, Tally, Verdicts, costs_money

if TYPE_CHECKING:
    from mre.scoring.files import ScoredEdit, ScoreFile
    from mre.scoring.manifest import Question

    Rows = Iterable[Question | TripletFault]            # may be gone through several times

BLOCK = 1024            # edits given to a judge at once where that is free: what a judge holds of them does not grow with the manifest
SHOWN = 5


@dataclass
class ScoreRun:
    """What a run made: its tally, how many edits have no score and the reasons of the first, and what was there already."""

    kept: int
    total: int = 0              # edits in the file at the end
    tally: Tally = field(default_factory=Tally)
    failed: int = 0
    reasons: dict[str, str] = field(default_factory=dict)

    def fail(self, name: str, reason: str) -> None:
        """Count an edit without scores."""
        self.failed += 1
        if len(self.reasons) < SHOWN:
            self.reasons[name] = reason


@dataclass(frozen=True)
class Missing(Iterable[Ask]):
    """The questions about rows that a file does not hold yet; may be gone through more than once."""

    rows: Rows
    file: ScoreFile

    def __iter__(self) -> Iterator[Ask]:
        return (row.ask for row in self.rows
                if not isinstance(row, TripletFault) and self.file.name(row.edit) not in self.file.done)


def score_to_file(rows: Rows, judge: OpenedJudge, kind: type[ScoreFile], path: Path, task: str,
                  agree: Callable[[Iterable[Ask]], None], on_progress: Callable[[int], object] = lambda done: None) -> ScoreRun:
    """Score what a file of this kind lacks. `agree` is shown the questions before, and raises where they are not to be asked.

    Raises DataError where the file cannot be gone on with, JudgeError when asking is useless.
    """
    paid = costs_money(judge)
    with judge.cache.only_run() if paid else nullcontext(), kind(path, judge.name, None if paid else judge.version,
                                                                 judge.perspectives) as file:
        agree(Missing(rows, file))
        run = score_rows(rows, judge, task, file, on_progress)
        run.total = len(file.done)
        return run


def score_rows(rows: Rows, judge: OpenedJudge, task: str, file: ScoreFile,
               on_progress: Callable[[int], object] = lambda done: None) -> ScoreRun:
    """Score every row that an open file does not hold yet, in their order. Raises JudgeError when asking is useless."""
    run = ScoreRun(len(file.done))
    waiting: deque[ScoredEdit] = deque()            # with the judge, which answers in order
    seen: set[str] = set()

    def fault(name: str, reason: str) -> None:
        run.fail(name, reason)
        file.add_failure(name, {"triplet": reason}, {})
        on_progress(1)

    def asks() -> Iterator[Ask]:
        for row in rows:
            if isinstance(row, TripletFault):
                fault(row.id, str(row.error))
            elif (name := file.name(row.edit)) in seen:
                fault(row.edit.id, f"another edit goes by {name!r} in {file.path.name} already")
            else:
                seen.add(name)
                if name in file.done:
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


def told(run: ScoreRun, path: Path) -> list[str]:
    """What a run came to, in lines: the tally, and what has no score."""
    lines = [f"{run.tally}" + (f"; {run.kept} edits were scored already" if run.kept else "")]
    lines += [f"no score for {name}: {reason.removeprefix(f'{name}: ')}" for name, reason in run.reasons.items()]
    if run.failed > len(run.reasons):
        lines.append(f"... and {run.failed - len(run.reasons)} more in {path.with_suffix('.failed.jsonl')}")
    return lines
