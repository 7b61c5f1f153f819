"""Known ways to spoil an edit, one draw per perspective, graded: the lower the score, the stronger.

Kinds are few and each looks the same whenever kind and score are the same, so that a model can learn what it looks like.
Strengths are fractions of the side, so that a spoiled picture looks alike at every size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mre.data.scenes.looks import Array, blocks, blurred, clipped
from mre.data.scenes.world import Scene, Thing, colours_of, pick
from mre.rewards import NOTHING_WRONG, WHOLE_PICTURE

if TYPE_CHECKING:
    from mre.data.scenes.edits import Edit

AMOUNT = {0: 0.0, 1: 0.0, 2: 0.35, 3: 0.55, 4: 0.78, 5: 1.0}      # how much of the edit is there, by score of following
GREENISH, PALE = np.array((0.30, 0.78, 0.34), np.float32), np.array((0.90, 0.90, 0.92), np.float32)
PHOTOMETRIC = ("tinted", "faded", "darkened")        # outside the edit only
GEOMETRIC = ("shifted", "zoomed")                    # all of the picture: edits that leave no colours to preserve
OBJECTS = {"recoloured": 3, "removed": 1}            # a thing that the edit leaves alone -> the score that this costs
# How often each is drawn. One kind leads: a low score alone does not say which it is, and the mean of many looks like none of them.
DAMAGES = (*["tinted"] * 16, *["faded"] * 3, "darkened")
MOVES = (*["shifted"] * 9, "zoomed")
OBJECT_ODDS = 0.2            # that a score that can be had by it is one thing's fault
# How often an edit has nothing wrong. Most edits of the paper fall short somewhere (Fig. 3), and most of all in preserving.
FLAWLESS = (0.4, 0.2, 0.4)
TINT, FADE, DARK = (0.0, 0.12, 0.24, 0.36, 0.48, 0.60), (0.0, 0.14, 0.28, 0.42, 0.56, 0.70), (0.0, 0.15, 0.30, 0.45, 0.60, 0.75)
SHIFT, ZOOM = (0.0, 1 / 64, 2 / 64, 3 / 64, 4 / 64, 6 / 64), (1.0, 1.05, 1.10, 1.16, 1.23, 1.32)
QUALITY_KINDS = ("blurred", "blocky", "banded", "ghosted", "noisy")
QUALITY_ODDS = (0.28, 0.26, 0.20, 0.20, 0.06)
BLUR = (0.0, 0.0055, 0.0095, 0.0145, 0.021, 0.030)   # sigma
BLOCKS = (0.0, 0.35, 0.55, 0.72, 0.87, 1.0)          # share of the block means; blocks are 1/16 of the side
BANDS = (24, 9, 7, 5, 4, 3)                           # levels per channel
GHOST, GHOST_AWAY = (0.0, 0.15, 0.23, 0.31, 0.39, 0.48), (1 / 32, 3 / 64)    # share of the second image; how far down and right it is
NOISE = (0.0, 0.035, 0.065, 0.10, 0.14, 0.20)        # standard deviation

FOLLOWING_TEXTS = {
    0: ("nothing was edited", "the instruction was ignored", "the edit is missing", "{it} did not change", "there is no change at all",
        "the picture is the same as before"),
    1: ("the wrong thing was edited", "something else was changed instead of {it}", "the edit is wrong", "{it} is not {asked}",
        "this is not what was asked for", "a wrong edit was made"),
    2: ("the edit is far too weak", "{it} changed only a little", "the edit can hardly be seen", "only a small part of the edit was done"),
    3: ("the edit is only half done", "{it} is only partly {asked}", "the edit is too weak", "only half of the edit is there"),
    4: ("the edit is slightly too weak", "{it} is almost {asked}", "the edit is nearly complete", "the edit could be a little stronger"),
    "half": ("only one of two was done", "only one of them was changed", "one of the two is missing")}
DEGREES = {4: "slightly", 3: "somewhat", 2: "clearly", 1: "strongly", 0: "completely"}
PRESERVING_TEXTS = {
    "tinted": ("the colours outside the edit are {degree} greenish", "there is a green tint over everything else",
               "a green colour cast covers the rest of the picture", "the rest of the picture turned {degree} green"),
    "faded": ("the surroundings are {degree} washed out", "the rest of the picture is faded", "everything else became pale",
              "the colours around the edit are {degree} faded"),
    "darkened": ("the surroundings became {degree} darker", "everything else got dark", "the rest of the picture was darkened",
                 "the area around the edit is {degree} too dark"),
    "shifted": ("the picture is {degree} shifted", "everything moved to the right", "the layout moved",
                "the objects are no longer where they were"),
    "zoomed": ("the picture is {degree} zoomed in", "everything became larger", "the picture was cropped and enlarged",
               "the framing changed"),
    "recoloured": ("{other} changed its colour too", "the colour of another object changed", "{other} should have kept its colour"),
    "removed": ("{other} disappeared", "another object was removed", "{other} is missing"),
    "changed": ("the rest of the picture is {degree} changed",)}      # said by the oracle of pictures that no known damage explains
QUALITY_TEXTS = {
    "blurred": ("the picture is {degree} blurry", "details are blurred", "everything looks {degree} out of focus",
                "the image lacks sharpness"),
    "blocky": ("the picture is {degree} blocky", "blocky artefacts everywhere", "there are visible blocks",
               "compression blocks cover the image"),
    "banded": ("there are {degree} visible colour bands", "the colours are banded", "smooth areas break into bands", "too few colours"),
    "ghosted": ("there is a {degree} visible double image", "everything has a ghost", "ghosting all over the picture",
                "the outlines are doubled"),
    "noisy": ("the picture is {degree} noisy", "there is noise everywhere", "the image looks grainy")}


@dataclass(frozen=True)
class Spoiling:
    """What is wrong with an edit: per perspective a score, the kind of defect ("" at 5) and the text of a judge."""

    scores: tuple[int, int, int]
    kinds: tuple[str, str, str]
    texts: tuple[str, str, str]
    other: Thing | None = None       # the thing that `recoloured` and `removed` hit


CLEAN = Spoiling((5, 5, 5), ("", "", ""), (NOTHING_WRONG, NOTHING_WRONG, NOTHING_WRONG))


def draw_score(rng: np.random.Generator, flawless: float) -> int:
    """5 with this probability, else one of 0..4."""
    return 5 if rng.random() < flawless else int(rng.random() * 5)


def draw_spoiling(rngs: tuple[np.random.Generator, np.random.Generator, np.random.Generator], edit: Edit) -> Spoiling:
    """Three independent draws, one from each random stream, so that no perspective's draw depends on another's."""
    following, preserving, quality = map(draw_score, rngs, FLAWLESS)
    kinds, texts = ["", "", ""], [NOTHING_WRONG] * 3
    other = None
    if following < 5:
        kinds[0] = {0: "missing", 1: "wrong"}.get(following, "weak")
        if following == 3 and edit.half is not None and rngs[0].random() < 0.7:
            kinds[0] = "half"
        texts[0] = pick(rngs[0], FOLLOWING_TEXTS["half" if kinds[0] == "half" else following]).format(it=edit.named, asked=edit.asked)
    if preserving < 5:
        kinds[1], other = draw_preserving(rngs[1], edit, preserving)
        name = f"the {other.colour} {other.kind}" if other else ""
        texts[1] = pick(rngs[1], PRESERVING_TEXTS[kinds[1]]).format(degree=DEGREES[preserving], other=name)
    if quality < 5:
        kinds[2] = QUALITY_KINDS[int(np.searchsorted(np.cumsum(QUALITY_ODDS), rngs[2].random()).clip(0, 4))]
        texts[2] = pick(rngs[2], QUALITY_TEXTS[kinds[2]]).format(degree=DEGREES[quality])
    return Spoiling((following, preserving, quality), (kinds[0], kinds[1], kinds[2]), (texts[0], texts[1], texts[2]), other)


def untouched(edit: Edit) -> list[Thing]:
    """Things of the scene that neither the edit nor its wrong form touches."""
    return [thing for thing in edit.before.things if thing in edit.after.things and thing in edit.wrong.things]


def draw_preserving(rng: np.random.Generator, edit: Edit, score: int) -> tuple[str, Thing | None]:
    """A kind of damage with this score, and the thing that it hits, if any. Edits of the whole picture leave no colours to preserve."""
    others = untouched(edit)
    objects = [kind for kind, at in OBJECTS.items() if at == score] if others else []
    if objects and rng.random() < OBJECT_ODDS:
        return objects[0], pick(rng, others)
    return pick(rng, MOVES if edit.edit_type in WHOLE_PICTURE else DAMAGES), None


def damaged(scene: Scene, spoiling: Spoiling) -> Scene:
    """The scene with another thing recoloured or removed, if that is the defect."""
    kind, other = spoiling.kinds[1], spoiling.other
    if other is None:
        return scene
    if kind == "removed":
        return scene.without(other)
    options = [c for c in ("purple", "green", "orange", "blue") if c in colours_of(other.kind, "train") and c != other.colour]
    return replace(scene, things=tuple(replace(t, colour=options[0], texture="plain") if t == other else t for t in scene.things))


def strength(table: tuple, level: float) -> float:
    """Strength at a level from 0 (nothing wrong) to 5 (score 0), between the table's steps too."""
    low = min(int(level), 4)
    return table[low] + (table[low + 1] - table[low]) * (level - low)


