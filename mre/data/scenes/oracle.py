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
from mre.data.scenes.defects import FORM, GEOMETRIC, OBJECTS, PHOTOMETRIC, Form, Spoiling
from mre.data.scenes.looks import Array, blurred, grey
from mre.data.scenes.pixels import (
    LEVELS,
    agreement,
    distance,
    halved,
    mean_under_noise,
    mottle_level,
    noise_level,
    norm,
    segment,
    shrunk,
    slopes,
    soft,
    specks_of,
)
from mre.data.scenes.render import render, window
from mre.data.scenes.triplets import THINGS, SceneTriplet, amounts_of, differ, outside_of, to_bytes
from mre.data.scenes.washes import Wash, washes
from mre.data.scenes.world import BACKDROPS, GROUND_SLOTS, SPLITS, Scene, Thing, draw_backdrop, standard_thing
from mre.errors import DataError
from mre.rewards import WHOLE_PICTURE, Reward

FORMS = {"ghosted": tuple(Form(way=way) for way in range(len(defects.WAYS))), "lined": (Form(way=0), Form(way=1))}
ARTEFACTS = ("blurred", "blocky", "banded", "ghosted", "lined", "dull")     # the others are what no kind of these explains
SHARE_OF_CHANGE = {"ghosted": defects.GHOST, "blocky": defects.BLOCKS, "lined": defects.LINES, "dull": defects.DULL}
SHARES = (0.0, 0.5, 1.0, 1.3)      # of a wash as it was measured on the soft picture
TOLERATED = 0.025        # root of the mean squared difference that is let pass when it does not lead back to the original
TOLERATED_LANDSCAPE = 0.09         # the same of the drawings of a landscape that are not the target's own
STRANGE = 0.12           # root of the mean squared difference from which an empty slot is no longer empty
NOTHING_FROM = 4.75      # from this score on nothing is wrong
MISTAKEN = 0.7           # another kind of landscape must be nearer by this much, in mean squared difference, to be what a picture shows
LANDSCAPES = 12          # other drawings of a landscape that are compared
SAME = 1e-7              # of two explanations that differ by no more, in mean squared difference, the simpler one holds
STARTS, REFINED = 4, 3   # how many explanations of the soft pictures, and of the full ones, are followed up
# Share of the edit that is missing -> following. A thing of which a tenth is left is seen; a look that lacks a tenth hardly is.
DONE = (0.015, 0.22, 0.45, 0.65, 1.0), (5.0, 4.0, 3.0, 2.0, 0.0)
DONE_WITH_THINGS = (0.015, 0.10, 0.25, 0.50, 1.0), (5.0, 4.0, 3.0, 2.0, 0.0)


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


