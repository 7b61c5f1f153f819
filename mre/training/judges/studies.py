"""What people scored in a study, from its database or its export: each screen is one annotator's two edits of one original."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import lru_cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import sqlalchemy as sa

from mre.errors import DataError, MreError, RewardError
from mre.files import read_filled_table, read_table
from mre.imaging import open_image, pixel_digest
from mre.rewards import PERSPECTIVES, checked_score
from mre.training.judges.groups import GroupList, LabelledEdit, LabelledGroup

if TYPE_CHECKING:
    from PIL import Image

    from mre.study.store import Store

ORIGINAL = "original"           # what a study calls the original when it stands in for an edit
STUDY = "study:"
NEEDED = ("item", "instruction", "annotator", "screen", "shown_as", "method", "perspective", "score")


class _Shown(NamedTuple):
    """One image of a screen, with what its annotator gave it."""

    item: str
    edit_type: str
    instruction: str
    annotator: str
    screen: str
    method: str
    scores: tuple[float | None, ...]


def study_groups(store: Store, name: str) -> GroupList:
    """Screens of a study in a store, of annotators who are not excluded; simulated ones only where the whole study is simulated.

    Raises DataError for a study without ratings or without pictures.
    """
    from mre.study.export import shown_images
    from mre.study.records import find_study
    from mre.study.schema import edits, items, methods

    study = find_study(store, name)
    with store.read() as connection:
        originals = dict(connection.execute(sa.select(items.c.name, items.c.original).where(items.c.study_id == study.id)).all())
        digests = {(item, method): digest for item, method, digest in connection.execute(
            sa.select(items.c.name, methods.c.name, edits.c.image).join(items, items.c.id == edits.c.item_id)
            .join(methods, methods.c.id == edits.c.method_id).where(items.c.study_id == study.id))}
        shown = [_Shown(image.item, image.edit_type, image.instruction, image.annotator, str(image.screen), image.method, image.scores)
                 for image in shown_images(connection, study, without_excluded=True) if image.scores is not None]
    if not shown:
        raise DataError(f"{STUDY}{name} has no ratings yet")
    if not any(originals.values()):
        raise DataError(f"{STUDY}{name} came from a file without pictures; give the export and its edits instead")

    def picture(item: str, method: str) -> tuple[str, Callable]:
        digest = originals[item] if method == ORIGINAL else digests[item, method]
        return digest or "", partial(stored_picture, store, digest or "")
    return _grouped(f"{STUDY}{name}", shown, picture)


def stored_picture(store: Store, digest: str) -> Image.Image:
    """A picture of a study by its digest. Raises DataError."""
    from mre.study.schema import images

    with store.read() as connection:
        png = connection.execute(sa.select(images.c.png).where(images.c.digest == digest)).scalar()
    if png is None:
        raise DataError(f"the store has no picture {digest[:12]}")
    return open_image(bytes(png))


def export_groups(export: Path, tables: Iterable[Path]) -> GroupList:
    """Screens of an exported study (long form, CSV or JSONL), with pictures by item and method from tables of edits.

    Raises DataError for columns or pictures that are missing, and for an export without scores.
    """
    pictures: dict[tuple[str, str], Path] = {}
    for table in tables:
        table = table / "edits.csv" if table.is_dir() else table
        for _line, row in read_filled_table(table, ("item", "method", "original", "edited")):
            pictures[row["item"], row["method"]] = table.parent / row["edited"]
            pictures[row["item"], ORIGINAL] = table.parent / row["original"]
    found: dict[tuple[str, str, str], _Shown] = {}
    last: dict[tuple[str, str, str], int] = {}              # the newest revision, which alone counts
    for line, row in read_table(export, needed=NEEDED):
        revision = row.get("revision", "")
        if revision == "0" or row.get("excluded", "") in ("1", "true", "True"):
            continue
        key, number = (row["annotator"], row["screen"], row["shown_as"]), int(revision) if revision.isdecimal() else 0
        if number > last.setdefault(key, number):
            last[key] = number
            found.pop(key, None)
        if not row["score"] or number < last[key]:
            continue
        if row["perspective"] not in PERSPECTIVES:
            raise DataError(f"{export}: row {line}: perspective must be one of {', '.join(PERSPECTIVES)}, got {row['perspective']!r}")
        try:
            score = checked_score(row["score"], "score")
        except RewardError as error:
            raise DataError(f"{export}: row {line}: {error}") from error
        before = found.get(key) or _Shown(row["item"], row.get("edit_type", ""), row["instruction"], row["annotator"], row["screen"],
                                          row["method"], (None,) * len(PERSPECTIVES))
        scores = list(before.scores)
        scores[PERSPECTIVES.index(row["perspective"])] = score
        found[key] = before._replace(scores=tuple(scores))
    if not found:
        raise DataError(f"{export} has no scores")

    def picture(item: str, method: str) -> tuple[str, Path]:
        if (item, method) not in pictures:
            raise DataError(f"{export}: no table of edits has {method} of {item}; name its folder with --edits")
        path = pictures[item, method]
        return (_pixels_of(path) if method == ORIGINAL else ""), path
    return _grouped(str(export), list(found.values()), picture)


@lru_cache(maxsize=100_000)
def _pixels_of(path: Path) -> str:
    """What a study in a store calls an original: one photo is one original, under however many names. A file that cannot be read goes by
    its path; that it cannot is said when it is needed."""
    try:
        return pixel_digest(open_image(path))
    except MreError:
        return str(path)


def _grouped(name: str, shown: list[_Shown], picture: Callable) -> GroupList:
    screens: dict[tuple[str, str], list[_Shown]] = {}
    for image in shown:
        screens.setdefault((image.annotator, image.screen), []).append(image)
    groups = []
    for images in screens.values():
        source, original = picture(images[0].item, ORIGINAL)
        groups.append(LabelledGroup(source, tuple(
            LabelledEdit(image.instruction, original, picture(image.item, image.method)[1], image.scores,
                         annotator=f"{name} {image.annotator}", edit_type=image.edit_type, item=image.item, method=image.method)
            for image in images)))
    return GroupList(name, groups)