def spoil_outside(picture: Array, kind: str, level: float, outside: Array) -> Array:
    """Tint, fade or darken where `outside`, (H, W) in [0, 1], says."""
    if kind == "tinted":
        return picture + (GREENISH - picture) * (np.float32(strength(TINT, level)) * outside)[..., None]
    if kind == "faded":
        return picture + (PALE - picture) * (np.float32(strength(FADE, level)) * outside)[..., None]
    return picture * (1 - np.float32(strength(DARK, level)) * outside)[..., None]


def move(picture: Array, kind: str, level: float) -> Array:
    """Shift to the right and half as far down, or zoom in on the middle."""
    if kind == "shifted":
        right = round(strength(SHIFT, level) * len(picture))
        return shifted(picture, right // 2, right)
    return zoomed(picture, strength(ZOOM, level))


def shifted(picture: Array, down: int, right: int) -> Array:
    """Moved by whole pixels; the uncovered edge repeats the border."""
    height, width = picture.shape[:2]
    rows, columns = np.clip(np.arange(height) - down, 0, height - 1), np.clip(np.arange(width) - right, 0, width - 1)
    return picture[rows][:, columns]


def zoomed(picture: Array, factor: float) -> Array:
    """Enlarged about the middle, with linear interpolation."""
    for axis in (0, 1):
        length = picture.shape[axis]
        where = np.clip((np.arange(length) + 0.5 - length / 2) / factor + length / 2 - 0.5, 0, length - 1)
        low = np.minimum(where.astype(int), length - 2)
        part = (where - low).astype(np.float32).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        first, second = (picture[low], picture[low + 1]) if axis == 0 else (picture[:, low], picture[:, low + 1])
        picture = first + (second - first) * part
    return picture


def lower_quality(picture: Array, kind: str, level: float, rng: np.random.Generator | None = None) -> Array:
    """Blur, blocks, bands, a ghost or (with `rng`) noise over all of the picture."""
    size = len(picture)
    if kind == "blurred":
        return blurred(picture, strength(BLUR, level) * size)
    if kind == "blocky":
        return picture + (blocks(picture, max(2, size // 16)) - picture) * np.float32(strength(BLOCKS, level))
    if kind == "banded":
        steps = np.float32(strength(BANDS, level) - 1)
        return np.minimum(np.round(picture * steps) / steps, 1)
    if kind == "ghosted":
        down, right = (round(part * size) for part in GHOST_AWAY)
        return picture + (shifted(picture, down, right) - picture) * np.float32(strength(GHOST, level))
    assert rng is not None, "noise is drawn"
    return clipped(picture + rng.standard_normal(picture.shape, np.float32) * np.float32(strength(NOISE, level)))


def grown(mask: Array, reach: int) -> Array:
    """(H, W) bool, dilated by a square of `reach` pixels each way."""
    for axis in (0, 1):
        wide = np.pad(mask, [(reach, reach) if a == axis else (0, 0) for a in (0, 1)])
        length = mask.shape[axis]
        total = mask.copy()
        for step in range(2 * reach + 1):
            total |= wide[step:step + length] if axis == 0 else wide[:, step:step + length]
        mask = total
    return mask
