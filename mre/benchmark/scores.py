"""A judge's answers about edits: one row per answer in `scores.csv`, failures among them, and the reasons in `failures.csv`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mre.benchmark.answers import Answer
from mre.files import JUDGE_SCORES, csv_text, write_whole
from mre.judge.verdicts import Ask, Judge, Tally, Verdicts

if TYPE_CHECKING:
    from mre.benchmark.edits import ResultsFolder
    from mre.benchmark.items import Item


def questions(folder: ResultsFolder, methods: Sequence[tuple[str, Sequence[Item]]], repeats: int = 1) -> list[Ask]:
    """Every edit of the methods that is there, `repeats` times."""
    there = folder.rows()
    return [Ask(item.item, item.instruction, folder.original(item), folder.edited(method, item.item), method, repeat, item.scene)
            for method, items in methods for item in items if (method, item.item) in there for repeat in range(repeats)]


def judge_edits(judge: Judge, asks: Sequence[Ask], task: str,
                on_progress: Callable[[int], object] = lambda done: None) -> tuple[list[Answer], Tally]:
    """One answer per perspective of each edit, in the order of `asks`, those that failed included."""
    answers: list[Answer] = []

    def heard(ask: Ask, verdicts: Verdicts) -> None:
        for verdict in verdicts:
            answers.append(Answer(ask.item, ask.method, verdicts.judge, verdict.judge_version, ask.repeat, verdict.perspective,
                                  verdict.score, verdict.accepted, verdict.text, verdict.raw, round(verdict.seconds, 3), verdict.cost_usd,
                                  verdict.error, verdict.deviation))
        on_progress(1)

    return answers, judge.score_all(asks, task, heard)


def write_scores(answers: Iterable[Answer], folder: Path) -> Path:
    """scores.csv with one row per answer, deviations last where the judge gives some, and failures.csv when there are any."""
    answers = list(answers)
    path = folder / "scores.csv"
    columns = (*JUDGE_SCORES, "deviation") if any(answer.deviation is not None for answer in answers) else JUDGE_SCORES
    write_whole(path, csv_text(columns, ([getattr(answer, name) for name in columns] for answer in answers)))
    failed = [(answer.item, answer.method, answer.repeat, answer.perspective, answer.error) for answer in answers if answer.score is None]
    if failed:
        write_whole(folder / "failures.csv", csv_text(("item", "method", "repeat", "perspective", "error"), failed))
    else:
        (folder / "failures.csv").unlink(missing_ok=True)
    return path
