"""Whether an edit of a scene has exactly the things that were asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mre.data.scenes.pixels import halved, norm
from mre.data.scenes.render import render, window
from mre.data.scenes.triplets import checked
from mre.data.scenes.world import GROUND_SLOTS, Scene, Thing, standard_thing

if TYPE_CHECKING:
    from mre.data.scenes.looks import Array
    from mre.data.scenes.triplets import SceneTriplet

STRANGE = 0.12           # root of the mean squared difference from which an empty slot is no longer empty


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
