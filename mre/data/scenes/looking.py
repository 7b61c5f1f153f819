"""Edits whose instructions need looking: which thing is meant depends on what else is in the picture.

"Remove what stands between the house and the tree", "paint the largest ball blue", "take away everything that can fly". Each request has
one exact answer. Held out are combinations (such as a pair of kinds between which something stands), and what `world` holds out.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from mre.data.scenes.concepts import plural
from mre.data.scenes.edits import Edit
from mre.data.scenes.photos import piece_of
from mre.data.scenes.render import render
from mre.data.scenes.triplets import PHOTO_SHARE, SceneTriplet, check_draw, differ, with_edit
from mre.data.scenes.world import (
    BACKDROPS,
    COLOUR_NAMES,
    GROUND_KINDS,
    GROUND_SLOTS,
    GROUND_Y,
    KINDS,
    SKY_KINDS,
    SKY_SLOTS,
    SKY_Y,
    SPLITS,
    Backdrop,
    Scene,
    Thing,
    colours_of,
    draw_backdrop,
    pick,
)
from mre.errors import DataError

if TYPE_CHECKING:
    from mre.data.scenes.looks import Array

LOOKING_STREAM = 7                              # keeps these draws apart from those of other scenes
COLUMNS = (0.12, 0.31, 0.50, 0.69, 0.88)        # x of what stands on the ground
RADII = (0.052, 0.072, 0.092)                   # small, middling, large; all others are middling
SETS = {"that grows": ("tree", "flower", "mushroom"), "that can fly": ("balloon", "cloud"), "that people build": ("house", "car"),
        "that shines at night": ("star", "moon")}
ORDINALS = ("first", "second", "third")
COUNTS = {1: "one", 2: "two", 3: "three"}
REMOVE = ("remove {}", "delete {}", "take away {}", "get rid of {}", "erase {}")
PAINT = ("paint {} {colour}", "make {} {colour}", "turn {} {colour}", "colour {} {colour}")
BETWEEN = ("what stands between the {} and the {}", "the thing between the {} and the {}")
BESIDE = ("the thing just {side} of the {anchor}", "what stands right next to the {anchor} on the {side}")
ORDINAL = ("the {number} thing from the {side}", "the {number} thing counted from the {side}")
SUPERLATIVE = {"largest": ("the largest {kind}", "the biggest {kind}"), "smallest": ("the smallest {kind}", "the tiniest {kind}")}
SET = ("everything {set}", "all {set}")
COUNTING = ("what there are exactly {number} of", "the things of which there are {number}")
ONLY_ONE = ("what there is only one of", "the thing of which there is only one")
NEGATION = ("every {kind} that is not {colour}", "all {kinds} but the {colour} ones", "the {kinds} that are not {colour}")
EXCEPT = ("everything on the ground but the {kind}", "everything on the ground except the {kind}")
TRIES = 400         # to draw a combination of the split
FAINT = 0.15        # share of its own edit from which on a thing counts as changed at all


@dataclass(frozen=True)
class Question:
    """A scene's things, which of them are meant, and the words that mean them."""

    things: tuple[Thing, ...]
    targets: tuple[Thing, ...]
    phrase: str             # as in "remove ..."
    combination: str        # by which train and held-out scenes differ


def draw_looking(seed: int, index: int, split: str = "train", size: int = 64, photos: Sequence[Array] | None = None, *,
                 need: str | None = None, photo_share: float = PHOTO_SHARE, spoiled: bool = True) -> SceneTriplet:
    """A triplet, a pure function of what it is given; its edit's `operation` names the kind of need.

    need: one of NEEDS, or None for all, equally likely; the rest as in `draw_triplet`
    Raises DataError for a split, size, need, seed or index that cannot be.
    """
    check_draw(seed, index, split, size)
    if need is not None and need not in NEEDS:
        raise DataError(f"need must be one of {', '.join(NEEDS)}, got {need!r}")
    rng, *streams = (np.random.default_rng([seed, index, SPLITS.index(split), number, LOOKING_STREAM]) for number in range(5))
    chosen = pick(rng, tuple(NEEDS))
    photo = piece_of(pick(rng, photos), rng, size) if photos and rng.random() < photo_share else None
    edit = draw_looking_edit(rng, split, need or chosen, photo is not None)
    return with_edit(f"looking-{split}-{seed}-{index}", edit, streams, split, size, photo, spoiled)


