"""A study as files: long (one row per score), wide (one row per shown image) and JSONL.

Rows are streamed annotator by annotator, so that a million scores need little memory; the same database gives the same bytes.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection

from mre.errors import StudyError
from mre.files import csv_line, safe, written_whole
from mre.rewards import PERSPECTIVES
from mre.study import queries
from mre.study.cells import seconds_cell, time_cell
from mre.study.design import ORIGINAL
from mre.study.records import Study, find_study
from mre.study.schema import CHECKS, annotators, answers, assignments, exclusions, items, methods, pairs, ratings

if TYPE_CHECKING:
    from mre.study.store import Store

LONG = ("study", "item", "edit_type", "instruction", "annotator", "screen", "shown_as", "method", "perspective", "score", "scale_min",
        "scale_max", "revision", "is_repeat", "is_check", "skip_reason", "comment", "first_shown_at", "submitted_at", "active_seconds",
        "order_seed", "app_version", "excluded")
WIDE = (*LONG[:8], *PERSPECTIVES, *LONG[10:])
FORMS = ("long", "wide", "jsonl")
SCALE = (0, 5)
PART_CHARS = 100_000


class Shown(NamedTuple):
    """One edited image as one annotator saw and scored it, once."""

    item: str
    edit_type: str
    instruction: str
    annotator: str
    screen: int
    shown_as: int
    method: str
    scores: tuple[int, int, int] | None       # None: skipped
    revision: int
    is_repeat: bool
    is_check: bool
    skip_reason: str | None
    comment: str
    first_shown_at: int | None
    submitted_at: int
    active_ms: int | None
    app_version: str
    excluded: bool                            # the annotator is left out of the analysis


_json = json.JSONEncoder(ensure_ascii=False).encode
_BEFORE, _AFTER = LONG[:8], LONG[10:]
_NO_SCORES = ("",) * len(PERSPECTIVES)


def export_file(store: Store, name: str, out: Path, form: str = "long", *, bom: bool = False, revisions: bool = False,
                without_excluded: bool = False, simulated: bool = False) -> int:
    """Write a study to a file, whole or not at all. Returns the number of rows."""
    if form not in FORMS:
        raise StudyError(f"form must be one of {', '.join(FORMS)}, got {form!r}")
    with written_whole(out, "utf-8-sig" if bom and form != "jsonl" else "utf-8") as file:
        return export(store, name, file, form, revisions=revisions, without_excluded=without_excluded, simulated=simulated)


def export(store: Store, name: str, file: IO[str], form: str = "long", *, revisions: bool = False,
           without_excluded: bool = False, simulated: bool = False) -> int:
    """Write a study to an open text file (opened with newline=""). Returns the number of rows."""
    count = 0
    for text, rows in export_parts(store, name, form, revisions=revisions, without_excluded=without_excluded, simulated=simulated):
        file.write(text)
        count += rows
    return count


def export_parts(store: Store, name: str, form: str = "long", *, revisions: bool = False,
                 without_excluded: bool = False, simulated: bool = False) -> Iterator[tuple[str, int]]:
    """The file in parts as they are read from the store: text, and how many rows it holds."""
    study = find_study(store, name)
    text_of = {"long": _long, "wide": _wide, "jsonl": _json_lines}[form]
    rows = 1 if form == "wide" else len(PERSPECTIVES)
    part, count = io.StringIO(newline=""), 0
    if form != "jsonl":
        part.write(csv_line(WIDE if form == "wide" else LONG) + "\n")
    with store.read() as connection:
        for image in shown_images(connection, study, revisions=revisions, without_excluded=without_excluded, simulated=simulated):
            part.write(text_of(study, image))
            count += rows
            if part.tell() > PART_CHARS:
                yield part.getvalue(), count
                part.seek(0)
                part.truncate()
                count = 0
    yield part.getvalue(), count


def _common(study: Study, image: Shown, text: Callable[[str], str]) -> tuple[tuple, tuple]:
    """Cells before and after the scores; `text` is applied to those that people or tables wrote."""
    before = (text(study.name), text(image.item), text(image.edit_type), text(image.instruction), text(image.annotator), image.screen,
              image.shown_as, text(image.method))
    after = (*SCALE, image.revision, int(image.is_repeat), int(image.is_check), image.skip_reason or "", text(image.comment),
             time_cell(image.first_shown_at), time_cell(image.submitted_at), seconds_cell(image.active_ms), study.order_cell,
             image.app_version, int(image.excluded))
    return before, after


def _long(study: Study, image: Shown) -> str:
    """Three rows. What they share, most of each, is turned into text once."""
    before, after = map(csv_line, _common(study, image, safe))
    return "".join(f"{before},{perspective},{score},{after}\n" for perspective, score in zip(PERSPECTIVES, image.scores or _NO_SCORES,
                                                                                            strict=True))


def _wide(study: Study, image: Shown) -> str:
    before, after = _common(study, image, safe)
    return csv_line((*before, *(image.scores or _NO_SCORES), *after)) + "\n"


def _json_lines(study: Study, image: Shown) -> str:
    """The long form's rows with JSON's own types: empty cells are null, text is as it was given."""
    before, after = _common(study, image, str)
    known = dict(zip(_AFTER, after, strict=True))
    known |= {"is_repeat": image.is_repeat, "is_check": image.is_check, "excluded": image.excluded,
              "active_seconds": None if image.active_ms is None else float(known["active_seconds"])}
    head = _json({name: None if value == "" else value for name, value in zip(_BEFORE, before, strict=True)})[:-1]
    tail = _json({name: None if value == "" and name != "comment" else value for name, value in known.items()})[1:]
    return "".join(f'{head}, "perspective": "{perspective}", "score": {"null" if score == "" else score}, {tail}\n'
                   for perspective, score in zip(PERSPECTIVES, image.scores or _NO_SCORES, strict=True))


def shown_images(connection: Connection, study: Study, *, revisions: bool = False, without_excluded: bool = False,
                 simulated: bool = False, kinds: tuple[str, ...] = ()) -> Iterator[Shown]:
    """Every scored or skipped image of a study, by annotator, screen, revision and side. Only final answers, unless `revisions`; nothing
    of simulated annotators among people, unless `simulated`."""
    item_texts = {item_id: texts for item_id, *texts in connection.execute(
        sa.select(items.c.id, items.c.name, items.c.edit_type, items.c.instruction).where(items.c.study_id == study.id))}
    method_names = dict(connection.execute(sa.select(methods.c.id, methods.c.name).where(methods.c.study_id == study.id)).all())
    method_names[None] = ORIGINAL
    people = sa.select(annotators.c.id, annotators.c.label).where(annotators.c.study_id == study.id).order_by(annotators.c.label)
    if not (simulated or study.simulated):
        people = people.where(annotators.c.simulated.is_(False))
    if without_excluded:
        people = people.where(annotators.c.id.not_in(queries.standing_exclusions(study)))
    excluded = set(connection.execute(sa.select(exclusions.c.annotator_id).where(
        exclusions.c.study_id == study.id, exclusions.c.lifted_at.is_(None))).scalars())
    for annotator_id, label in sorted(connection.execute(people).all(), key=lambda row: row.label):     # not in a database's collation
        query = (sa.select(assignments.c.screen, assignments.c.kind, assignments.c.side_order, *queries.pair_columns,
                           assignments.c.first_shown_at, answers.c.submitted_at, answers.c.active_ms, answers.c.revision,
                           answers.c.skip_reason, answers.c.comment, answers.c.app_version, ratings.c.shown_as, ratings.c.method_id,
                           *(ratings.c[name] for name in PERSPECTIVES))
                 .join(assignments, assignments.c.id == answers.c.assignment_id).join(pairs, pairs.c.id == assignments.c.pair_id)
                 .outerjoin(ratings, ratings.c.answer_id == answers.c.id)
                 .where(assignments.c.annotator_id == annotator_id)
                 .order_by(assignments.c.screen, answers.c.revision, ratings.c.shown_as))
        if not revisions:
            query = query.where(answers.c.is_final)
        if kinds:
            query = query.where(assignments.c.kind.in_(kinds))
        for row in connection.execution_options(yield_per=1000).execute(query):
            (screen, kind, _order, item_id, _first, _second, first_shown_at, submitted_at, active_ms, revision, skip_reason, comment,
             app_version, shown_as, method_id, *scores) = row               # by place: a million times by name would be most of the time
            name, edit_type, instruction = item_texts[item_id]
            sides = ([(shown_as, method_id, tuple(scores))] if shown_as else
                     [(side, method, None) for side, method in enumerate(queries.shown_methods(study.order, label, row), 1)])
            for side, method, given in sides:
                yield Shown(name, edit_type, instruction, label, screen, side, method_names[method], given, revision, kind == "repeat",
                            kind in CHECKS, skip_reason, comment, first_shown_at, submitted_at, active_ms, app_version,
                            annotator_id in excluded)


def simulated_labels(store: Store, study: Study) -> set[str]:
    with store.read() as connection:
        return set(connection.execute(sa.select(annotators.c.label).where(annotators.c.study_id == study.id, annotators.c.simulated))
                   .scalars())
