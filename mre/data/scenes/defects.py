"""Known ways to spoil an edit, one draw per perspective, graded: the lower the score, the stronger.

Each kind comes in many forms: a tint of any hue on all of the picture, a half of it or in blotches; a shift in any direction; and so on.
What happens to the colours around an edit is graded by its effect (UNEXPLAINED of mean difference a point), whatever its form. Other
strengths are fractions of the side, so that a spoiled picture looks alike at every size.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mre.data.scenes.looks import Array, block_means, blocks, blurred, clipped, grey
from mre.data.scenes.render import grid, rolled
from mre.data.scenes.world import Scene, Thing, colours_of, pick
from mre.rewards import NOTHING_WRONG, WHOLE_PICTURE

if TYPE_CHECKING:
    from mre.data.scenes.edits import Edit

# How much of the edit is there, by score of following. A fifth of a thing is seen by anyone; that a fifth of a look is missing is not.
AMOUNT = {0: 0.0, 1: 0.0, 2: 0.35, 3: 0.55, 4: 0.78, 5: 1.0}
AMOUNT_OF_THINGS = {0: 0.0, 1: 0.0, 2: 0.50, 3: 0.75, 4: 0.90, 5: 1.0}
PHOTOMETRIC = ("tinted", "faded", "darkened", "brightened", "uneven")     # outside the edit only
GEOMETRIC = ("shifted", "zoomed")                    # all of the picture: edits that leave no colours to preserve
OBJECTS = {"recoloured": 3, "removed": 1}            # a thing that the edit leaves alone -> the score that this costs
DAMAGES = (*["tinted"] * 8, *["faded"] * 3, *["darkened"] * 3, *["brightened"] * 2, *["uneven"] * 4)       # how often each is drawn
MOVES = (*["shifted"] * 4, "zoomed")
OBJECT_ODDS = 0.2            # that a score that can be had by it is one thing's fault
# How often an edit has nothing wrong. Most edits of the paper fall short somewhere (Fig. 3), and most of all in preserving.
FLAWLESS = (0.4, 0.2, 0.4)
UNEXPLAINED = 0.042          # mean difference around the edit that costs a point of preserving
MOST = 0.95                  # of the way to a tint's colour
SHIFT, ZOOM = (0.0, 1 / 64, 2 / 64, 3 / 64, 4 / 64, 6 / 64), (1.0, 1.05, 1.10, 1.16, 1.23, 1.32)     # of the side, along the direction
QUALITY_KINDS = ("blurred", "blocky", "banded", "ghosted", "noisy", "lined", "specked", "dull", "mottled")
QUALITY_ODDS = (0.16, 0.14, 0.12, 0.14, 0.08, 0.09, 0.09, 0.09, 0.09)
BLUR = (0.0, 0.0055, 0.0095, 0.0145, 0.021, 0.030)   # sigma
BLOCKS = (0.0, 0.35, 0.55, 0.72, 0.87, 1.0)          # share of the block means; blocks are 1/16 of the side
BANDS = (24, 9, 7, 5, 4, 3)                           # levels per channel
GHOST, GHOST_AWAY = (0.0, 0.15, 0.23, 0.31, 0.39, 0.48), 0.055     # share of the second image; how far away it is
NOISE = (0.0, 0.035, 0.065, 0.10, 0.14, 0.20)        # standard deviation
LINES, LINE_EVERY = (0.0, 0.12, 0.22, 0.34, 0.48, 0.65), 1 / 16    # how dark lines are; how far apart
SPECKS = (0.0025, 0.006, 0.010, 0.017, 0.029, 0.050)    # share of the picture that is black or white specks of 1/128 of the side
DULL = (0.0, 0.22, 0.38, 0.53, 0.68, 0.84)           # of the way to one grey
MOTTLE = (0.0, 0.045, 0.08, 0.12, 0.17, 0.24)        # size of coloured clouds of 1/16 of the side

HUES = {"red": (0.85, 0.20, 0.18), "orange": (0.92, 0.55, 0.15), "yellow": (0.90, 0.85, 0.20), "green": (0.25, 0.75, 0.30),
        "turquoise": (0.15, 0.72, 0.70), "blue": (0.20, 0.35, 0.88), "purple": (0.55, 0.22, 0.78), "pink": (0.92, 0.42, 0.70)}
PARTS = ("everywhere", "left", "right", "top", "bottom", "blotches")
PARTS_FROM = 3              # the lowest score at which less than all of the picture is tinted
WAYS = ("right", "down right", "down", "down left", "left", "up left", "up", "up right")      # clockwise from the right
BLOTCHES = 12                # forms of blotches
# Forms that training never shows.
HELDOUT_HUES, HELDOUT_PARTS, HELDOUT_WAYS, HELDOUT_BLOTCHES = ("turquoise", "orange"), ("bottom",), (1, 4), (3, 7, 11)
GREY, PALE, DARK, WHITE = (0.60, 0.60, 0.62), (0.90, 0.90, 0.90), (0.02, 0.02, 0.03), (1.0, 1.0, 1.0)
DARK_BACKDROPS, LIGHT_BACKDROPS = ("night", "space"), ("snow",)       # which cannot be darkened, or brightened, by much

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
    "tinted": ("the colours outside the edit are {degree} tinted {hue}", "there is a {hue} tint over everything else",
               "a {hue} colour cast covers the rest of the picture", "the rest of the picture turned {degree} {hue}"),
    "faded": ("the surroundings are {degree} washed out", "the rest of the picture is faded", "everything else became pale",
              "the colours around the edit are {degree} faded"),
    "darkened": ("the surroundings became {degree} darker", "everything else got dark", "the rest of the picture was darkened",
                 "the area around the edit is {degree} too dark"),
    "brightened": ("the surroundings became {degree} brighter", "everything else is overexposed", "the rest of the picture was brightened",
                   "the area around the edit is {degree} too bright"),
    "uneven": ("the colours around the edit drift {degree}", "the rest of the picture has an uneven colour cast",
               "the colours of everything else run from one tone to another"),
    "shifted": ("the picture is {degree} shifted", "everything moved {way}", "the layout moved {way}",
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
    "noisy": ("the picture is {degree} noisy", "there is noise everywhere", "the image looks grainy"),
    "lined": ("there are {degree} visible lines across the picture", "dark lines run over the image", "scan lines everywhere"),
    "specked": ("there are {degree} visible specks", "black and white dots all over the picture", "salt and pepper specks everywhere"),
    "dull": ("the picture is {degree} dull", "the contrast is too low", "the image looks flat and lifeless"),
    "mottled": ("the colours are {degree} mottled", "there is colour noise everywhere", "patches of wrong colours all over the picture")}
PART_TEXTS = {"everywhere": "", "left": " on the left", "right": " on the right", "top": " at the top", "bottom": " at the bottom",
              "blotches": " in blotches"}


@dataclass(frozen=True)
class Form:
    """In which form a defect comes: what of it the kind uses."""

    hue: str = "green"              # of HUES
    part: str = "everywhere"        # of PARTS
    blotch: int = 0                 # 0..BLOTCHES-1
    way: int = 0                    # of WAYS
    drift: tuple[float, ...] = (0.0,) * 9      # per channel: gain, and how it grows to the right and downwards


FORM = Form()


@dataclass(frozen=True)
class Spoiling:
    """What is wrong with an edit: per perspective a score, the kind of defect ("" at 5) and the text of a judge."""

    scores: tuple[int, int, int]
    kinds: tuple[str, str, str]
    texts: tuple[str, str, str]
    other: Thing | None = None       # the thing that `recoloured` and `removed` hit
    forms: tuple[Form, Form, Form] = (FORM, FORM, FORM)


CLEAN = Spoiling((5, 5, 5), ("", "", ""), (NOTHING_WRONG, NOTHING_WRONG, NOTHING_WRONG))


def draw_score(rng: np.random.Generator, flawless: float) -> int:
    """5 with this probability, else one of 0..4."""
    return 5 if rng.random() < flawless else int(rng.random() * 5)


def draw_form(rng: np.random.Generator, split: str) -> Form:
    """A form of the split: hues, parts, blotches and directions that `heldout` draws are never drawn by `train`."""
    held = split == "heldout"
    hue = pick(rng, HELDOUT_HUES if held else [name for name in HUES if name not in HELDOUT_HUES])
    part = pick(rng, ("everywhere", "blotches", *HELDOUT_PARTS) if held else [name for name in PARTS if name not in HELDOUT_PARTS])
    way = pick(rng, [number for number in range(len(WAYS)) if (number in HELDOUT_WAYS) == held])
    blotch = pick(rng, [number for number in range(BLOTCHES) if (number in HELDOUT_BLOTCHES) == held])
    drift = rng.random(9) * 2 - 1
    return Form(hue, part, blotch, way, tuple(float(value) for value in drift))


def draw_spoiling(rngs: tuple[np.random.Generator, np.random.Generator, np.random.Generator], edit: Edit, split: str = "train") -> Spoiling:
    """Three independent draws, one from each random stream, so that no perspective's draw depends on another's."""
    following, preserving, quality = map(draw_score, rngs, FLAWLESS)
    if edit.nothing and following < 5:
        following = 1                # something was done where nothing should be
    kinds, texts = ["", "", ""], [NOTHING_WRONG] * 3
    forms = [FORM] * 3
    other = None
    if following < 5:
        kinds[0] = {0: "missing", 1: "wrong"}.get(following, "weak")
        if following == 3 and edit.half is not None and rngs[0].random() < 0.7:
            kinds[0] = "half"
        texts[0] = pick(rngs[0], FOLLOWING_TEXTS["half" if kinds[0] == "half" else following]).format(it=edit.named, asked=edit.asked)
    if preserving < 5:
        kinds[1], other = draw_preserving(rngs[1], edit, preserving)
        forms[1] = draw_form(rngs[1], split)
        if edit.edit_type == "background" or preserving < PARTS_FROM:       # a part might hold nothing that the edit leaves alone
            forms[1] = replace(forms[1], part="everywhere")
        texts[1] = named(pick(rngs[1], PRESERVING_TEXTS[kinds[1]]), kinds[1], preserving, forms[1], other)
    if quality < 5:
        number = int(np.searchsorted(np.cumsum(QUALITY_ODDS), rngs[2].random()))
        kinds[2] = QUALITY_KINDS[min(number, len(QUALITY_KINDS) - 1)]
        forms[2] = draw_form(rngs[2], split)
        texts[2] = named(pick(rngs[2], QUALITY_TEXTS[kinds[2]]), kinds[2], quality, forms[2])
    return Spoiling((following, preserving, quality), (kinds[0], kinds[1], kinds[2]), (texts[0], texts[1], texts[2]), other,
                    (forms[0], forms[1], forms[2]))


def named(text: str, kind: str, score: int, form: Form, other: Thing | None = None) -> str:
    """A text of a judge with its gaps filled, and where the defect is when it is not everywhere."""
    name = f"the {other.colour} {other.kind}" if other else ""
    filled = text.format(degree=DEGREES[score], other=name, hue=form.hue, way=("to the " if form.way in (0, 4) else "") + WAYS[form.way])
    return filled + (PART_TEXTS[form.part] if kind in PHOTOMETRIC and kind != "uneven" else "")


def untouched(edit: Edit) -> list[Thing]:
    """Things of the scene that neither the edit nor its wrong form touches."""
    return [thing for thing in edit.before.things if thing in edit.after.things and thing in edit.wrong.things]


def draw_preserving(rng: np.random.Generator, edit: Edit, score: int) -> tuple[str, Thing | None]:
    """A kind of damage with this score, and the thing that it hits, if any. Edits of the whole picture leave no colours to preserve."""
    others = untouched(edit)
    objects = [kind for kind, at in OBJECTS.items() if at == score] if others else []
    if objects and rng.random() < OBJECT_ODDS:
        return objects[0], pick(rng, others)
    if edit.edit_type in WHOLE_PICTURE:
        return pick(rng, MOVES), None
    behind = edit.before.backdrop.kind
    senseless = ("darkened", "uneven") if behind in DARK_BACKDROPS else ("brightened",) if behind in LIGHT_BACKDROPS else ()
    return pick(rng, [kind for kind in DAMAGES if kind not in senseless]), None


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


def spoil_outside(picture: Array, kind: str, level: float, outside: Array, form: Form = FORM) -> Array:
    """Tint, fade, darken, brighten or colour unevenly where `outside`, (H, W) in [0, 1], says, by UNEXPLAINED a level."""
    if level <= 0:
        return picture
    needed, most = level * UNEXPLAINED, MOST
    if kind == "uneven":
        gain = drift_of(len(picture), form.drift)
        gain += 0.1 - gain.max() if picture.mean() > 0.45 else -0.1 - gain.min()      # away from where it would be cut at white or black
        change, most = picture * gain * outside[..., None], 3.0
    else:
        goal = {"tinted": HUES[form.hue], "faded": GREY, "darkened": DARK, "brightened": WHITE}[kind]
        change = (np.asarray(goal, np.float32) - picture) * (outside * part_of(len(picture), form))[..., None]
        if MOST * effect(change, outside) < needed:         # too little of the picture, or grey already
            goal = PALE if kind == "faded" else goal
            change = (np.asarray(goal, np.float32) - picture) * outside[..., None]
    return picture + change * np.float32(min(needed / max(effect(change, outside), 1e-4), most))


def effect(change: Array, outside: Array) -> float:
    """Mean size of a change, (H, W, 3), around an edit, seen softly: over squares of 1/32 of the side."""
    size = len(change) // 32 * 32
    if size < 32 or not outside.any():
        return float(np.abs(change).mean())
    return float(np.abs(block_means(change[:size, :size], size // 32)).mean()) / max(float(outside.mean()), 1e-3)


def part_of(size: int, form: Form) -> Array:
    """Where a tint lies: (H, W) or broadcastable, in [0, 1]."""
    x, y = grid(size)
    if form.part == "blotches":
        return np.clip(rolled(size, 3, 5 + 11 * form.blotch) * 3 + 0.5, 0, 1)
    half = {"left": 0.5 - x, "right": x - 0.5, "top": 0.5 - y, "bottom": y - 0.5}
    return np.clip(half[form.part] * 16 + 0.5, 0, 1) if form.part in half else np.ones((1, 1), np.float32)


def drift_of(size: int, drift: tuple[float, ...]) -> Array:
    """(H, W, 3) how much each channel gains, as a plane over the picture."""
    x, y = grid(size)
    values = np.asarray(drift, np.float32).reshape(3, 3)
    return np.stack([row[0] * 0.5 + row[1] * (2 * x - 1) + row[2] * (2 * y - 1) for row in values], axis=-1)


def step_of(way: int, length: float, size: int) -> tuple[int, int]:
    """(down, right) in whole pixels, of a length in sides of the picture."""
    angle = way * np.pi / 4
    return round(np.sin(angle) * length * size), round(np.cos(angle) * length * size)


def move(picture: Array, kind: str, level: float, form: Form = FORM) -> Array:
    """Shift along the form's direction, or zoom in on the middle."""
    if kind == "shifted":
        return shifted(picture, *step_of(form.way, strength(SHIFT, level), len(picture)))
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


