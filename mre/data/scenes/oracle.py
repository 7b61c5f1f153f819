"""The oracle: scores any picture as an edit of a synthetic scene.

It knows the scene, so it can draw every edit of it with every known fault, and looks for the *explanation* that comes closest to the
picture: how far along the way from the original to the target (or to a wrong edit) it is, which damage outside the edit it has and how
strong (as if it were 0..5 points), and which artefact and how strong. The search starts from small, soft pictures, where artefacts
hardly show, and ends at full size; strengths lie anywhere between the steps at which scenes are spoiled. Then, as each docstring says
exactly:

* following (`Oracle.following_score`): what is missing of the edit where it belongs, the damage and the artefact allowed for;
* preserving (`Oracle.preserving_score`): the damage found, and whatever else differs where the edit does not belong;
* quality (`Oracle.quality_score`): the artefact found, noise, and sharpness that is missing inside the edit alone.

On spoiled triplets this gives the true scores back. On a model's pictures, which no explanation meets exactly, what stays unexplained
counts against the perspective to which it belongs. For global and style edits, which change every pixel, preserving is about structure
alone (nothing moved, nothing gone, no object recoloured): colours that are not the target's count against following.

Spoiled triplets are made of the very faults that the oracle looks for, so on other pictures it cannot be as exact as on them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from mre.data.scenes import defects
from mre.data.scenes.defects import GEOMETRIC, OBJECTS, PHOTOMETRIC, Spoiling
from mre.data.scenes.looks import Array, block_means, blurred, grey
from mre.data.scenes.render import render, window
from mre.data.scenes.triplets import SceneTriplet, outside_of
from mre.data.scenes.world import GROUND_SLOTS, Scene, Thing, standard_thing
from mre.errors import DataError
from mre.rewards import WHOLE_PICTURE, Reward

LEVELS = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)
ARTEFACTS = ("blurred", "blocky", "banded", "ghosted")     # noise is what no other kind explains
TOLERATED = 0.025        # root of the mean squared difference that is let pass when it does not lead back to the original
STRANGE = 0.12           # root of the mean squared difference from which an empty slot is no longer empty
NOTHING_FROM = 4.75      # from this score on nothing is wrong
UNEXPLAINED = 0.042      # mean difference that costs a point: what the weakest tint makes
SAME = 1e-7              # of two explanations that differ by no more, in mean squared difference, the simpler one holds
STARTS, REFINED = 5, 3   # how many explanations of the soft pictures, and of the full ones, are followed up
DONE = (0.015, 0.22, 0.45, 0.65, 1.0), (5.0, 4.0, 3.0, 2.0, 0.0)        # share of the edit that is missing -> following


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
        self.by_structure = triplet.edit_type in WHOLE_PICTURE
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
        outside = shrunk(self.outside[..., None], 64)[..., 0]
        for damage, other in self.damage_kinds():
            bases = self.bases(damage, other)
            if damage in OBJECTS:
                entries.append((damage, other, 1.0, [soft(base) for base in bases]))
                continue
            small = [shrunk(base, 64) for base in bases]
            for level in LEVELS[1:]:
                if damage == "shifted":      # by whole pixels, so at full size
                    made = [self.damaged(base, damage, level) for base in bases]
                elif damage == "zoomed":
                    made = [defects.move(base, damage, level) for base in small]
                else:
                    made = [defects.spoil_outside(base, damage, level, outside) for base in small]
                entries.append((damage, other, level, [soft(base) for base in made]))
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
        share = np.float32(amount)
        if way == "edit":
            return start + (target - start) * share
        if way == "wrong":
            return start + (wrong - start) * share
        half = bases[3]
        return start + (half - start) * share if share <= 1 else half + (target - half) * (share - 1)

    def candidate(self, e: Explanation) -> Array:
        picture = self.along(e.way, e.amount, e.damage, e.other, e.damage_level)
        if not e.artefact or e.artefact_level <= 0:
            return picture
        if e.artefact == "noisy":
            return mean_under_noise(picture, defects.strength(defects.NOISE, e.artefact_level))
        return defects.lower_quality(picture, e.artefact, e.artefact_level)

    # -- the search

    def explain(self, picture: Array) -> Explanation:
        """The best explanation of a picture, (size, size, 3) float32 in [0, 1]."""
        starts = self.starts(soft(picture))
        noise = noise_level(picture - self.candidate(starts[0]))
        found = [e for start in starts for e in self.with_artefacts(picture, start, noise)]
        found.sort(key=lambda e: e.error)
        refined = [self.refined(picture, e) for e in found[:REFINED]]
        best = min(refined, key=lambda e: e.error)
        for simpler in ({"artefact": "", "artefact_level": 0.0}, {"damage": "", "damage_level": 0.0, "other": -1}):
            without = replace(best, **simpler)
            error = distance(picture, self.candidate(without))
            if error <= best.error + SAME:
                best = replace(without, error=error)
        return best

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

    def with_artefacts(self, picture: Array, start: Explanation, noise: float) -> list[Explanation]:
        """The start without an artefact, with each kind at the level that brings it closest, and with `noise` where there is any."""
        clean = self.along(start.way, start.amount, start.damage, start.other, start.damage_level)
        small, small_clean = shrunk(picture, 64), shrunk(clean, 64)      # which kind it is shows at half the size, where it is quicker
        found = [replace(start, error=distance(small, small_clean))]
        for kind in ARTEFACTS:
            if kind == "banded":     # not the same before and after shrinking
                levels = LEVELS[1:]
                errors = [distance(small, shrunk(defects.lower_quality(clean, kind, level), 64)) for level in levels]
            else:
                levels = (1.0, 3.0, 5.0)
                errors = [distance(small, defects.lower_quality(small_clean, kind, level)) for level in levels]
            nearest = int(np.argmin(errors))
            found.append(replace(start, artefact=kind, artefact_level=levels[nearest], error=errors[nearest]))
        if noise > 0.5:
            noisy = replace(start, artefact="noisy", artefact_level=noise)
            found.append(replace(noisy, error=distance(small, shrunk(self.candidate(noisy), 64))))
        return found

    def refined(self, picture: Array, e: Explanation) -> Explanation:
        """Amount, damage and artefact moved in turn to where the picture is closest."""
        amounts = {"edit": (0.0, 0.35, 0.55, 0.78, 1.0), "wrong": (0.0, 1.0), "half": (0.0, 1.0, 2.0)}[e.way]
        if e.artefact == "banded":      # bands move colours so far that one thing at a time would miss
            tries = [replace(e, amount=amount, artefact_level=level) for amount in (*amounts, e.amount) for level in LEVELS[1:]]
            e = min((replace(t, error=distance(picture, self.candidate(t))) for t in tries), key=lambda t: t.error)
        for _ in range(2):
            if e.artefact and e.artefact != "noisy":
                e = self.best_of_path(picture, e, "artefact_level", LEVELS)
            e = self.best_of_path(picture, e, "amount", amounts)
            if e.damage:
                e = self.best_of_path(picture, e, "damage_level", (0.0, 1.0) if e.damage in OBJECTS else LEVELS)
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

    # -- scores

    def score(self, picture: Array) -> Reward:
        """Scores, to a tenth, and texts of a picture, (size, size, 3) uint8. Raises DataError for another shape."""
        picture = checked(self.triplet, picture)
        e = self.explain(picture)
        residual = picture - self.candidate(e)
        scores = (self.following_score(picture, e), self.preserving_score(picture, residual, e), self.quality_score(picture, residual, e))
        return Reward.of((round(score, 1) for score in scores), self.texts(e, scores))

    def following_score(self, picture: Array, e: Explanation) -> float:
        """What is missing of the edit, as a share of all of it, read off DONE.

        The share is |picture - target| / |original - target| inside the edit, where target and original are taken with the damage and the
        artefact that the explanation found, and all are made half as sharp, so that neither counts here; what differs by TOLERATED or less
        but not towards the original is let pass. A wrong edit (when that is what explains the picture) gets 0..1. So does a picture whose
        share is near 1 or more: 0 when nothing changed inside the edit, 1 when something else happened there. Where one of two things was
        done, the score starts from 3.
        """
        if e.way == "wrong":
            return min(max(e.amount, 0.0), 1.0)
        small = halved(picture)
        done, start = (halved(self.candidate(replace(e, way="edit", amount=amount))) for amount in (1.0, 0.0))
        inside = self.inside
        whole = max(norm((done - start) * inside), 1e-3)
        if e.way == "half" and e.amount < 1.9:
            rest = norm((small - halved(self.candidate(e))) * inside) / whole
            return max(float(np.interp(e.amount, (0, 1, 2), (0, 3, 5))) - 5 + float(np.interp(rest, *DONE)), 0.0)
        way, off = (start - done) * inside, (small - done) * inside
        along = float((off * way).sum()) / whole ** 2
        aside = max(norm(off - along * way) / whole - TOLERATED * np.sqrt(3 * inside.sum()) / whole, 0.0)
        score = float(np.interp(np.hypot(along, aside), *DONE))
        if score < 1:
            score = max(score, min(1.0, norm((small - start) * inside) / whole - 0.25), 0.0)
        return score

    @cached_property
    def inside(self) -> Array:
        """Where the edit belongs, for pictures of half the sharpness: (h, w, 1) in [0, 1]."""
        return halved(np.repeat(self.triplet.target_mask[..., None], 3, axis=2).astype(np.float32))[..., :1] ** 0.5

    def preserving_score(self, picture: Array, residual: Array, e: Explanation) -> float:
        """5 less the damage found (recoloured: 2, removed: 4), less what nothing explains.

        That is a point for each UNEXPLAINED of mean difference outside the edit. For global and style edits, which have no outside, it is a
        point for each 0.15 by which the outlines agree less than 0.92 with the explanation's: the correlation of the slopes of both
        pictures' brightness, made soft.
        """
        cost = {"recoloured": 2.0, "removed": 4.0}.get(e.damage, 1.0) * e.damage_level if e.damage else 0.0
        if self.by_structure:
            cost += max(0.92 - agreement(slopes(picture), slopes(picture - residual)), 0.0) / 0.15
        else:
            rest = np.abs(soft(residual)).mean(axis=2)
            outside = soft(np.repeat(self.outside[..., None], 3, axis=2))[..., 0] > 0.99
            if outside.any():
                cost += max(float(rest[outside].mean()) - 0.006, 0.0) / UNEXPLAINED
        return float(min(max(5.0 - cost, 0.0), 5.0))

    def quality_score(self, picture: Array, residual: Array, e: Explanation) -> float:
        """5 less the artefact found, less the level of noise, less half the level of blur inside the edit alone.

        Noise is measured on what the explanation leaves, by `noise_level`.
        """
        cost = e.artefact_level if e.artefact and e.artefact != "noisy" else 0.0
        return float(min(max(5.0 - cost - noise_level(residual) - 0.5 * self.blur_inside(picture, e), 0.0), 5.0))

    def blur_inside(self, picture: Array, e: Explanation) -> float:
        """Level of blur that brings the explanation closer inside the edit, beyond the artefact found everywhere.

        0 for edits of the whole picture; half of it where even that leaves much unexplained.
        """
        inside, clean = np.nonzero(self.triplet.target_mask), self.candidate(e)
        if self.by_structure or e.way == "wrong" or not inside[0].size or noise_level(picture - clean) > 1:
            return 0.0
        points = [(clean if level == 0 else defects.lower_quality(clean, "blurred", level))[inside] for level in LEVELS]
        best, where = distance(picture[inside], points[0]), 0.0
        for low in range(5):
            part, error = segment(picture[inside], points[low], points[low + 1])
            if error < 0.8 * best:
                best, where = error, low + part
        return where if best < 0.01 else where / 2

    def texts(self, e: Explanation, scores: tuple[float, float, float]) -> tuple[str, str, str]:
        """What is wrong, in the words of the reward texts: the kind that was found, or that something unexplained was."""
        edit = self.triplet.edit
        following, preserving, quality = ("None",) * 3
        if scores[0] < NOTHING_FROM:
            kind = "half" if e.way == "half" and abs(e.amount - 1) < 0.3 else min(round(scores[0]), 4)
            following = defects.FOLLOWING_TEXTS[kind][0].format(it=edit.named, asked=edit.asked)
        if scores[1] < NOTHING_FROM:
            degree = defects.DEGREES[min(round(scores[1]), 4)]
            if e.damage and e.damage_level > 0.25:
                other = f"the {self.others[e.other].colour} {self.others[e.other].kind}" if e.damage in OBJECTS else ""
                preserving = defects.PRESERVING_TEXTS[e.damage][0].format(degree=degree, other=other)
            else:
                preserving = defects.PRESERVING_TEXTS["changed"][0].format(degree=degree)
        if scores[2] < NOTHING_FROM:
            kind = e.artefact if e.artefact and e.artefact_level > 0.25 else "noisy"
            quality = defects.QUALITY_TEXTS[kind][0].format(degree=defects.DEGREES[min(round(scores[2]), 4)])
        return following, preserving, quality


def score(triplet: SceneTriplet, picture: Array) -> Reward:
    """Scores and texts of any picture, (size, size, 3) uint8, as an edit of the triplet's scene. Raises DataError for another shape."""
    return Oracle(triplet).score(picture)