def draw_looking_edit(rng: np.random.Generator, split: str, need: str, photo: bool = False) -> Edit:
    """An edit of a scene of the split, for which this is needed: things are painted, or taken away."""
    asked = draw_question(rng, split, need)
    kind = pick(rng, [kind for kind in BACKDROPS if need != "set" or kind != "city"])       # which is full of what people build
    scene = Scene(Backdrop("photo") if photo else draw_backdrop(rng, split, kind), asked.things)
    kinds, seen = [one.kind for one in asked.targets], {one.colour for one in asked.targets}
    possible = colours_of(kinds[0], split) if len(set(kinds)) == 1 else COLOUR_NAMES
    free = [colour for colour in possible if colour not in seen]
    colour = pick(rng, free) if free and rng.random() < 0.5 else ""
    others = [thing for thing in asked.things if thing not in asked.targets and thing.colour != colour]
    rng.shuffle(others)
    mistaken = others[:len(asked.targets)] or asked.targets
    wrong = done(scene, mistaken, colour) if others else done(scene, mistaken, "" if colour else pick(rng, free))
    half = done(scene, asked.targets[:1], colour) if len(asked.targets) == 2 else None
    words = pick(rng, PAINT if colour else REMOVE).format(asked.phrase, colour=colour)
    return Edit("local" if colour else "remove", need, words, scene, done(scene, asked.targets, colour), wrong, half, asked.phrase,
                colour or "gone")


def done(scene: Scene, things: Sequence[Thing], colour: str) -> Scene:
    """The scene with these things painted in a colour, or, without one, gone."""
    if not colour:
        return scene.without(*things)
    for thing in things:
        scene = scene.with_changed(thing, colour=colour)
    return scene


def draw_question(rng: np.random.Generator, split: str, need: str) -> Question:
    """A question of this kind, about a combination of the split."""
    for _ in range(TRIES):
        asked = NEEDS[need](rng, split)
        if is_held_out(need, asked.combination) == (split == "heldout"):
            return asked
    raise AssertionError(f"no combination of {need} for {split}")


def is_held_out(need: str, combination: str) -> bool:
    """Whether training never asks for this: a fifth of all combinations."""
    return zlib.crc32(f"{need}: {combination}".encode()) % 5 == 0


# ---------------------------------------------------------------- things

def thing_at(rng: np.random.Generator, split: str, kind: str, x: float, radius: float = RADII[1]) -> Thing:
    """A plain thing of the split at this place, in the air where it floats."""
    slots, sky = (SKY_SLOTS, True) if kind in SKY_KINDS else (GROUND_SLOTS, False)
    slot = min(slots, key=lambda name: abs(slots[name] - x))
    y, colour = (SKY_Y if sky else GROUND_Y) + 0.06 * (rng.random() - 0.5), pick(rng, colours_of(kind, split))
    return Thing(kind, colour, "plain", slot, float(x + 0.03 * (rng.random() - 0.5)), float(y), radius)


def columns(rng: np.random.Generator, count: int) -> list[float]:
    """Places for `count` things, from left to right."""
    return sorted(float(x) for x in rng.choice(COLUMNS, count, replace=False))


def some_kinds(rng: np.random.Generator, count: int, *taken: str) -> list[str]:
    """Different kinds that stand on the ground, and none of these."""
    return [str(kind) for kind in rng.choice([kind for kind in GROUND_KINDS if kind not in taken], count, replace=False)]


