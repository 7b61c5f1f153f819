"""Tables by CLIP features instead of a judge: MagicBrush (form of Table 2) and the traditional metrics (form of Table 7)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mre.benchmark.tables import INTERVALS, Cell, Table, gain_cell, mean_cell
from mre.errors import ImageError
from mre.imaging import open_image
from mre.metrics import ClipFeatures, frechet_distance, similarities

if TYPE_CHECKING:
    from mre.benchmark.edits import ResultsFolder
    from mre.benchmark.items import Item
    from mre.benchmark.runs import Plan


def tables_by_clip(plan: Plan, folder: ResultsFolder, model: str) -> list[Table]:
    """CLIP-I, CLIP-T and FID of every method. Edits that are missing or cannot be read are counted as missing."""
    features = ClipFeatures(model)
    items = plan.benchmark.items
    reference = features.of_images((item.open_target or item.open)() for item in items)
    texts = features.of_texts(item.caption or item.instruction for item in items)
    values = {method: _similarities(features, folder, method, items, reference, texts) for method in plan.main}
    groups = [item.group for item in items]
    rows = [[method, *(mean_cell(of, groups) for of in found), distance] for method, (found, distance) in values.items()]
    has_target, captions = any(item.open_target for item in items), sum(bool(item.caption) for item in items)
    described = "the instruction" if not captions else "the target caption"
    if 0 < captions < len(items):
        described += f" (the instruction of {len(items) - captions} items that have no caption)"
    notes = [f"CLIP-I: 100 x cosine of the edit's features and {'the target picture' if has_target else 'the original'}'s. CLIP-T: "
             f"of the edit's and {described}'s. CLIP model: {features.name}.",
             f"FID: Fréchet distance of the same CLIP model's image features between edits and {'targets' if has_target else 'originals'}; "
             "not Inception's, so not comparable with published FID.", INTERVALS]
    compared = [[f"{method} minus {against}",
                 *(gain_cell(a, b, groups) for a, b in zip(values[method][0], values[against][0], strict=True))]
                for method, against in plan.pairs]
    pairs = [Table("pairs_clip", "CLIP-I and CLIP-T: pairs of methods on the same items", ["methods", "CLIP-I", "CLIP-T"], compared,
                   [notes[0], INTERVALS])] if compared else []
    if plan.benchmark.kind == "magicbrush":
        return [Table("table_2", "MagicBrush test: CLIP-I and CLIP-T (form of Table 2)", ["method", "CLIP-I", "CLIP-T"],
                      [row[:3] for row in rows], [notes[0], INTERVALS]), _table_7(rows, notes), *pairs]
    return [_table_7(rows, notes), *pairs]


def _table_7(rows: list, notes: list[str]) -> Table:
    return Table("table_7", "CLIP-I, CLIP-T and FID (form of Table 7)", ["method", "CLIP-I", "CLIP-T", "FID (CLIP features)"], rows, notes)


def _similarities(features: ClipFeatures, folder: ResultsFolder, method: str, items: Sequence[Item], reference: Any,
                  texts: Any) -> tuple[list[list[float | None]], Cell]:
    """CLIP-I and CLIP-T of every item, None where there is no edit, and FID."""
    there: list[int] = []

    def pictures():
        for number, item in enumerate(items):
            try:
                picture = open_image(folder.edited(method, item.item))
            except ImageError:
                continue
            there.append(number)
            yield picture

    edits = features.of_images(pictures())
    found: list[list[float | None]] = []
    for against in (reference, texts):
        values: list[float | None] = [None] * len(items)
        for number, value in zip(there, similarities(edits, against[there]), strict=True):
            values[number] = 100 * float(value)
        found.append(values)
    distance = frechet_distance(edits, reference)
    return found, Cell(distance, math.nan, math.nan, len(there), len(items) - len(there))