def noise_level(residual: Array) -> float:
    """Level 0..5 of noise, or of any fine mess, in what is left: the mean size of its fine part over the quietest 90 % of the picture.

    So a thing that should not be there, on a tenth of the picture or less, is no noise. For normal noise that mean is 0.657 deviations, and
    taking away a blur leaves 0.96 of them.
    """
    fine = np.abs(residual - blurred(residual, 1.5 * len(residual) / 128)).ravel()
    quiet = np.partition(fine, int(0.9 * fine.size))[:int(0.9 * fine.size)]
    return float(np.interp(max(float(quiet.mean()) / 0.657 - 0.004, 0.0) / 0.92, defects.NOISE, LEVELS))


BELL = np.linspace(-6, 6, 241)
_DENSITY = np.exp(-BELL ** 2 / 2) / np.sqrt(2 * np.pi)
RAMP = BELL * np.cumsum(_DENSITY) * (BELL[1] - BELL[0]) + _DENSITY      # mean of max(0, z + n) over normal n


def mean_under_noise(picture: Array, deviation: float) -> Array:
    """What a picture becomes on average when noise is added and cut at black and white."""
    def lifted(values: Array) -> Array:
        return np.where(values > 6, values, np.interp(values, BELL, RAMP)).astype(np.float32)
    return deviation * (lifted(picture / deviation) - lifted((picture - 1) / deviation))