def placed(rng: np.random.Generator, split: str, kinds: Sequence[str]) -> list[Thing]:
    """A thing of each of these kinds, at random places: in a row on the ground, and above it."""
    ground = columns(rng, sum(kind not in SKY_KINDS for kind in kinds))
    air = sorted(rng.choice(COLUMNS[::2], sum(kind in SKY_KINDS for kind in kinds), replace=False))
    mixed = list(kinds)
    rng.shuffle(mixed)
    return [thing_at(rng, split, kind, air.pop() if kind in SKY_KINDS else ground.pop()) for kind in mixed]


def shown(things: Sequence[Thing], targets: Sequence[Thing], phrase: str, combination: str) -> Question:
    return Question(tuple(things), tuple(targets), phrase, combination)


# ---------------------------------------------------------------- kinds of need

def _between(rng: np.random.Generator, split: str) -> Question:
    """Three in a row, the outer two named; more of other kinds beside them."""
    count = pick(rng, (3, 4, 4, 5))
    kinds, first = some_kinds(rng, count), int(rng.random() * (count - 2))
    things = [thing_at(rng, split, kind, x) for kind, x in zip(kinds, columns(rng, count), strict=True)]
    ends = [kinds[first], kinds[first + 2]]
    rng.shuffle(ends)
    return shown(things, things[first + 1:first + 2], pick(rng, BETWEEN).format(*ends), " ".join(sorted(ends)))


def _beside(rng: np.random.Generator, split: str) -> Question:
    """The neighbour of a thing that is named by its kind, or as the only one of its colour."""
    count = pick(rng, (3, 4))
    kinds, side = some_kinds(rng, count), pick(rng, ("left", "right"))
    things = [thing_at(rng, split, kind, x) for kind, x in zip(kinds, columns(rng, count), strict=True)]
    place = int(rng.random() * (count - 1)) + (side == "left")
    anchor = things[place]
    by_colour = rng.random() < 0.5 and sum(one.colour == anchor.colour for one in things) == 1
    name = f"{anchor.colour} one" if by_colour else anchor.kind
    target = things[place - 1 if side == "left" else place + 1]
    return shown(things, [target], pick(rng, BESIDE).format(side=side, anchor=name), f"{side} {name}")


def _superlative(rng: np.random.Generator, split: str) -> Question:
    """Two or three of a kind, one of which is larger, or smaller, than the others; and perhaps something else of any size."""
    count, which = pick(rng, (2, 3)), pick(rng, tuple(SUPERLATIVE))
    [kind, other], places = some_kinds(rng, 2), columns(rng, count + 1)
    rng.shuffle(places)
    extreme, rest = (RADII[2], RADII[:2]) if which == "largest" else (RADII[0], RADII[1:])
    sizes = [extreme, *(pick(rng, rest) for _ in range(count - 1))]
    things = [thing_at(rng, split, kind, x, radius=size) for x, size in zip(places, sizes, strict=False)]
    more = [thing_at(rng, split, other, places[-1], radius=pick(rng, RADII))]
    return shown(things + more, things[:1], pick(rng, SUPERLATIVE[which]).format(kind=kind), f"{which} {kind}")


def _ordinal(rng: np.random.Generator, split: str) -> Question:
    """The first, second or third in a row, from one of its ends."""
    count, side = pick(rng, (3, 4, 5)), pick(rng, ("left", "right"))
    number, kinds = int(rng.random() * min(count, len(ORDINALS))), some_kinds(rng, count)
    things = [thing_at(rng, split, kind, x) for kind, x in zip(kinds, columns(rng, count), strict=True)]
    target = things[number if side == "left" else -1 - number]
    phrase = pick(rng, ORDINAL).format(number=ORDINALS[number], side=side)
    return shown(things, [target], phrase, f"{number} {side} {target.kind}")


def _set(rng: np.random.Generator, split: str) -> Question:
    """Everything of a sort, among other things."""
    name = pick(rng, tuple(SETS))
    members = [str(kind) for kind in rng.choice(SETS[name], 1 + int(rng.random() * 2), replace=False)]
    others = [str(kind) for kind in rng.choice([kind for kind in KINDS if kind not in SETS[name]], 2, replace=False)]
    things = placed(rng, split, members + others)
    return shown(things, [one for one in things if one.kind in members], pick(rng, SET).format(set=name), " ".join(sorted(members)))


