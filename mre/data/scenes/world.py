"""What a scene is: a backdrop, things standing on it or floating above it, and perhaps a look over all of it.

Also which combinations belong to which split: what `heldout` is drawn from, `train` never shows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

SPLITS = ("train", "heldout")
TWINS = 0.5         # how often two things are of one kind. Where a kind is alone, "the left ball" says no more than "the ball"
GROUND_KINDS = ("ball", "cube", "cone", "star", "heart", "tree", "house", "mushroom", "flower", "car")
SKY_KINDS = ("balloon", "cloud", "moon")
KINDS = GROUND_KINDS + SKY_KINDS
COLOURS = {
    "red": (0.86, 0.14, 0.13), "orange": (0.97, 0.53, 0.08), "yellow": (0.98, 0.86, 0.16), "green": (0.16, 0.64, 0.22),
    "blue": (0.13, 0.35, 0.90), "purple": (0.55, 0.20, 0.75), "pink": (0.98, 0.50, 0.72), "white": (0.95, 0.95, 0.94),
    "black": (0.11, 0.11, 0.13),
}
COLOUR_NAMES = tuple(COLOURS)
TEXTURES = ("plain", "striped", "dotted", "checkered", "wooden", "golden")
COLOURED_TEXTURES = TEXTURES[:4]                 # under the others the thing's own colour cannot be seen
BACKDROPS = ("meadow", "desert", "snow", "beach", "night", "mountains", "city", "space")
GROUND_SLOTS = {"left": 0.20, "middle": 0.50, "right": 0.80}                       # x of the centre
SKY_SLOTS = {"sky left": 0.20, "sky": 0.50, "sky right": 0.80}
SLOTS = GROUND_SLOTS | SKY_SLOTS
GROUND_Y, SKY_Y = 0.80, 0.17                     # where things stand, and where the centre of floating ones is
THING_RADIUS = {"ground": 0.145, "sky": 0.11}    # of the side; what is added is always of this size and in the middle of its slot
HELDOUT_MOODS = (0.42, 0.58)                     # backdrops of this mood are held out


@dataclass(frozen=True)
class Thing:
    """One drawn object. x, y and radius are fractions of the picture's side; y is the foot on the ground, the centre in the sky."""

    kind: str
    colour: str
    texture: str
    slot: str
    x: float
    y: float
    radius: float

    @property
    def in_sky(self) -> bool:
        return self.slot in SKY_SLOTS


@dataclass(frozen=True)
class Backdrop:
    """A drawn landscape (`kind` of BACKDROPS), or the photograph that comes with the scene (`kind` is "photo")."""

    kind: str
    seed: int = 0
    mood: float = 0.3        # 0..1 through the palettes of the kind
    horizon: float = 0.52    # fraction of the height


@dataclass(frozen=True)
class Scene:
    """Everything that is in a picture."""

    backdrop: Backdrop
    things: tuple[Thing, ...] = ()
    look: str | None = None     # a name in looks.LOOKS

    def without(self, *gone: Thing) -> Scene:
        return replace(self, things=tuple(thing for thing in self.things if thing not in gone))

    def with_changed(self, old: Thing, **changes: object) -> Scene:
        return replace(self, things=tuple(replace(thing, **changes) if thing == old else thing for thing in self.things))

    def with_added(self, *new: Thing) -> Scene:
        return replace(self, things=self.things + new)

    def free_slots(self, slots: dict[str, float] = SLOTS) -> list[str]:
        taken = {thing.slot for thing in self.things}
        return [slot for slot in slots if slot not in taken]


def colours_of(kind: str, split: str) -> tuple[str, ...]:
    """The colours in which `split` shows things of this kind: two of the nine are held out for each kind."""
    first = KINDS.index(kind)
    held = {COLOUR_NAMES[first % len(COLOURS)], COLOUR_NAMES[(first + 4) % len(COLOURS)]}
    return tuple(name for name in COLOUR_NAMES if (name in held) == (split == "heldout"))


