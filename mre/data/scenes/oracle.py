"""The oracle: scores any picture as an edit of a drawn scene, by finding which known faults explain it best.

TODO
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from mre.data.scenes import defects
from mre.data.scenes.defects import GEOMETRIC, OBJECTS, PHOTOMETRIC, Spoiling
from mre.data.scenes.looks import Array, blurred
from mre.data.scenes.render import render
from mre.data.scenes.triplets import SceneTriplet, outside_of
from mre.errors import DataError
from mre.rewards import Reward

LEVELS = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)
ARTEFACTS = ("blurred", "blocky", "banded", "ghosted")     # noise is what no other kind explains
COARSE = 32
STARTS = 5


@dataclass(frozen=True)
class Explanation:
    """The known faults that come closest to a picture, with strengths from 0 (none) to 5 (score 0)."""

    way: str                 # "edit": from original to target; "wrong": to the wrong edit; "half": to one of two
    amount: float            # how far along that way, 0..1 (half: 0..2, where 1 is one of two)
    damage: str = ""
    damage_level: float = 0.0
    other: int = -1          # number of the thing that recoloured/removed hit
    artefact: str = ""
    artefact_level: float = 0.0
    error: float = np.inf    # mean squared difference to the picture


class Oracle:
    """Scores pictures as edits of one triplet; what can be computed once for all pictures is kept."""

    def __init__(self, triplet: SceneTriplet) -> None:
        self.triplet = triplet
        self.size = len(triplet.original)
        self.outside = outside_of(triplet.target_mask)
        self.others = defects.untouched(triplet.edit)
        self.by_structure = triplet.edit_type in ("global", "style")
        self._bases: dict[tuple[str, int], list[Array]] = {}

    # -- candidates

    def bases(self, damage: str = "", other: int = -1) -> list[Array]:
        """Original, target, wrong edit and, where there is one, the half edit; with another thing recoloured or removed."""
        key = (damage, other) if damage in OBJECTS else ("", -1)
        if key not in self._bases:
            edit = self.triplet.edit
            scenes = [edit.before, edit.after, edit.wrong] + ([edit.half] if edit.half else [])
            if key[0]:
                hit = Spoiling((5, 5, 5), ("", damage, ""), ("", "", ""), self.others[other])
                scenes = [defects.damaged(scene, hit) for scene in scenes]
            self._bases[key] = [render(scene, self.size, self.triplet.photo) for scene in scenes]
        return self._bases[key]

    def damage_kinds(self) -> list[tuple[str, int]]:
        kinds = [(kind, -1) for kind in (() if self.by_structure else PHOTOMETRIC) + GEOMETRIC]
        return kinds + [(kind, number) for number in range(len(self.others)) for kind in OBJECTS]

    def damaged(self, picture: Array, damage: str, level: float) -> Array:
        """A picture tinted, faded, darkened or moved; recoloured and removed are in the bases already."""
        if level <= 0:
            return picture
        if damage in PHOTOMETRIC:
            return defects.spoil_outside(picture, damage, level, self.outside)
        if damage in GEOMETRIC:
            return defects.move(picture, damage, level)
        return picture

    @cached_property
    def coarse(self) -> list[tuple[str, int, float, list[Array]]]:
        """Every damage at every level, of the bases, small and soft."""
        entries = [("", -1, 0.0, [soft(base) for base in self.bases()])]
        for damage, other in self.damage_kinds():
            bases = self.bases(damage, other)
            for level in (1.0,) if damage in OBJECTS else LEVELS[1:]:
                entries.append((damage, other, level, [soft(self.damaged(base, damage, level)) for base in bases]))
        return entries

    def along(self, way: str, amount: float, damage: str = "", other: int = -1, level: float = 0.0) -> Array:
        """The picture `amount` of the way from the original, without damage where an object is hit only by a part (level < 1)."""
        picture = self._along(self.bases(damage, other), way, amount)
        if damage in OBJECTS and level < 1:
            clean = self._along(self.bases(), way, amount)
            return clean + (picture - clean) * np.float32(max(level, 0.0))
        return self.damaged(picture, damage, level)

    @staticmethod
    def _along(bases: list[Array], way: str, amount: float) -> Array:
        start, target, wrong = bases[:3]
        amount = np.float32(amount)
        if way == "edit":
            return start + (target - start) * amount
        if way == "wrong":
            return start + (wrong - start) * amount
        half = bases[3]
        return start + (half - start) * amount if amount <= 1 else half + (target - half) * (amount - 1)

    def candidate(self, e: Explanation) -> Array:
        picture = self.along(e.way, e.amount, e.damage, e.other, e.damage_level)
        return defects.lower_quality(picture, e.artefact, e.artefact_level) if e.artefact and e.artefact_level > 0 else picture

    # -- the search

    def explain(self, picture: Array) -> Explanation:
        """The best explanation of a picture, (size, size, 3) float32 in [0, 1]."""
        best: list[Explanation] = []
        for start in self.starts(soft(picture)):
            found = self.with_artefact(picture, start)
            best.append(found)
        best.sort(key=lambda e: e.error)
        refined = [self.refined(picture, e) for e in best[:2]]
        return min(refined, key=lambda e: e.error)

    def starts(self, small: Array) -> list[Explanation]:
        """The best few of edit ways and damages on small, soft pictures; without damage always among them."""
        per_kind: dict[tuple[str, int, bool], Explanation] = {}
        for damage, other, level, bases in self.coarse:
            for way in ("edit", "wrong", "half")[:len(bases) - 1]:
                amount, error = self.nearest_amount(small, bases, way)
                found = Explanation(way, amount, damage, level, other, error=error)
                key = (damage, other, way == "wrong")
                if key not in per_kind or error < per_kind[key].error:
                    per_kind[key] = found
        ranked = sorted(per_kind.values(), key=lambda e: e.error)
        chosen = ranked[:STARTS]
        return chosen + [e for e in ranked[STARTS:] if not e.damage]

    @staticmethod
    def nearest_amount(small: Array, bases: list[Array], way: str) -> tuple[float, float]:
        if way == "half":
            first, error = segment(small, bases[0], bases[3])
            second, after = segment(small, bases[3], bases[1])
            return (first, error) if error <= after else (1 + second, after)
        return segment(small, bases[0], bases[1 if way == "edit" else 2])

    def with_artefact(self, picture: Array, start: Explanation) -> Explanation:
        """The start with the kind and level of artefact that bring it closest."""
        clean = self.along(start.way, start.amount, start.damage, start.other, start.damage_level)
        best = replace(start, error=distance(picture, clean))
        for kind in ARTEFACTS:
            for level in LEVELS[1:] if kind == "banded" else (1.0, 3.0, 5.0):
                error = distance(picture, defects.lower_quality(clean, kind, level))
                if error < best.error:
                    best = replace(start, artefact=kind, artefact_level=level, error=error)
        return best

    def refined(self, picture: Array, e: Explanation) -> Explanation:
        """Amount, damage and artefact moved in turn to where the picture is closest."""
        for _ in range(2):
            e = self.best_of_path(picture, e, "artefact_level", LEVELS) if e.artefact else e
            amounts = {"edit": (0.0, 0.35, 0.55, 0.78, 1.0), "wrong": (0.0, 1.0), "half": (0.0, 1.0, 2.0)}[e.way]
            e = self.best_of_path(picture, e, "amount", amounts)
            if e.damage:
                e = self.best_of_path(picture, e, "damage_level", (0.0, 1.0) if e.damage in OBJECTS else LEVELS)
        return replace(e, error=distance(picture, self.candidate(e)))

    def best_of_path(self, picture: Array, e: Explanation, field: str, values: tuple[float, ...]) -> Explanation:
        """The explanation with one field moved along the polyline of candidates at the given values."""
        points = [self.candidate(replace(e, **{field: value})) for value in values]
        errors = [distance(picture, point) for point in points]
        nearest = int(np.argmin(errors))
        best, where = errors[nearest], values[nearest]
        for low in (nearest - 1, nearest):
            if 0 <= low < len(values) - 1:
                part, error = segment(picture, points[low], points[low + 1])
                if error < best:
                    best, where = error, values[low] + part * (values[low + 1] - values[low])
        return replace(e, **{field: where}, error=best)


def soft(picture: Array) -> Array:
    """Means over squares, COARSE on a side, a little blurred: what artefacts hardly touch."""
    factor = max(1, len(picture) // COARSE)
    side = len(picture) // factor
    small = picture[:side * factor, :side * factor].reshape(side, factor, side, factor, 3).mean((1, 3))
    return blurred(small, 1.0)


def distance(a: Array, b: Array) -> float:
    difference = (a - b).ravel()
    return float(difference @ difference) / difference.size


def segment(point: Array, start: Array, end: Array) -> tuple[float, float]:
    """Where on the way from start to end the point is closest, in [0, 1], and the mean squared distance there."""
    way, off = (end - start).ravel(), (point - start).ravel()
    length = float(way @ way)
    part = min(max(float(off @ way) / length, 0.0), 1.0) if length > 1e-9 else 0.0
    rest = off - np.float32(part) * way
    return part, float(rest @ rest) / rest.size