def lower_quality(picture: Array, kind: str, level: float, rng: np.random.Generator | None = None, form: Form = FORM) -> Array:
    """One artefact over all of the picture; noise, specks and mottles are drawn with `rng`."""
    size = len(picture)
    if kind == "blurred":
        return blurred(picture, strength(BLUR, level) * size)
    if kind == "blocky":
        return picture + (blocks(picture, max(2, size // 16)) - picture) * np.float32(strength(BLOCKS, level))
    if kind == "banded":
        steps = np.float32(strength(BANDS, level) - 1)
        return np.minimum(np.round(picture * steps) / steps, 1)
    if kind == "ghosted":
        return picture + (shifted(picture, *step_of(form.way, GHOST_AWAY, size)) - picture) * np.float32(strength(GHOST, level))
    if kind == "lined":
        return picture * (1 - np.float32(strength(LINES, level)) * lines(size, form.way % 2 == 1))[..., None]
    if kind == "dull":
        return picture + (np.float32(grey(picture).mean()) - picture) * np.float32(strength(DULL, level))
    assert rng is not None, "noise is drawn"
    if kind == "specked":
        return with_specks(picture, strength(SPECKS, level), rng)
    if kind == "mottled":
        clouds = blurred(rng.standard_normal((17, 17, 3), np.float32), 0.7)
        clouds -= clouds.mean(axis=2, keepdims=True)
        return clipped(picture + enlarged(clouds, picture.shape) * np.float32(2.4 * strength(MOTTLE, level)))
    return clipped(picture + rng.standard_normal(picture.shape, np.float32) * np.float32(strength(NOISE, level)))


def lines(size: int, upright: bool) -> Array:
    """Thin lines, LINE_EVERY apart: (H, W) in [0, 1]."""
    x, y = grid(size)
    along = x if upright else y
    line = np.clip(1.5 - np.abs((along / LINE_EVERY + 0.5) % 1 - 0.5) * LINE_EVERY * 128, 0, 1)
    return np.broadcast_to(line, (size, size))


def with_specks(picture: Array, share: float, rng: np.random.Generator) -> Array:
    """Black and white specks of 1/128 of the side, a pixel at least, on this share of the picture."""
    size, side = len(picture), max(1, len(picture) // 128)
    count = round(share * size * size / side ** 2)
    rows, columns = (rng.random((2, count)) * (size // side)).astype(int) * side
    values = (rng.random(count) < 0.5).astype(np.float32)
    picture = picture.copy()
    for down in range(side):
        for right in range(side):
            picture[rows + down, columns + right] = values[:, None]
    return picture


def enlarged(field: Array, shape: tuple[int, ...]) -> Array:
    """(h, w, C) interpolated linearly to (H, W, C)."""
    for axis in (0, 1):
        where = np.linspace(0, field.shape[axis] - 1.001, shape[axis])
        low, part = where.astype(int), (where % 1).astype(np.float32).reshape((-1, 1, 1) if axis == 0 else (1, -1, 1))
        first, second = (field[low], field[low + 1]) if axis == 0 else (field[:, low], field[:, low + 1])
        field = first + (second - first) * part
    return field


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
