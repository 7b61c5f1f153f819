"""The oracle: scores any picture as an edit of a synthetic scene.

It knows the scene, so it can draw every edit of it with every known fault, and looks for the *explanation* that comes closest to the
picture (`explaining`): how far along the way from the original to the target (or to a wrong edit) it is, which damage outside the edit it
has and how strong (as if it were 0..5 points), and which artefact and how strong. Then, as each docstring says exactly:

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

from mre.data.scenes import defects, naming
from mre.data.scenes.explaining import Explainer, Explanation
from mre.data.scenes.looks import Array, blurred, grey
from mre.data.scenes.pixels import (
    LEVELS,
    agreement,
    distance,
    halved,
    mottle_level,
    noise_level,
    norm,
    segment,
    shrunk,
    slopes,
    soft,
    specks_of,
)
from mre.data.scenes.render import render
from mre.data.scenes.triplets import THINGS, SceneTriplet, checked, differ, to_bytes
from mre.data.scenes.world import BACKDROPS, SPLITS, draw_backdrop
from mre.rewards import Reward

TOLERATED = 0.025        # root of the mean squared difference that is let pass when it does not lead back to the original
TOLERATED_LANDSCAPE = 0.09         # the same of the drawings of a landscape that are not the target's own
MISTAKEN = 0.7           # another kind of landscape must be nearer by this much, in mean squared difference, to be what a picture shows
LANDSCAPES = 12          # other drawings of a landscape that are compared
# Share of the edit that is missing -> following. A thing of which a tenth is left is seen; a look that lacks a tenth hardly is.
DONE = (0.015, 0.22, 0.45, 0.65, 1.0), (5.0, 4.0, 3.0, 2.0, 0.0)
DONE_WITH_THINGS = (0.015, 0.10, 0.25, 0.50, 1.0), (5.0, 4.0, 3.0, 2.0, 0.0)


@dataclass(frozen=True)
class Findings:
    """What the oracle says of a picture: scores with texts, and per perspective a name of what is wrong (of no meaning at a score of 5)."""

    reward: Reward
    names: tuple[str, str, str]


class Oracle:
    """Scores pictures as edits of one triplet; what can be computed once for all pictures is kept."""

    def __init__(self, triplet: SceneTriplet, loose: bool = False, mistaken: bool = False) -> None:
        """
        loose:    the target is another drawing of what was asked for, so that not every line of it has to be met
        mistaken: the picture is known to show another kind of landscape than the one that was asked for
        """
        self.triplet, self.loose, self.mistaken = triplet, loose, mistaken
        self.explainer = Explainer(triplet, loose)
        self.tolerated = TOLERATED_LANDSCAPE if loose else TOLERATED

    def score(self, picture: Array) -> Reward:
        """Scores, to a tenth, and texts of a picture, (size, size, 3) uint8. Raises DataError for another shape."""
        return self.findings(picture).reward

    def name_defect(self, picture: Array) -> str:
        """The worst that is wrong with a picture, such as "missing", "tinted green on the left", "shifted up" or "blurred"; "" for nothing.

        That is the defect of the perspective with the lowest score. Raises DataError for another shape.
        """
        found = self.findings(picture)
        worst = int(np.argmin(found.reward.scores))
        return found.names[worst] if found.reward.scores[worst] < naming.NOTHING_FROM else ""

    def findings(self, picture: Array) -> Findings:
        """Scores, texts and the names of the defects. Raises DataError for another shape."""
        picture = checked(self.triplet, picture)
        judge = self.nearest_landscape(picture)
        return judge.findings_of(picture)

    def findings_of(self, picture: Array) -> Findings:
        """Of a picture in [0, 1], with this very target."""
        picture, specks = self.without_specks(picture)
        e = self.explainer.explain(picture)
        residual = picture - self.explainer.candidate(e)
        mottle = 0.0 if self.loose else mottle_level(residual)
        if mottle > max(e.artefact_level, 0.75):
            e = replace(e, artefact="mottled", artefact_level=mottle)
            residual = np.repeat(grey(picture - self.explainer.candidate(e))[..., None], 3, axis=2)
        quality = self.quality_score(picture, residual, e)
        if specks > max(e.artefact_level, 0.25):
            e = replace(e, artefact="specked", artefact_level=specks)
        following = min(self.following_score(picture, residual, e), 1.0 if self.mistaken else 5.0)
        scores = (following, self.preserving_score(picture, residual, e), max(quality - specks, 0.0))
        reward = Reward.of((round(score, 1) for score in scores), naming.texts(self.triplet.edit, e, scores))
        return Findings(reward, naming.names(self.triplet.edit, e, scores))

    def without_specks(self, picture: Array) -> tuple[Array, float]:
        """The picture with specks that no true picture of the scene has painted over, and their level 0..5."""
        if len(np.unique(picture[..., 1])) <= defects.BANDS[0]:       # bands have black and white pixels of their own
            return picture, 0.0
        factor = max(1, self.explainer.size // 128)
        found = specks_of(shrunk(picture, self.explainer.size // factor))
        stars = [specks_of(shrunk(base, self.explainer.size // factor)) for base in self.explainer.bases()]      # which may have moved
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
        done, start = (halved(self.explainer.candidate(replace(e, way="edit", amount=amount))) for amount in (1.0, 0.0))
        inside = self.inside
        whole = max(norm((done - start) * inside), 1e-3)
        if e.way == "half" and e.amount < 1.9:
            rest = norm((small - halved(self.explainer.candidate(e))) * inside) / whole
            return max(float(np.interp(e.amount, (0, 1, 2), (0, 3, 5))) - 5 + float(np.interp(rest, *DONE)), 0.0)
        way, off = (start - done) * inside, (small - done) * inside
        along = float((off * way).sum()) / whole ** 2
        tolerated = self.tolerated + (defects.strength(defects.MOTTLE, e.artefact_level) if e.artefact == "mottled" else 0.0)
        aside = max(norm(off - along * way) / whole - tolerated * np.sqrt(3 * inside.sum()) / whole, 0.0)
        score = float(np.interp(np.hypot(along, aside), *table))
        if score < 1:
            score = max(score, min(1.0, norm((small - start) * inside) / whole - 0.25), 0.0)
        return score

    def preserving_score(self, picture: Array, residual: Array, e: Explanation) -> float:
        """5 less the damage found (recoloured: 2, removed: 4; of a wash its effect), less what nothing explains.

        That is a point for each UNEXPLAINED of mean difference outside the edit. For global and style edits, which have no outside, it is a
        point for each 0.15 by which the outlines agree less than 0.92 with the explanation's: the correlation of the slopes of both
        pictures' brightness, made soft.
        """
        if e.wash is not None:
            base, outside = self.explainer.bases()[0], self.explainer.outside
            cost = defects.effect(e.wash.change(base, outside), outside) * e.damage_level / defects.UNEXPLAINED
        else:
            cost = {"recoloured": 2.0, "removed": 4.0}.get(e.damage, 1.0) * e.damage_level if e.damage else 0.0
        if self.explainer.by_structure:
            cost += max(0.92 - agreement(slopes(picture), slopes(picture - residual)), 0.0) / 0.15
        else:
            cost += self.unexplained(residual)
        return float(min(max(5.0 - cost, 0.0), 5.0))

    def unexplained(self, residual: Array) -> float:
        """Points for what differs outside the edit, of what the explanation leaves."""
        rest, around = np.abs(soft(residual)).mean(axis=2), self.explainer.around
        return max(float(rest[around].mean()) - 0.006, 0.0) / defects.UNEXPLAINED if around.any() else 0.0

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
        inside, clean = np.nonzero(self.triplet.target_mask), self.explainer.candidate(e)
        if self.explainer.by_structure or e.way == "wrong" or not inside[0].size or noise_level(picture - clean) > 1:
            return 0.0
        points = [(clean if level == 0 else defects.lower_quality(clean, "blurred", level))[inside] for level in LEVELS]
        best, where = distance(picture[inside], points[0]), 0.0
        for low in range(5):
            part, error = segment(picture[inside], points[low], points[low + 1])
            if error < 0.8 * best:
                best, where = error, low + part
        return where if best < 0.01 else where / 2

    @cached_property
    def inside(self) -> Array:
        """Where the edit belongs, for pictures of half the sharpness: (h, w, 1) in [0, 1]."""
        return halved(np.repeat(self.triplet.target_mask[..., None], 3, axis=2).astype(np.float32))[..., :1] ** 0.5

    def roughness(self, picture: Array, e: Explanation) -> float:
        """Level of blur or noise by the size of fine detail inside the edit, against that of the explanation."""
        inside = self.triplet.target_mask
        fine, expected = (float(np.abs(each - blurred(each, 1.5 * self.explainer.size / 128))[inside].mean())
                          for each in (picture, self.explainer.candidate(e)))
        share = fine / max(expected, 1e-3)
        return float(np.interp(share, (0.1, 0.25, 0.45, 0.7, 1.7, 3.0, 6.0), (5.0, 4.0, 2.5, 0.0, 0.0, 2.0, 5.0)))

    # -- edits of the background, which have many right answers

    def drawings(self, kind: str, count: int) -> list[tuple[SceneTriplet, Array]]:
        """Drawings of a landscape: the triplet with each as its target, and the soft picture of that."""
        edit, found = self.triplet.edit, []
        for number in range(count):
            rng = np.random.default_rng([number, BACKDROPS.index(kind)])
            after = replace(edit.after, backdrop=draw_backdrop(rng, SPLITS[number % 2], kind))
            picture = render(after, self.explainer.size // max(1, self.explainer.size // 64))
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
        small, (start, own) = soft(picture), (soft(base) for base in self.explainer.bases()[:2])
        asked, others = self.landscapes
        errors = [segment(small, start, target)[1] for target in (own, *(target for _, target in asked))]
        mistaken = MISTAKEN * min(errors) > min(segment(small, start, target)[1] for _, target in others)
        nearest = int(np.argmin(errors))
        if errors[nearest] > 0.9 * errors[0]:
            return Oracle(self.triplet, mistaken=True) if mistaken else self
        triplet = asked[nearest - 1][0]
        before, target = (render(scene, self.explainer.size, triplet.photo) for scene in (triplet.edit.before, triplet.edit.after))
        triplet = replace(triplet, target=to_bytes(target), target_mask=differ(before, target))
        return Oracle(triplet, loose=True, mistaken=mistaken)


def score(triplet: SceneTriplet, picture: Array) -> Reward:
    """Scores and texts of any picture, (size, size, 3) uint8, as an edit of the triplet's scene. Raises DataError for another shape."""
    return Oracle(triplet).score(picture)


def name_defect(triplet: SceneTriplet, picture: Array) -> str:
    """The worst that is wrong with a picture as an edit of the triplet's scene, "" for nothing. Raises DataError for another shape."""
    return Oracle(triplet).name_defect(picture)