def slopes(picture: Array) -> Array:
    """How brightness rises to the right and downwards in the soft picture."""
    light = grey(soft(picture))
    return np.stack([light[1:, 1:] - light[1:, :-1], light[1:, 1:] - light[:-1, 1:]])


def agreement(a: Array, b: Array) -> float:
    """Correlation of two fields around zero; that of flat pictures with each other is 1."""
    return float(((a * b).sum() + 1e-6) / (norm(a) * norm(b) + 1e-6))


def norm(a: Array) -> float:
    return float(np.sqrt((a * a).sum()))


def counts_right(triplet: SceneTriplet, picture: Array) -> bool:
    """Whether exactly the things are there that should be: every one of the target's is nearer to being there than halfway, every one that
    was to be removed is nearer to being gone, and no slot on the ground that should be empty shows anything new. (size, size, 3) uint8."""
    picture = checked(triplet, picture)
    size, after = len(picture), triplet.edit.after
    target, small = halved(render(after, size, triplet.photo)), halved(picture)

    def near(scene: Scene, thing: Thing) -> bool:
        other = after.without(thing) if thing in scene.things else after.with_added(thing)
        difference = halved(render(other, size, triplet.photo)) - target
        where = np.abs(difference).max(axis=2) > 0.08
        return not where.any() or norm((small - target)[where]) < 0.5 * norm(difference[where])

    if not all(near(after, thing) for thing in set(after.things) | set(triplet.edit.before.things)):
        return False
    taken = [(thing.x, thing.y) for thing in after.things]
    scale = len(target) / size
    for slot in after.free_slots(GROUND_SLOTS):
        thing = standard_thing("ball", "red", slot)
        if any(abs(thing.x - x) < 0.2 and abs(thing.y - y) < 0.3 for x, y in taken):
            continue
        rows, columns = window(size, thing.x - thing.radius, thing.y - 2 * thing.radius, thing.x + thing.radius, thing.y)
        box = tuple(slice(int(part.start * scale), int(part.stop * scale)) for part in (rows, columns))
        if np.sqrt(np.mean((small[box] - target[box]) ** 2)) > STRANGE:
            return False
    return True


def checked(triplet: SceneTriplet, picture: Array) -> Array:
    """uint8 as float32 in [0, 1]. Raises DataError for a picture that is not of the scene's size."""
    if picture.shape != triplet.original.shape or picture.dtype != np.uint8:
        raise DataError(f"picture must be uint8 {triplet.original.shape} as the scene is, got {picture.dtype} {picture.shape}")
    return picture.astype(np.float32) * np.float32(1 / 255)


def shrunk(picture: Array, side: int) -> Array:
    """Means over squares, about `side` of them along an edge."""
    factor = max(1, len(picture) // side)
    side = len(picture) // factor
    return block_means(picture[:side * factor, :side * factor], factor)


def halved(picture: Array) -> Array:
    """Means over 64 x 64 squares, a little blurred."""
    return blurred(shrunk(picture, 64), 0.6)


def soft(picture: Array) -> Array:
    """Means over 32 x 32 squares, a little blurred: what artefacts hardly touch. The same for a picture that is shrunk to 64 already."""
    return blurred(shrunk(shrunk(picture, 64), 32), 1.0)


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
