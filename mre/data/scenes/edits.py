"""The seven edit types: what is asked, in words, and what the scene is before, after, and after a wrong edit.

Also requests that have no answer: for a thing that the scene lacks, or for nothing that scenes have. After them all is as before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mre.data.scenes.concepts import Asked, definite, indefinite, phrases
from mre.data.scenes.looks import GLOBAL_LOOKS, LOOKS, OPPOSITES, STYLE_LOOKS
from mre.data.scenes.requests import draw_absent, draw_nothing, worded
from mre.data.scenes.world import (
    BACKDROPS,
    COLOURED_TEXTURES,
    GROUND_KINDS,
    GROUND_SLOTS,
    SKY_KINDS,
    SKY_SLOTS,
    Scene,
    Thing,
    colours_of,
    draw_backdrop,
    draw_scene,
    pick,
    standard_thing,
    textures_of,
)

ABSENT = 0.5                                  # of the requests without an answer: for a thing that is not there; the rest mean nothing
FREE_ORDER = ("middle", "left", "right")      # where a single thing goes when no place is named
TWO_ORDER = ("left", "right", "middle")       # where two go


NOTHING_ASKED = Asked()


@dataclass(frozen=True)
class Edit:
    """One edit of a scene. `half`, where there is one, is the scene with only one of two things done."""

    edit_type: str
    operation: str          # such as "recolour", "add two", "winter": the cell in which results can be told apart
    instruction: str
    before: Scene
    after: Scene
    wrong: Scene
    half: Scene | None
    named: str              # what the texts of a judge call the thing, or the picture
    asked: str              # what it should have become
    request: Asked = NOTHING_ASKED  # what the instruction says, slot by slot
    nothing: bool = False           # whether the right answer is the untouched picture


class Draw:
    """What an edit is drawn from: random numbers, the split, whether it stands before a photo, and how often it is asked in Chinese."""

    def __init__(self, rng: np.random.Generator, split: str, photo: bool, chinese: float = 0.0) -> None:
        self.rng, self.split, self.photo, self.chinese = rng, split, photo, chinese

    def text(self, asked: Asked) -> str:
        return worded(self.rng, asked, self.split, chinese=self.chinese).text

    def scene(self, count: int | None = None, kinds: Sequence[str] = BACKDROPS) -> Scene:
        return draw_scene(self.rng, self.split, self.photo, count, kinds)


def draw_edit(rng: np.random.Generator, split: str, edit_type: str, photo: bool, chinese: float = 0.0) -> Edit:
    """An edit of this type, in the wordings, combinations and backdrops of the split."""
    return DRAW[edit_type](Draw(rng, split, photo, chinese))


def draw_unanswerable(rng: np.random.Generator, split: str, edit_type: str, photo: bool, chinese: float = 0.0) -> Edit:
    """A request whose right answer is the untouched picture: for an absent thing (edit types that name one), or for nothing known."""
    edit = draw_edit(rng, split, edit_type, photo, chinese)
    kinds = [thing.kind for thing in edit.before.things]
    absent = rng.random() < ABSENT and edit_type in ("local", "remove", "texture")
    request = (draw_absent(rng, edit.request, kinds, split, chinese=chinese) if absent else draw_nothing(rng, split, chinese=chinese))
    wrong = edit.wrong if edit.wrong != edit.before else edit.after
    return replace(edit, operation="absent" if absent else "nothing", instruction=request.text, after=edit.before, wrong=wrong, half=None,
                   named="the picture", asked="untouched", request=request.asked, nothing=True)


def reference(rng: np.random.Generator, thing: Thing, scene: Scene) -> tuple[str, str]:
    """(of_colour, place) that mean this thing and no other of its kind in the scene; one of them or both are ""."""
    same = [other for other in scene.things if other.kind == thing.kind]
    draw = rng.random()
    visible = thing.texture in COLOURED_TEXTURES
    if len(same) == 1:
        if draw < 0.5:
            return "", ""
        if draw < 0.8 and visible:
            return thing.colour, ""
        return "", thing.slot if thing.slot in GROUND_SLOTS else "sky"
    if visible and draw < 0.45 and sum(other.colour == thing.colour for other in same) == 1:
        return thing.colour, ""
    ordered = sorted(same, key=lambda other: other.x)
    return "", {0: "left", len(ordered) - 1: "right"}.get(ordered.index(thing), "middle")


def twins(scene: Scene) -> list[Thing]:
    """Two or more things of one kind, if there are."""
    for thing in scene.things:
        same = [other for other in scene.things if other.kind == thing.kind]
        if len(same) > 1:
            return same
    return []


def _local(draw: Draw) -> Edit:
    rng, split, scene = draw.rng, draw.split, draw.scene()
    pair = twins(scene)
    if len(pair) == 2 and rng.random() < 0.35:
        options = [c for c in colours_of(pair[0].kind, split) if all(c != thing.colour for thing in pair)]
        if options:
            return _recolour_both(draw, scene, pair, pick(rng, options))
    thing = pick(rng, scene.things)
    colour = pick(rng, [c for c in colours_of(thing.kind, split) if c != thing.colour])
    asked = Asked("recolour", thing.kind, colour, *reference(rng, thing, scene))
    after = scene.with_changed(thing, colour=colour)
    others = [t for t in scene.things if t != thing and colour in colours_of(t.kind, "train") and t.colour != colour]
    if others and rng.random() < 0.7:
        wrong = scene.with_changed(pick(rng, others), colour=colour)
    else:
        wrong = scene.with_changed(thing, colour=pick(rng, [c for c in colours_of(thing.kind, "train") if c not in (colour, thing.colour)]))
    return Edit("local", "recolour", draw.text(asked), scene, after, wrong, None, definite(asked), colour, asked)


def _recolour_both(draw: Draw, scene: Scene, pair: list[Thing], colour: str) -> Edit:
    asked = Asked("recolour", pair[0].kind, colour, count=2)
    half = scene.with_changed(pair[0], colour=colour)
    after = half.with_changed(pair[1], colour=colour)
    other = pick(draw.rng, [c for c in colours_of(pair[0].kind, "train") if c != colour and all(c != thing.colour for thing in pair)])
    wrong = scene.with_changed(pair[0], colour=other).with_changed(pair[1], colour=other)
    return Edit("local", "recolour both", draw.text(asked), scene, after, wrong, half, definite(asked), colour, asked)


def _remove(draw: Draw) -> Edit:
    rng, scene = draw.rng, draw.scene()
    pair = twins(scene)
    if len(pair) == 2 and rng.random() < 0.35:
        asked = Asked("remove", pair[0].kind, count=2)
        after, half, targets = scene.without(*pair), scene.without(pair[0]), pair
    else:
        thing = pick(rng, scene.things)
        asked = Asked("remove", thing.kind, "", *reference(rng, thing, scene))
        after, half, targets = scene.without(thing), None, [thing]
    others = [t for t in scene.things if t not in targets]
    if others:
        wrong = scene.without(pick(rng, others))
    else:
        wrong = scene
        for thing in targets:
            wrong = wrong.with_changed(thing, colour=pick(rng, [c for c in colours_of(thing.kind, "train") if c != thing.colour]))
    return Edit("remove", "remove both" if half else "remove", draw.text(asked), scene, after, wrong, half, definite(asked), "gone", asked)


def _add(draw: Draw) -> Edit:
    rng, split = draw.rng, draw.split
    count = 2 if rng.random() < 0.25 else 1
    most = 1 if count == 2 else 2
    scene = draw.scene(int(rng.random() * (most + 1)))
    free = scene.free_slots(GROUND_SLOTS)
    sky = count == 1 and rng.random() < 0.25 and len(scene.free_slots(SKY_SLOTS)) == 3
    kind = pick(rng, SKY_KINDS if sky else GROUND_KINDS)
    colour = pick(rng, colours_of(kind, split))
    asked = Asked("add", kind, colour, count=count)
    if count == 2:
        slots = [slot for slot in TWO_ORDER if slot in free][:2]
    elif sky:
        slots = [pick(rng, tuple(SKY_SLOTS))]
        asked = replace(asked, place=slots[0])
    else:
        slot, place, beside = _place_one(rng, scene, free)
        asked, slots = replace(asked, place=place, beside=beside), [slot]
    new = tuple(standard_thing(kind, colour, slot) for slot in slots)
    after = scene.with_added(*new)
    half = scene.with_added(new[0]) if count == 2 else None
    kinds = [k for k in (SKY_KINDS if sky else GROUND_KINDS) if k != kind]
    wrong_kind = pick(rng, kinds)
    wrong_colour = pick(rng, [c for c in colours_of(wrong_kind, "train") if c != colour])
    wrong = scene.with_added(*(standard_thing(wrong_kind, wrong_colour, slot) for slot in slots))
    elsewhere = [slot for slot in scene.free_slots(SKY_SLOTS if sky else GROUND_SLOTS) if slot not in slots]
    if count == 1 and elsewhere and rng.random() < 0.4:
        wrong = scene.with_added(standard_thing(kind, colour, pick(rng, elsewhere)))
    return Edit("add", "add two" if count == 2 else "add", draw.text(asked), scene, after, wrong, half, indefinite(asked), "there", asked)


def _place_one(rng: np.random.Generator, scene: Scene, free: list[str]) -> tuple[str, str, str]:
    """Slot of a single new thing on the ground, and (place, beside) by which it is asked for; both are "" where no place is named."""
    draw = rng.random()
    if draw < 0.25:
        return next(slot for slot in FREE_ORDER if slot in free), "", ""
    order = list(GROUND_SLOTS)
    beside = [(slot, side, t) for t in scene.things if t.slot in order
              for side, step in (("left", -1), ("right", 1)) for slot in [_neighbour(order, t.slot, step)] if slot in free]
    if beside and draw < 0.5:
        slot, side, anchor = pick(rng, beside)
        if sum(t.kind == anchor.kind for t in scene.things) == 1:
            return slot, side, anchor.kind
    slot = pick(rng, free)
    return slot, slot, ""


def _neighbour(order: list[str], slot: str, step: int) -> str | None:
    place = order.index(slot) + step
    return order[place] if 0 <= place < len(order) else None


def _texture(draw: Draw) -> Edit:
    rng, split, scene = draw.rng, draw.split, draw.scene()
    thing = pick(rng, scene.things)
    if thing.texture == "plain" or rng.random() < 0.6:
        options = [t for t in textures_of(thing.kind, split) if t not in ("plain", thing.texture)]
        if not options:      # a held-out kind shows one texture only; it starts plain then
            scene = scene.with_changed(thing, texture="plain")
            thing = next(t for t in scene.things if t.slot == thing.slot)
            options = [t for t in textures_of(thing.kind, split) if t != "plain"]
        texture = pick(rng, options)
    else:
        texture = "plain"
    asked = Asked(f"texture:{texture}", thing.kind, "", *reference(rng, thing, scene))
    after = scene.with_changed(thing, texture=texture)
    others = [t for t in scene.things if t != thing and texture in textures_of(t.kind, "train") and t.texture != texture]
    if others and rng.random() < 0.6:
        wrong = scene.with_changed(pick(rng, others), texture=texture)
    else:
        options = [t for t in textures_of(thing.kind, "train") if t not in (texture, thing.texture, "plain")]
        wrong = scene.with_changed(thing, texture=pick(rng, options))
    adjective = phrases("textures", texture, "adj")[0]
    return Edit("texture", texture, draw.text(asked), scene, after, wrong, None, definite(asked), adjective, asked)


def _background(draw: Draw) -> Edit:
    """Any of many landscapes of the kind that is asked for: the target is one of them, and the oracle takes the others too."""
    rng, split, scene = draw.rng, draw.split, draw.scene()
    kinds = [kind for kind in BACKDROPS if kind != scene.backdrop.kind]
    kind = pick(rng, kinds)
    other = pick(rng, [k for k in kinds if k != kind])
    asked = Asked(f"background:{kind}")
    return Edit("background", kind, draw.text(asked), scene, replace(scene, backdrop=draw_backdrop(rng, split, kind)),
                replace(scene, backdrop=draw_backdrop(rng, "train", other)), None, "the background",
                phrases("backgrounds", kind, "noun")[0], asked)


def _global(draw: Draw) -> Edit:
    return _look(draw, "global")


def _style(draw: Draw) -> Edit:
    return _look(draw, "style")


def landscapes_of(look: str, split: str) -> list[str]:
    """The drawn landscapes on which `split` shows a look: two of the eight are held out for each look."""
    first = list(LOOKS).index(look)
    held = {BACKDROPS[first % len(BACKDROPS)], BACKDROPS[(first + 3) % len(BACKDROPS)]}
    return [kind for kind in BACKDROPS if (kind in held) == (split == "heldout")]


def _look(draw: Draw, edit_type: str) -> Edit:
    rng = draw.rng
    look = pick(rng, list(GLOBAL_LOOKS if edit_type == "global" else STYLE_LOOKS))
    scene = draw.scene(0 if draw.photo and rng.random() < 0.6 else None, landscapes_of(look, draw.split))
    asked = Asked(f"{edit_type}:{look}")
    return Edit(edit_type, look, draw.text(asked), scene, replace(scene, look=look), replace(scene, look=OPPOSITES[look]), None,
                "the picture", look.replace("_", " "), asked)


DRAW: dict[str, Callable[[Draw], Edit]] = {
    "local": _local, "remove": _remove, "add": _add, "texture": _texture, "background": _background, "global": _global, "style": _style}