def _counting(rng: np.random.Generator, split: str) -> Question:
    """What there are so many of, beside what there are more or fewer of."""
    number, other = pick(rng, ((1, 2), (1, 3), (2, 1), (2, 3), (3, 1), (3, 2)))
    kind, second = some_kinds(rng, 2)
    things = placed(rng, split, [kind] * number + [second] * other)
    phrase = pick(rng, ONLY_ONE if number == 1 else COUNTING).format(number=COUNTS[number])
    return shown(things, [one for one in things if one.kind == kind], phrase, f"{number} {kind}")


def _negation(rng: np.random.Generator, split: str) -> Question:
    """Those of a kind that have not this colour; or all that stands there but one."""
    kind, other, third = some_kinds(rng, 3)
    if rng.random() < 0.4:
        things = placed(rng, split, [kind, other, third][:pick(rng, (2, 3))])
        return shown(things, [one for one in things if one.kind != kind], pick(rng, EXCEPT).format(kind=kind), f"but {kind}")
    colour, count = pick(rng, colours_of(kind, split)), pick(rng, (2, 3))
    things = placed(rng, split, [kind] * count + [other])
    same, left = [one for one in things if one.kind == kind], [name for name in colours_of(kind, split) if name != colour]
    spared = 1 + int(rng.random() * (count - 1))
    coloured = [replace(one, colour=colour if number < spared else pick(rng, left)) for number, one in enumerate(same)]
    things = [one for one in things if one.kind != kind] + coloured
    phrase = pick(rng, NEGATION).format(kind=kind, kinds=plural(kind), colour=colour)
    return shown(things, coloured[spared:], phrase, f"{kind} {colour}")


NEEDS: dict[str, Callable[[np.random.Generator, str], Question]] = {
    "between": _between, "beside": _beside, "superlative": _superlative, "ordinal": _ordinal, "set": _set, "counting": _counting,
    "negation": _negation}


# ---------------------------------------------------------------- what a picture shows

def changes(triplet: SceneTriplet, picture: Array) -> list[tuple[Thing, float]]:
    """Each thing of the scene, with how much a picture, (size, size, 3) uint8, changes where it is: 1 as much as the same edit of this
    thing would, 0 nothing."""
    edit, size = triplet.edit, len(picture)
    colour, found = edit.asked if edit.asked in COLOUR_NAMES else "", []
    before, now = render(edit.before, size, triplet.photo), picture.astype(np.float32) / 255
    for thing in edit.before.things:
        where = differ(before, render(edit.before.without(thing), size, triplet.photo))
        edited = done(edit.before, [thing], colour if colour != thing.colour else "")       # painting it so would show nothing
        full = np.abs(render(edited, size, triplet.photo) - before)[where].mean()
        found.append((thing, float(np.abs(now - before)[where].mean() / max(float(full), 1e-3))))
    return found


def finds_right(triplet: SceneTriplet, picture: Array) -> bool:
    """Whether a picture changes what was meant, and that more than anything else; how well it does so is the oracle's to say."""
    targets = set(triplet.edit.before.things) - set(triplet.edit.after.things)
    shares = changes(triplet, picture)
    least = min(share for thing, share in shares if thing in targets)
    return least > FAINT and least > max((share for thing, share in shares if thing not in targets), default=0.0)


def looking_words() -> frozenset[str]:
    """Every word of these instructions."""
    texts: list[str] = [*REMOVE, *PAINT, *BETWEEN, *BESIDE, *ORDINAL, *SET, *COUNTING, *ONLY_ONE, *NEGATION, *EXCEPT, *SETS, *ORDINALS,
                        *COUNTS.values(), *KINDS, *map(plural, KINDS), *COLOUR_NAMES, "left right thing one gone"]
    texts += [words for group in SUPERLATIVE.values() for words in group]
    return frozenset(re.findall(r"[a-z]+", re.sub(r"\{[a-z]*\}", " ", " ".join(texts))))