class Oracle:
    """Scores pictures as edits of one triplet; what can be computed once for all pictures is kept."""

    def __init__(self, triplet: SceneTriplet, loose: bool = False, mistaken: bool = False) -> None:
        """
        loose:    the target is another drawing of what was asked for, so that not every line of it has to be met
        mistaken: the picture is known to show another kind of landscape than the one that was asked for
        """
        self.triplet, self.loose, self.mistaken = triplet, loose, mistaken
        self.tolerated = TOLERATED_LANDSCAPE if loose else TOLERATED
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

    # -- landscapes

    def drawings(self, kind: str, count: int) -> list[tuple[SceneTriplet, Array]]:
        """Drawings of a landscape: the triplet with each as its target, and the soft picture of that."""
        edit, found = self.triplet.edit, []
        for number in range(count):
            rng = np.random.default_rng([number, BACKDROPS.index(kind)])
            after = replace(edit.after, backdrop=draw_backdrop(rng, SPLITS[number % 2], kind))
            picture = render(after, self.size // max(1, self.size // 64))
            found.append((replace(self.triplet, edit=replace(edit, after=after)), soft(picture)))
        return found

    @cached_property
    def landscapes(self) -> tuple[list[tuple[SceneTriplet, Array]], list[tuple[SceneTriplet, Array]]]:
        """Drawings of the landscape that was asked for, and of the other kinds."""
        edit = self.triplet.edit
        others = [kind for kind in BACKDROPS if kind not in (edit.operation, edit.before.backdrop.kind)]
        return self.drawings(edit.operation, LANDSCAPES), [one for kind in others for one in self.drawings(kind, LANDSCAPES // 3)]

    def nearest_landscape(self, picture: Array) -> Oracle:
        """Of an edit of the background: the oracle whose target is nearest to the picture, of all drawings of what was asked for."""
        if self.triplet.edit_type != "background" or self.triplet.edit.nothing:
            return self
        small, (start, own) = soft(picture), (soft(base) for base in self.bases()[:2])
        asked, others = self.landscapes
        errors = [segment(small, start, target)[1] for target in (own, *(target for _, target in asked))]
        mistaken = MISTAKEN * min(errors) > min(segment(small, start, target)[1] for _, target in others)
        nearest = int(np.argmin(errors))
        if errors[nearest] > 0.9 * errors[0]:
            return Oracle(self.triplet, mistaken=True) if mistaken else self
        triplet = asked[nearest - 1][0]
        before, target = (render(scene, self.size, triplet.photo) for scene in (triplet.edit.before, triplet.edit.after))
        triplet = replace(triplet, target=to_bytes(target), target_mask=differ(before, target))
        return Oracle(triplet, loose=True, mistaken=mistaken)

    def roughness(self, picture: Array, e: Explanation) -> float:
        """Level of blur or noise by the size of fine detail inside the edit, against that of the explanation."""
        inside = self.triplet.target_mask
        fine, expected = (float(np.abs(p - blurred(p, 1.5 * self.size / 128))[inside].mean()) for p in (picture, self.candidate(e)))
        share = fine / max(expected, 1e-3)
        return float(np.interp(share, (0.1, 0.25, 0.45, 0.7, 1.7, 3.0, 6.0), (5.0, 4.0, 2.5, 0.0, 0.0, 2.0, 5.0)))

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

    # -- scores

    def score(self, picture: Array) -> Reward:
        """Scores, to a tenth, and texts of a picture, (size, size, 3) uint8. Raises DataError for another shape."""
        return self.findings(picture).reward

    def name_defect(self, picture: Array) -> str:
        """The worst that is wrong with a picture, such as "missing", "tinted green on the left", "shifted up" or "blurred"; "" for nothing.

        That is the defect of the perspective with the lowest score. Raises DataError for another shape.
        """
        found = self.findings(picture)
        worst = int(np.argmin(found.reward.scores))
        return found.names[worst] if found.reward.scores[worst] < NOTHING_FROM else ""

    def findings(self, picture: Array) -> Findings:
        """Scores, texts and the names of the defects. Raises DataError for another shape."""
        picture = checked(self.triplet, picture)
        judge = self.nearest_landscape(picture)
        return judge.findings_of(picture)

    def findings_of(self, picture: Array) -> Findings:
        """Of a picture in [0, 1], with this very target."""
        picture, specks = self.without_specks(picture)
        e = self.explain(picture)
        residual = picture - self.candidate(e)
        mottle = 0.0 if self.loose else mottle_level(residual)
        if mottle > max(e.artefact_level, 0.75):
            e = replace(e, artefact="mottled", artefact_level=mottle)
            residual = np.repeat(grey(picture - self.candidate(e))[..., None], 3, axis=2)
        quality = self.quality_score(picture, residual, e)
        if specks > max(e.artefact_level, 0.25):
            e = replace(e, artefact="specked", artefact_level=specks)
        following = min(self.following_score(picture, residual, e), 1.0 if self.mistaken else 5.0)
        scores = (following, self.preserving_score(picture, residual, e), max(quality - specks, 0.0))
        return Findings(Reward.of((round(score, 1) for score in scores), self.texts(e, scores)), self.names(e, scores))

    def without_specks(self, picture: Array) -> tuple[Array, float]:
        """The picture with specks that no true picture of the scene has painted over, and their level 0..5."""
        if len(np.unique(picture[..., 1])) <= defects.BANDS[0]:       # bands have black and white pixels of their own
            return picture, 0.0
        factor = max(1, self.size // 128)
        found = specks_of(shrunk(picture, self.size // factor))
        stars = [specks_of(shrunk(base, self.size // factor)) for base in self.bases()]      # which may have moved
        found &= ~np.logical_or.reduce(stars)
        level = float(np.interp(found.mean() - max(float(one.mean()) for one in stars), defects.SPECKS, LEVELS))
        if level <= 0:
            return picture, 0.0
        wide = defects.grown(found.repeat(factor, 0).repeat(factor, 1), factor // 2)
        hidden = np.zeros(picture.shape[:2], bool)
        hidden[:len(wide), :wide.shape[1]] = wide
        weight = (~hidden).astype(np.float32)[..., None]
        around = blurred(picture * weight, factor) / np.maximum(blurred(weight, factor), 1e-3)
        return np.where(hidden[..., None], around, picture), level

    def following_score(self, picture: Array, residual: Array, e: Explanation) -> float:
        """What is missing of the edit, as a share of all of it, read off DONE, or DONE_WITH_THINGS.

        The share is |picture - target| / |original - target| inside the edit, where target and original are taken with the damage and the
        artefact that the explanation found, and all are made half as sharp, so that neither counts here; what differs by TOLERATED or less
        but not towards the original is let pass. A wrong edit (when that is what explains the picture) gets 0..1. So does a picture whose
        share is near 1 or more: 0 when nothing changed inside the edit, 1 when something else happened there. Where one of two things was
        done, the score starts from 3. Where nothing is to be done, 5 less what was.
        """
        if self.triplet.edit.nothing:
            done = 4.0 * min(max(e.amount, 0.0), 1.0) if e.way == "wrong" else 0.0
            return max(5.0 - done - self.unexplained(residual), 0.0)
        if e.way == "wrong":
            return min(max(e.amount, 0.0), 1.0)
        table = DONE_WITH_THINGS if self.triplet.edit_type in THINGS else DONE
        small = halved(picture)
        done, start = (halved(self.candidate(replace(e, way="edit", amount=amount))) for amount in (1.0, 0.0))
        inside = self.inside
        whole = max(norm((done - start) * inside), 1e-3)
        if e.way == "half" and e.amount < 1.9:
            rest = norm((small - halved(self.candidate(e))) * inside) / whole
            return max(float(np.interp(e.amount, (0, 1, 2), (0, 3, 5))) - 5 + float(np.interp(rest, *DONE)), 0.0)
        way, off = (start - done) * inside, (small - done) * inside
        along = float((off * way).sum()) / whole ** 2
        tolerated = self.tolerated + (defects.strength(defects.MOTTLE, e.artefact_level) if e.artefact == "mottled" else 0.0)
        aside = max(norm(off - along * way) / whole - tolerated * np.sqrt(3 * inside.sum()) / whole, 0.0)
        score = float(np.interp(np.hypot(along, aside), *table))
        if score < 1:
            score = max(score, min(1.0, norm((small - start) * inside) / whole - 0.25), 0.0)
        return score

    @cached_property
    def inside(self) -> Array:
        """Where the edit belongs, for pictures of half the sharpness: (h, w, 1) in [0, 1]."""
        return halved(np.repeat(self.triplet.target_mask[..., None], 3, axis=2).astype(np.float32))[..., :1] ** 0.5

    def preserving_score(self, picture: Array, residual: Array, e: Explanation) -> float:
        """5 less the damage found (recoloured: 2, removed: 4; of a wash its effect), less what nothing explains.

        That is a point for each UNEXPLAINED of mean difference outside the edit. For global and style edits, which have no outside, it is a
        point for each 0.15 by which the outlines agree less than 0.92 with the explanation's: the correlation of the slopes of both
        pictures' brightness, made soft.
        """
        if e.wash is not None:
            base = self.bases()[0]
            cost = defects.effect(e.wash.change(base, self.outside), self.outside) * e.damage_level / defects.UNEXPLAINED
        else:
            cost = {"recoloured": 2.0, "removed": 4.0}.get(e.damage, 1.0) * e.damage_level if e.damage else 0.0
        if self.by_structure:
            cost += max(0.92 - agreement(slopes(picture), slopes(picture - residual)), 0.0) / 0.15
        else:
            cost += self.unexplained(residual)
        return float(min(max(5.0 - cost, 0.0), 5.0))

    def unexplained(self, residual: Array) -> float:
        """Points for what differs outside the edit, of what the explanation leaves."""
        rest = np.abs(soft(residual)).mean(axis=2)
        return max(float(rest[self.around].mean()) - 0.006, 0.0) / defects.UNEXPLAINED if self.around.any() else 0.0

    def quality_score(self, picture: Array, residual: Array, e: Explanation) -> float:
        """5 less the artefact found, less the level of noise, less half the level of blur inside the edit alone.

        Noise is measured on what the explanation leaves, by `noise_level`. With another landscape than the target's (`loose`), of which no
        explanation holds every hill and cloud, sharpness and noise inside are read off the size of fine detail there.
        """
        cost = e.artefact_level if e.artefact and e.artefact != "noisy" else 0.0
        if self.loose:
            return float(min(max(5.0 - cost - self.roughness(picture, e), 0.0), 5.0))
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
            kind = "half" if e.way == "half" and abs(e.amount - 1) < 0.3 else 1 if edit.nothing else min(round(scores[0]), 4)
            following = defects.FOLLOWING_TEXTS[kind][0].format(it=edit.named, asked=edit.asked)
        kind = self.damage_kind(e)
        if scores[1] < NOTHING_FROM:
            other = self.others[e.other] if e.damage in OBJECTS else None
            form = e.wash.form if e.wash else e.form
            text = defects.PRESERVING_TEXTS[kind][1 if kind == "shifted" else 0]        # the one that names its direction
            preserving = defects.named(text, kind, min(round(scores[1]), 4), form, other)
        if scores[2] < NOTHING_FROM:
            kind = artefact_kind(e)
            quality = defects.named(defects.QUALITY_TEXTS[kind][0], kind, min(round(scores[2]), 4), e.artefact_form)
        return following, preserving, quality

    def names(self, e: Explanation, scores: tuple[float, float, float]) -> tuple[str, str, str]:
        """A short name for what is wrong in each perspective, with its form."""
        if self.triplet.edit.nothing or (e.way == "wrong" and scores[0] >= 0.5):
            following = "wrong"
        else:
            following = "missing" if scores[0] < 0.5 else "half" if e.way == "half" else "wrong" if scores[0] <= 1 else "weak"
        kind = self.damage_kind(e)
        form = e.wash.form if e.wash else e.form
        tail = {"tinted": f" {form.hue}", "shifted": f" {defects.WAYS[form.way]}"}.get(kind, "")
        where = defects.PART_TEXTS[form.part] if kind in PHOTOMETRIC and kind != "uneven" else ""
        return following, kind + tail + where, artefact_kind(e)

    def damage_kind(self, e: Explanation) -> str:
        if not e.damage or e.damage_level <= 0.25:
            return "changed"
        return e.damage


def artefact_kind(e: Explanation) -> str:
    return e.artefact if e.artefact and e.artefact_level > 0.25 else "noisy"


@dataclass(frozen=True)
class Findings:
    """What the oracle says of a picture: scores with texts, and per perspective a name of what is wrong (of no meaning at a score of 5)."""

    reward: Reward
    names: tuple[str, str, str]


def score(triplet: SceneTriplet, picture: Array) -> Reward:
    """Scores and texts of any picture, (size, size, 3) uint8, as an edit of the triplet's scene. Raises DataError for another shape."""
    return Oracle(triplet).score(picture)


def name_defect(triplet: SceneTriplet, picture: Array) -> str:
    """The worst that is wrong with a picture as an edit of the triplet's scene, "" for nothing. Raises DataError for another shape."""
    return Oracle(triplet).name_defect(picture)


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
