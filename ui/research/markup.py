"""Pieces of HTML that the views of the Research tab are made of. Everything that came from outside is escaped here."""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from ui.notices import bar, note
from ui.texts import say

if TYPE_CHECKING:
    from ui.research.jobs import Job


def escaped(value: object) -> str:
    return html.escape(str(value))


def nothing(key: str, language: str) -> str:
    return note(say(key, language))


def number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def table(keys: Sequence[str], rows: Iterable[Sequence[object]], language: str) -> str:
    return table_of([say(key, language) for key in keys], rows)


def table_of(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table whose rows become cards on a phone: there each cell shows its own heading."""
    body = ""
    for first, *rest in rows:
        cells = "".join(f'<td data-label="{escaped(head)}">{escaped(cell)}</td>' for head, cell in zip(heads[1:], rest, strict=True))
        body += f'<tr><th scope="row" data-label="{escaped(heads[0])}">{escaped(first)}</th>{cells}</tr>'
    head = "".join(f'<th scope="col">{escaped(name)}</th>' for name in heads)
    return (f'<div class="table-scroll"><table class="plain-table stacking-table"><thead><tr>{head}</tr></thead>'
            f"<tbody>{body}</tbody></table></div>")


def job_bar(job: Job, language: str) -> str:
    """How far a job in the background is."""
    words = say(f"res_stage_{job.stage}", language, name=job.name, share=f"{job.done / job.total:.0%}" if job.total else "")
    return bar(words, job.done / job.total if job.total else None)