def textures_of(kind: str, split: str) -> tuple[str, ...]:
    """The textures in which `split` shows things of this kind: plain everywhere, and one of the five others is held out for each kind."""
    held = TEXTURES[1 + KINDS.index(kind) % (len(TEXTURES) - 1)]
    return tuple(name for name in TEXTURES if name == "plain" or (name == held) == (split == "heldout"))


def standard_thing(kind: str, colour: str, slot: str, texture: str = "plain") -> Thing:
    """A thing as an edit adds it: always of the same size and in the middle of its slot, so that the instruction says it all."""
    sky = slot in SKY_SLOTS
    return Thing(kind, colour, texture, slot, SLOTS[slot], SKY_Y if sky else GROUND_Y, THING_RADIUS["sky" if sky else "ground"])


def pick(rng: np.random.Generator, options):
    """One of the options, all equally likely."""
    return options[int(rng.random() * len(options))]


def draw_backdrop(rng: np.random.Generator, split: str, kind: str | None = None) -> Backdrop:
    """A drawn landscape of the split: held-out ones have a mood within HELDOUT_MOODS and odd seeds."""
    low, high = HELDOUT_MOODS
    mood = rng.random()
    if split == "heldout":
        mood = low + mood * (high - low)
    else:
        mood = mood * (1 - (high - low))
        mood += (high - low) if mood >= low else 0.0
    seed = 2 * int(rng.random() * 5000) + (split == "heldout")
    return Backdrop(kind or pick(rng, BACKDROPS), seed, float(mood), float(0.44 + 0.14 * rng.random()))


def draw_thing(rng: np.random.Generator, split: str, slot: str, kind: str | None = None) -> Thing:
    """A thing of the split in a slot, somewhat off its middle and of any size."""
    sky = slot in SKY_SLOTS
    kind = kind or pick(rng, SKY_KINDS if sky else GROUND_KINDS)
    colour = pick(rng, colours_of(kind, split))
    options = [texture for texture in textures_of(kind, split) if texture in COLOURED_TEXTURES]
    texture = "plain" if rng.random() < 0.7 else pick(rng, options)
    x = SLOTS[slot] + 0.05 * (rng.random() - 0.5)
    y = (SKY_Y + 0.05 * (rng.random() - 0.5)) if sky else (GROUND_Y + 0.10 * (rng.random() - 0.5))
    radius = (0.09 + 0.045 * rng.random()) if sky else (0.115 + 0.05 * rng.random())
    return Thing(kind, colour, texture, slot, float(x), float(y), float(radius))


def draw_scene(rng: np.random.Generator, split: str, photo: bool = False, count: int | None = None,
               kinds: Sequence[str] = BACKDROPS) -> Scene:
    """A backdrop, one of these `kinds` or a photo, with 1-4 things (or `count`): up to three on the ground, the rest in the sky.

    Often two are of one kind (TWINS).
    """
    backdrop = Backdrop("photo") if photo else draw_backdrop(rng, split, pick(rng, kinds))
    if count is None:
        count = (1, 2, 2, 3, 3, 4)[int(rng.random() * 6)]
    ground = list(GROUND_SLOTS)
    rng.shuffle(ground)
    in_sky = 1 if count == 4 or (count > 1 and rng.random() < 0.3) else 0
    slots = ground[:count - in_sky] + ([pick(rng, list(SKY_SLOTS))] if in_sky else [])
    things: list[Thing] = []
    twins = rng.random() < TWINS
    for number, slot in enumerate(slots):
        seen = {thing.kind for thing in things}
        if twins and number == 1 and slot in GROUND_SLOTS:
            thing = draw_thing(rng, split, slot, things[0].kind)
        else:
            unseen = [kind for kind in (SKY_KINDS if slot in SKY_SLOTS else GROUND_KINDS) if kind not in seen]
            thing = draw_thing(rng, split, slot, pick(rng, unseen))
        things.append(thing)
    return Scene(backdrop, tuple(things))
