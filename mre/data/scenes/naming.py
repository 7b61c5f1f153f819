"""What is wrong with a picture in words: the texts of its reward, and short names of its defects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mre.data.scenes import defects
from mre.data.scenes.defects import OBJECTS, PHOTOMETRIC

if TYPE_CHECKING:
    from mre.data.scenes.edits import Edit
    from mre.data.scenes.explaining import Explanation

NOTHING_FROM = 4.75      # from this score on nothing is wrong


def texts(edit: Edit, e: Explanation, scores: tuple[float, float, float]) -> tuple[str, str, str]:
    """What is wrong, in the words of the reward texts: the kind that was found, or that something unexplained was."""
    following, preserving, quality = ("None",) * 3
    if scores[0] < NOTHING_FROM:
        kind = "half" if e.way == "half" and abs(e.amount - 1) < 0.3 else 1 if edit.nothing else min(round(scores[0]), 4)
        following = defects.FOLLOWING_TEXTS[kind][0].format(it=edit.named, asked=edit.asked)
    kind = damage_kind(e)
    if scores[1] < NOTHING_FROM:
        other = defects.untouched(edit)[e.other] if e.damage in OBJECTS else None
        form = e.wash.form if e.wash else e.form
        text = defects.PRESERVING_TEXTS[kind][1 if kind == "shifted" else 0]        # the one that names its direction
        preserving = defects.named(text, kind, min(round(scores[1]), 4), form, other)
    if scores[2] < NOTHING_FROM:
        kind = artefact_kind(e)
        quality = defects.named(defects.QUALITY_TEXTS[kind][0], kind, min(round(scores[2]), 4), e.artefact_form)
    return following, preserving, quality


def names(edit: Edit, e: Explanation, scores: tuple[float, float, float]) -> tuple[str, str, str]:
    """A short name for what is wrong in each perspective, with its form."""
    if edit.nothing or (e.way == "wrong" and scores[0] >= 0.5):
        following = "wrong"
    else:
        following = "missing" if scores[0] < 0.5 else "half" if e.way == "half" else "wrong" if scores[0] <= 1 else "weak"
    kind = damage_kind(e)
    form = e.wash.form if e.wash else e.form
    tail = {"tinted": f" {form.hue}", "shifted": f" {defects.WAYS[form.way]}"}.get(kind, "")
    where = defects.PART_TEXTS[form.part] if kind in PHOTOMETRIC and kind != "uneven" else ""
    return following, kind + tail + where, artefact_kind(e)


def damage_kind(e: Explanation) -> str:
    if not e.damage or e.damage_level <= 0.25:
        return "changed"
    return e.damage


def artefact_kind(e: Explanation) -> str:
    return e.artefact if e.artefact and e.artefact_level > 0.25 else "noisy"
