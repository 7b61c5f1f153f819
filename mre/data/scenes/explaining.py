"""What is read from a picture: the known faults with which an edit of a synthetic scene comes closest to it.

Every edit of the scene can be drawn with every known fault. The search starts from small, soft pictures, where artefacts hardly show, and
ends at full size; strengths lie anywhere between the steps at which scenes are spoiled.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from mre.data.scenes import defects
from mre.data.scenes.defects import FORM, GEOMETRIC, OBJECTS, Form, Spoiling
from mre.data.scenes.looks import Array
from mre.data.scenes.pixels import LEVELS, distance, mean_under_noise, noise_level, segment, shrunk, soft
from mre.data.scenes.render import render
from mre.data.scenes.triplets import SceneTriplet, amounts_of, outside_of
from mre.data.scenes.washes import Wash, washes
from mre.rewards import WHOLE_PICTURE

FORMS = {"ghosted": tuple(Form(way=way) for way in range(len(defects.WAYS))), "lined": (Form(way=0), Form(way=1))}
ARTEFACTS = ("blurred", "blocky", "banded", "ghosted", "lined", "dull")     # the others are what no kind of these explains
SHARE_OF_CHANGE = {"ghosted": defects.GHOST, "blocky": defects.BLOCKS, "lined": defects.LINES, "dull": defects.DULL}
SHARES = (0.0, 0.5, 1.0, 1.3)      # of a wash as it was measured on the soft picture
SAME = 1e-7              # of two explanations that differ by no more, in mean squared difference, the simpler one holds
STARTS, REFINED = 4, 3   # how many explanations of the soft pictures, and of the full ones, are followed up


@dataclass(frozen=True)
class Explanation:
    """The known faults that come closest to a picture, with strengths from 0 (none) to 5 (score 0)."""

    way: str                 # "edit": from original to target; "wrong": to the wrong edit; "half": to one of two
    amount: float            # how far along that way, 0..1 (half: 0..2, where 1 is one of two)
    damage: str = ""
    damage_level: float = 0.0          # of a wash: the share of it, 1 as it was measured
    other: int = -1          # number of the thing that recoloured/removed hit
    artefact: str = ""
    artefact_level: float = 0.0
    error: float = np.inf    # mean squared difference to the picture
    wash: Wash | None = None           # what happened to the colours around the edit
    form: Form = FORM                  # the direction of a shift
    artefact_form: Form = FORM         # that of a ghost, or of lines


class Explainer:
    """Explains pictures as edits of one triplet; what can be computed once for all pictures is kept."""

    def __init__(self, triplet: SceneTriplet, loose: bool = False) -> None:
        """`loose`: the target is another drawing of what was asked for, so that fine differences are no artefacts."""
        self.triplet, self.loose = triplet, loose
        self.size = len(triplet.original)
        self.outside = outside_of(triplet.target_mask)
        self.others = defects.untouched(triplet.edit)
        self.by_structure = triplet.edit_type in WHOLE_PICTURE and not triplet.edit.nothing
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

    def damaged(self, picture: Array, e: Explanation, outside: Array) -> Array:
        """A picture washed or moved; recoloured and removed are in the bases already."""
        if e.damage_level <= 0:
            return picture
        if e.wash is not None:
            return picture + e.wash.change(picture, outside) * np.float32(e.damage_level)
        if e.damage in GEOMETRIC:
            return defects.move(picture, e.damage, e.damage_level, e.form)
        return picture

    @cached_property
    def coarse(self) -> list[tuple[Explanation, list[Array]]]:
        """Every damage that is not a wash at some levels, of the bases, small and soft."""
        plain = [soft(base) for base in self.bases()]
        entries = [(Explanation("edit", 0.0), plain)]
        for number in range(len(self.others)):
            for kind in OBJECTS:
                entries.append((Explanation("edit", 0.0, kind, 1.0, number), [soft(base) for base in self.bases(kind, number)]))
        for level in LEVELS[1::2]:
            found = [Explanation("edit", 0.0, "zoomed", level)]
            found += [Explanation("edit", 0.0, "shifted", level, form=Form(way=way)) for way in range(len(defects.WAYS))]
            entries += [(e, [soft(self.damaged(base, e, self.outside)) for base in self.bases()]) for e in found]
        return entries

    @cached_property
    def soft_outside(self) -> Array:
        """Where the edit does not belong, on soft pictures."""
        return soft(np.repeat(self.outside[..., None], 3, axis=2))[..., 0]

    @cached_property
    def around(self) -> Array:
        """(h, w) bool: the places of soft pictures that lie outside the edit; of a new background, most of whose is."""
        return self.soft_outside > (0.5 if self.triplet.edit_type == "background" else 0.99)

    def washed(self, small: Array) -> list[tuple[Explanation, list[Array]]]:
        """What may have happened to the colours around the edit, measured on the soft picture there."""
        if self.by_structure:
            return []
        plain = self.coarse[0][1]
        elsewhere = np.abs(plain[2] - plain[0]).max(axis=2) < 0.02       # a wrong edit may have changed other places
        entries, start, where = [], plain[0], self.around & elsewhere
        if self.triplet.edit_type == "background":                       # things are small: places that are theirs in part count too
            start, where = start + (plain[1] - start) * np.float32(self.nearest_amount(small, plain, "edit")[0]), self.around
        for wash in washes(small, start, where):
            e = Explanation("edit", 0.0, wash.kind, 1.0, wash=wash)
            entries.append((e, [self.damaged(base, e, self.soft_outside) for base in plain]))
        return entries

    def along(self, e: Explanation) -> Array:
        """The picture `amount` of the way from the original, without damage where an object is hit only by a part (level < 1)."""
        picture = self._along(self.bases(e.damage, e.other), e.way, e.amount)
        if e.damage in OBJECTS and e.damage_level < 1:
            clean = self._along(self.bases(), e.way, e.amount)
            return clean + (picture - clean) * np.float32(max(e.damage_level, 0.0))
        return self.damaged(picture, e, self.outside)

    @staticmethod
    def _along(bases: list[Array], way: str, amount: float) -> Array:
        start, target, wrong = bases[:3]
        share = np.float32(amount)
        if way == "edit":
            return start + (target - start) * share
        if way == "wrong":
            return start + (wrong - start) * share
        half = bases[3]
        return start + (half - start) * share if share <= 1 else half + (target - half) * (share - 1)

    def candidate(self, e: Explanation) -> Array:
        picture = self.along(e)
        if not e.artefact or e.artefact_level <= 0 or e.artefact in ("specked", "mottled"):
            return picture
        if e.artefact == "noisy":
            return mean_under_noise(picture, defects.strength(defects.NOISE, e.artefact_level))
        return defects.lower_quality(picture, e.artefact, e.artefact_level, form=e.artefact_form)

    # -- the search

    def explain(self, picture: Array) -> Explanation:
        """The known faults that come closest to a picture, (size, size, 3) in [0, 1]."""
        small = soft(picture)
        starts = self.starts(small)
        noise = 0.0 if self.loose else min(noise_level(picture - self.along(start)) for start in starts)
        found = [e for start in starts for e in self.with_artefacts(picture, start, noise)]
        found.sort(key=lambda e: e.error)
        refined = [self.refined(picture, e) for e in found[:REFINED]]
        best = min(refined, key=lambda e: e.error)
        for simpler in ({"artefact": "", "artefact_level": 0.0}, {"damage": "", "damage_level": 0.0, "other": -1, "wash": None}):
            without = replace(best, **simpler)
            error = distance(picture, self.candidate(without))
            if error <= best.error + SAME:
                best = replace(without, error=error)
        return best

    def starts(self, small: Array) -> list[Explanation]:
        """The best few of edit ways and damages on small, soft pictures; without damage always among them."""
        per_kind: dict[tuple[str, int, bool], Explanation] = {}
        for damage, bases in self.coarse + self.washed(small):
            for way in ("edit", "wrong", "half")[:len(bases) - 1]:
                amount, error = self.nearest_amount(small, bases, way)
                found = replace(damage, way=way, amount=amount, error=error)
                key = (damage.damage, damage.other, way == "wrong")
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

    def with_artefacts(self, picture: Array, start: Explanation, noise: float) -> list[Explanation]:
        """The start without an artefact, with each kind at the level that brings it closest, and with `noise` where there is any."""
        clean = self.along(start)
        small, small_clean = shrunk(picture, 64), shrunk(clean, 64)      # which kind it is shows at half the size, where it is quicker
        found = [replace(start, error=distance(small, small_clean))]
        for kind in () if self.loose else ARTEFACTS:
            tries = []
            for form in FORMS.get(kind, (FORM,)):
                if kind in SHARE_OF_CHANGE:
                    tries.append(self.nearest_share(small, clean, small_clean, replace(start, artefact=kind, artefact_form=form)))
                    continue
                for level in LEVELS[1:]:        # bands are not the same before and after shrinking
                    made = (shrunk(defects.lower_quality(clean, kind, level), 64) if kind == "banded" else
                            defects.lower_quality(small_clean, kind, level))
                    tries.append(replace(start, artefact=kind, artefact_level=level, error=distance(small, made)))
            found.append(min(tries, key=lambda e: e.error))
        if not self.loose and start.way == "edit" and start.amount < 0.99:         # a dull picture also looks like a weak edit
            whole = replace(start, amount=1.0, artefact="dull")
            done = self.along(whole)
            found.append(self.nearest_share(small, done, shrunk(done, 64), whole))
        if noise > 0.5:
            noisy = replace(start, artefact="noisy", artefact_level=noise)
            found.append(replace(noisy, error=distance(small, shrunk(self.candidate(noisy), 64))))
        return found

    @staticmethod
    def nearest_share(small: Array, clean: Array, small_clean: Array, e: Explanation) -> Explanation:
        """The explanation with its artefact, which is a share of one change, at the level that comes closest."""
        if e.artefact == "lined":           # not the same before and after shrinking
            most = shrunk(defects.lower_quality(clean, e.artefact, 5.0, form=e.artefact_form), 64)
        else:
            most = defects.lower_quality(small_clean, e.artefact, 5.0, form=e.artefact_form)
        table = SHARE_OF_CHANGE[e.artefact]
        part, error = segment(small, small_clean, most)
        return replace(e, artefact_level=float(np.interp(part * table[5], table, LEVELS)), error=error)

    def refined(self, picture: Array, e: Explanation) -> Explanation:
        """Amount, damage and artefact moved in turn to where the picture is closest."""
        steps = tuple(sorted(set(amounts_of(self.triplet.edit_type).values())))
        amounts = {"edit": steps, "wrong": (0.0, 1.0), "half": (0.0, 1.0, 2.0)}[e.way]
        if e.artefact == "banded":      # bands move colours so far that one thing at a time would miss
            tries = [replace(e, amount=amount, artefact_level=level) for amount in (*amounts, e.amount) for level in LEVELS[1:]]
            e = min((replace(t, error=distance(picture, self.candidate(t))) for t in tries), key=lambda t: t.error)
        for _ in range(2):
            if e.artefact and e.artefact != "noisy":
                e = self.best_of_path(picture, e, "artefact_level", LEVELS)
            e = self.best_of_path(picture, e, "amount", amounts)
            if e.damage:
                e = self.best_of_path(picture, e, "damage_level", SHARES if e.wash else (0.0, 1.0) if e.damage in OBJECTS else LEVELS)
        return replace(e, error=distance(picture, self.candidate(e)))

    def best_of_path(self, picture: Array, e: Explanation, field: str, values: tuple[float, ...]) -> Explanation:
        """The explanation with one field moved along the polyline of candidates at those of the values that are next to its own."""
        here = int(np.argmin([abs(value - getattr(e, field)) for value in values]))
        values = values[max(here - 1, 0):here + 2]
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
