"""A study as files: long (one row per score), wide (one row per shown image) and JSONL.

Rows are streamed annotator by annotator, so that a million scores need little memory; the same database gives the same bytes.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import sqlalchemy as sa
from sqlalchemy import Connection

from mre.errors import StudyError
from mre.rewards import PERSPECTIVES
from mre.study import leases
from mre.study.cells import restored, safe, seconds_cell, time_cell
from mre.study.design import ORIGINAL
from mre.study.schema import CHECKS, annotators, answers, assignments, exclusions, items, methods, pairs, ratings
from mre.study.store import Store
from mre.study.studies import Study, find_study

LONG = ("study", "item", "edit_type", "instruction", "annotator", "screen", "shown_as", "method", "perspective", "score", "scale_min",
        "scale_max", "revision", "is_repeat", "is_check", "skip_reason", "comment", "first_shown_at", "submitted_at", "active_seconds",
        "order_seed", "app_version")
WIDE = (*LONG[:8], *PERSPECTIVES, *LONG[10:])
FORMS = ("long", "wide", "jsonl")
SCALE = (0, 5)
PART_CHARS = 100_000


@dataclass(frozen=True)
class Shown:
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


def export_file(store: Store, name: str, out: Path, form: str = "long", *, bom: bool = False, revisions: bool = False,
                without_excluded: bool = False) -> int:
    """Write a study to a file, whole or not at all. Returns the number of rows."""
    if form not in FORMS:
        raise StudyError(f"form must be one of {', '.join(FORMS)}, got {form!r}")
    with written_whole(out, "utf-8-sig" if bom and form != "jsonl" else "utf-8") as file:
        return export(store, name, file, form, revisions=revisions, without_excluded=without_excluded)


def export(store: Store, name: str, file: IO[str], form: str = "long", *, revisions: bool = False, without_excluded: bool = False) -> int:
    """Write a study to an open text file (opened with newline=""). Returns the number of rows."""
    count = 0
    for text, rows in export_parts(store, name, form, revisions=revisions, without_excluded=without_excluded):
        file.write(text)
        count += rows
    return count


def export_parts(store: Store, name: str, form: str = "long", *, revisions: bool = False,
                 without_excluded: bool = False) -> Iterator[tuple[str, int]]:
    """The file in parts as they are read from the store: text, and how many rows it holds."""
    study = find_study(store, name)
    rows_of = _wide_rows if form == "wide" else _long_rows
    part, count = io.StringIO(newline=""), 0
    writer = csv.writer(part, lineterminator="\n")
    if form != "jsonl":
        writer.writerow(WIDE if form == "wide" else LONG)
    with store.read() as connection:
        for image in shown_images(connection, study, revisions=revisions, without_excluded=without_excluded):
            rows = rows_of(study, image)
            if form == "jsonl":
                part.writelines(json.dumps(_typed(row), ensure_ascii=False) + "\n" for row in rows)
            else:
                writer.writerows(rows)
            count += len(rows)
            if part.tell() > PART_CHARS:
                yield part.getvalue(), count
                part.seek(0)
                part.truncate()
                count = 0
    yield part.getvalue(), count


def _common(study: Study, image: Shown) -> tuple[tuple, tuple]:
    """Cells before and after the scores."""
    before = (safe(study.name), safe(image.item), safe(image.edit_type), safe(image.instruction), safe(image.annotator), image.screen,
              image.shown_as, safe(image.method))
    after = (*SCALE, image.revision, int(image.is_repeat), int(image.is_check), image.skip_reason or "", safe(image.comment),
             time_cell(image.first_shown_at), time_cell(image.submitted_at), seconds_cell(image.active_ms), study.design.seed,
             image.app_version)
    return before, after


def _long_rows(study: Study, image: Shown) -> list[tuple]:
    before, after = _common(study, image)
    scores = image.scores or ("", "", "")
    return [(*before, perspective, score, *after) for perspective, score in zip(PERSPECTIVES, scores, strict=True)]


def _wide_rows(study: Study, image: Shown) -> list[tuple]:
    before, after = _common(study, image)
    return [(*before, *(image.scores or ("", "", "")), *after)]


def _typed(row: tuple) -> dict:
    """A long row with JSON's own types: empty cells are null, text is as it was given."""
    record = dict(zip(LONG, row, strict=True))
    for name in ("study", "item", "edit_type", "instruction", "annotator", "method", "comment"):
        record[name] = restored(record[name])
    for name in ("is_repeat", "is_check"):
        record[name] = bool(record[name])
    if record["active_seconds"]:
        record["active_seconds"] = float(record["active_seconds"])
    return {name: None if value == "" and name != "comment" else value for name, value in record.items()}


def shown_images(connection: Connection, study: Study, *, revisions: bool = False, without_excluded: bool = False,
                 kinds: tuple[str, ...] = ()) -> Iterator[Shown]:
    """Every scored or skipped image of a study, by annotator, screen, revision and side. Only final answers, unless `revisions`."""
    item_rows = {row.id: row for row in connection.execute(
        sa.select(items.c.id, items.c.name, items.c.edit_type, items.c.instruction).where(items.c.study_id == study.id))}
    method_names = dict(connection.execute(sa.select(methods.c.id, methods.c.name).where(methods.c.study_id == study.id)).all())
    method_names[None] = ORIGINAL
    people = sa.select(annotators.c.id, annotators.c.label).where(annotators.c.study_id == study.id).order_by(annotators.c.label)
    if without_excluded:
        people = people.where(annotators.c.id.not_in(standing_exclusions(study)))
    for annotator_id, label in sorted(connection.execute(people).all(), key=lambda row: row.label):     # not in a database's collation
        query = (sa.select(assignments.c.screen, assignments.c.kind, assignments.c.side_order, assignments.c.first_shown_at,
                           *leases.pair_columns, answers, ratings.c.shown_as, ratings.c.method_id,
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
            item = item_rows[row.item_id]
            sides = ([(row.shown_as, row.method_id, (row.following, row.preserving, row.quality))] if row.shown_as else
                     [(side, method, None) for side, method in enumerate(leases.shown_methods(study.design.seed, label, row), 1)])
            for side, method, scores in sides:
                yield Shown(item.name, item.edit_type, item.instruction, label, row.screen, side, method_names[method], scores,
                            row.revision, row.kind == "repeat", row.kind in CHECKS, row.skip_reason, row.comment, row.first_shown_at,
                            row.submitted_at, row.active_ms, row.app_version)


def standing_exclusions(study: Study) -> sa.Select:
    """Ids of annotators who are left out of the analysis."""
    return sa.select(exclusions.c.annotator_id).where(exclusions.c.study_id == study.id, exclusions.c.lifted_at.is_(None))


@contextmanager
def written_whole(out: Path, encoding: str = "utf-8") -> Iterator[IO[str]]:
    """A text file that takes its name only once it is complete; a run that is cut leaves no half file behind."""
    partial = out.with_name(f".{out.name}.{os.getpid()}.part")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding=encoding, newline="") as file:
            yield file
        partial.replace(out)
    except OSError as error:
        raise StudyError(f"{out}: cannot be written ({error.strerror})") from error
    finally:
        partial.unlink(missing_ok=True)
