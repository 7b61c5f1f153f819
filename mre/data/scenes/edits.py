"""The seven edit types: what is asked, in words, and what the scene is before, after, and after a wrong edit."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from mre.data.scenes import wordings
from mre.data.scenes.looks import GLOBAL_LOOKS, OPPOSITES, STYLE_LOOKS
from mre.data.scenes.world import (
    BACKDROPS,
    GROUND_KINDS,
    GROUND_SLOTS,
    SKY_KINDS,
    SKY_SLOTS,
    Scene,
    Thing,
    colours_of,
    draw_scene,
    edited_backdrop,
    pick,
    standard_thing,
    textures_of,
)

FREE_ORDER = ("middle", "left", "right")      # where a single thing goes when no place is named
TWO_ORDER = ("left", "right", "middle")       # where two go


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


def draw_edit(rng: np.random.Generator, split: str, edit_type: str, photo: bool) -> Edit:
    """An edit of this type, in the wordings, combinations and backdrops of the split."""
    return DRAW[edit_type](rng, split, photo)


def twins(scene: Scene) -> list[Thing]:
    """Two or more things of one kind, if there are."""
    for thing in scene.things:
        same = [other for other in scene.things if other.kind == thing.kind]
        if len(same) > 1:
            return same
    return []


def _local(rng: np.random.Generator, split: str, photo: bool) -> Edit:
    scene = draw_scene(rng, split, photo)
    pair = twins(scene)
    if len(pair) == 2 and rng.random() < 0.35:
        options = [c for c in colours_of(pair[0].kind, split) if all(c != thing.colour for thing in pair)]
        if options:
            return _recolour_both(rng, split, scene, pair, pick(rng, options))
    thing = pick(rng, scene.things)
    colour = pick(rng, [c for c in colours_of(thing.kind, split) if c != thing.colour])
    it = wordings.refer(rng, thing, scene)
    after = scene.with_changed(thing, colour=colour)
    others = [t for t in scene.things if t != thing and colour in colours_of(t.kind, "train") and t.colour != colour]
    if others and rng.random() < 0.7:
        wrong = scene.with_changed(pick(rng, others), colour=colour)
    else:
        wrong = scene.with_changed(thing, colour=pick(rng, [c for c in colours_of(thing.kind, "train") if c not in (colour, thing.colour)]))
    text = wordings.worded(rng, "recolour", split, it=it, colour=colour)
    return Edit("local", "recolour", wordings.typed(rng, text), scene, after, wrong, None, it, colour)


def _recolour_both(rng: np.random.Generator, split: str, scene: Scene, pair: list[Thing], colour: str) -> Edit:
    it = pick(rng, ("both {}", "both {}", "all the {}")).format(wordings.PLURALS[pair[0].kind])
    half = scene.with_changed(pair[0], colour=colour)
    after = half.with_changed(pair[1], colour=colour)
    other = pick(rng, [c for c in colours_of(pair[0].kind, "train") if c != colour and all(c != thing.colour for thing in pair)])
    wrong = scene.with_changed(pair[0], colour=other).with_changed(pair[1], colour=other)
    text = wordings.worded(rng, "recolour", split, it=it, colour=colour)
    return Edit("local", "recolour both", wordings.typed(rng, text), scene, after, wrong, half, it, colour)


def _remove(rng: np.random.Generator, split: str, photo: bool) -> Edit:
    scene = draw_scene(rng, split, photo)
    pair = twins(scene)
    if len(pair) == 2 and rng.random() < 0.35:
        it = pick(rng, ("both {}", "both {}", "all the {}")).format(wordings.PLURALS[pair[0].kind])
        after, half, targets = scene.without(*pair), scene.without(pair[0]), pair
    else:
        thing = pick(rng, scene.things)
        it = wordings.refer(rng, thing, scene)
        after, half, targets = scene.without(thing), None, [thing]
    others = [t for t in scene.things if t not in targets]
    if others:
        wrong = scene.without(pick(rng, others))
    else:
        wrong = scene
        for thing in targets:
            wrong = wrong.with_changed(thing, colour=pick(rng, [c for c in colours_of(thing.kind, "train") if c != thing.colour]))
    text = wordings.worded(rng, "remove", split, it=it)
    return Edit("remove", "remove both" if half else "remove", wordings.typed(rng, text), scene, after, wrong, half, it, "gone")


def _add(rng: np.random.Generator, split: str, photo: bool) -> Edit:
    count = 2 if rng.random() < 0.25 else 1
    most = 1 if count == 2 else 2
    scene = draw_scene(rng, split, photo, count=int(rng.random() * (most + 1)))
    free = scene.free_slots(GROUND_SLOTS)
    sky = count == 1 and rng.random() < 0.25 and len(scene.free_slots(SKY_SLOTS)) == 3
    kind = pick(rng, SKY_KINDS if sky else GROUND_KINDS)
    colour = pick(rng, colours_of(kind, split))
    if count == 2:
        slots = [slot for slot in TWO_ORDER if slot in free][:2]
        phrase, place = f"two {colour} {wordings.PLURALS[kind]}", pick(rng, wordings.NOWHERE)
    elif sky:
        slots = [pick(rng, ("sky", "sky left", "sky right"))]
        phrase = wordings.article(f"{colour} {kind}")
        place = " in the sky" if slots == ["sky"] and rng.random() < 0.7 else pick(rng, wordings.PLACES[slots[0]])
    else:
        phrase = ("another " if any(t.kind == kind for t in scene.things) and rng.random() < 0.7 else "") + f"{colour} {kind}"
        phrase = phrase if phrase.startswith("another") else wordings.article(phrase)
        slot, place = _place_one(rng, scene, free)
        slots = [slot]
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
    text = wordings.worded(rng, "add", split, a=phrase, place=place)
    return Edit("add", "add two" if count == 2 else "add", wordings.typed(rng, text), scene, after, wrong, half, phrase, "there")


def _place_one(rng: np.random.Generator, scene: Scene, free: list[str]) -> tuple[str, str]:
    """Slot of a single new thing on the ground, and the words for it: named, beside another thing, or not named at all."""
    draw = rng.random()
    if draw < 0.25:
        return next(slot for slot in FREE_ORDER if slot in free), pick(rng, wordings.NOWHERE)
    order = list(GROUND_SLOTS)
    beside = [(slot, side, t) for t in scene.things if t.slot in order
              for side, step in (("left", -1), ("right", 1)) for slot in [_neighbour(order, t.slot, step)] if slot in free]
    if beside and draw < 0.5:
        slot, side, anchor = pick(rng, beside)
        if sum(t.kind == anchor.kind for t in scene.things) == 1:
            return slot, f" to the {side} of the {anchor.kind}"
    slot = pick(rng, free)
    return slot, pick(rng, wordings.PLACES[slot])


def _neighbour(order: list[str], slot: str, step: int) -> str | None:
    place = order.index(slot) + step
    return order[place] if 0 <= place < len(order) else None


def _texture(rng: np.random.Generator, split: str, photo: bool) -> Edit:
    scene = draw_scene(rng, split, photo)
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
    it = wordings.refer(rng, thing, scene)
    after = scene.with_changed(thing, texture=texture)
    others = [t for t in scene.things if t != thing and texture in textures_of(t.kind, "train") and t.texture != texture]
    if others and rng.random() < 0.6:
        wrong = scene.with_changed(pick(rng, others), texture=texture)
    else:
        options = [t for t in textures_of(thing.kind, "train") if t not in (texture, thing.texture, "plain")]
        wrong = scene.with_changed(thing, texture=pick(rng, options))
    adjectives, patterns = wordings.TEXTURE_WORDS[texture]
    if texture == "plain" and split == "train" and rng.random() < 0.5:
        pattern = wordings.TEXTURE_WORDS[thing.texture][1][0]
        text = pick(rng, wordings.UNTEXTURE).format(it=it, pattern=pattern)
    else:
        text = wordings.worded(rng, "texture", split, it=it, adjective=pick(rng, adjectives), pattern=pick(rng, patterns))
    return Edit("texture", texture, wordings.typed(rng, text), scene, after, wrong, None, it, adjectives[0])


def _background(rng: np.random.Generator, split: str, photo: bool) -> Edit:
    scene = draw_scene(rng, split, photo)
    kinds = [kind for kind in BACKDROPS if kind != scene.backdrop.kind]
    kind = pick(rng, kinds)
    other = pick(rng, [k for k in kinds if k != kind])
    scene_noun, where = pick(rng, wordings.SCENE_NOUNS[kind]), pick(rng, wordings.SCENE_PLACES[kind])
    text = wordings.worded(rng, "background", split, scene=scene_noun, where=where)
    return Edit("background", kind, wordings.typed(rng, text), scene, replace(scene, backdrop=edited_backdrop(kind)),
                replace(scene, backdrop=edited_backdrop(other)), None, "the background", wordings.SCENE_NOUNS[kind][0])


def _global(rng: np.random.Generator, split: str, photo: bool) -> Edit:
    return _look(rng, split, photo, "global")


def _style(rng: np.random.Generator, split: str, photo: bool) -> Edit:
    return _look(rng, split, photo, "style")


def _look(rng: np.random.Generator, split: str, photo: bool, edit_type: str) -> Edit:
    looks = GLOBAL_LOOKS if edit_type == "global" else STYLE_LOOKS
    look = pick(rng, list(looks))
    scene = draw_scene(rng, split, photo, count=0 if photo and rng.random() < 0.6 else None)
    if split == "train" and rng.random() < 0.25:
        text = pick(rng, wordings.SAYINGS[look])
    elif edit_type == "global":
        text = wordings.worded(rng, "look", split, adjective=pick(rng, wordings.ADJECTIVES[look]))
        text = wordings.smoothed(text)
    else:
        text = wordings.worded(rng, "style", split, noun=pick(rng, wordings.STYLE_NOUNS[look]))
    return Edit(edit_type, look, wordings.typed(rng, text), scene, replace(scene, look=look), replace(scene, look=OPPOSITES[look]), None,
                "the picture", look.replace("_", " "))


DRAW = {"local": _local, "remove": _remove, "add": _add, "texture": _texture, "background": _background, "global": _global, "style": _style}
