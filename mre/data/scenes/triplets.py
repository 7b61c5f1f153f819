"""Synthetic triplets: a pure function of seed, index, split, size and photos gives instruction, original, edited and their true reward."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mre.data.scenes.defects import (
    AMOUNT,
    AMOUNT_OF_THINGS,
    CLEAN,
    GEOMETRIC,
    PHOTOMETRIC,
    Spoiling,
    damaged,
    draw_spoiling,
    grown,
    lower_quality,
    move,
    spoil_outside,
)
from mre.data.scenes.edits import Edit, draw_edit, draw_unanswerable
from mre.data.scenes.photos import piece_of
from mre.data.scenes.render import render
from mre.data.scenes.world import SPLITS, pick
from mre.errors import DataError
from mre.rewards import EDIT_TYPES, Reward

if TYPE_CHECKING:
    from mre.data.scenes.looks import Array

VERSION = "scenes-5"  # of what is drawn, and so of the rewards
CHANGED = 0.04        # a pixel belongs to a change when a channel differs by more than this
THINGS = ("local", "remove", "add", "texture")      # edit types whose edits are of single things
PHOTO_SHARE = 0.4     # of the scenes, when photos are given


@dataclass(frozen=True)
class SceneTriplet:
    """One drawn triplet. Pictures are (size, size, 3) uint8, masks (size, size) bool.

    target is the clean edit, edited the spoiled one that a model is trained on; reward holds edited's true scores and texts.
    """

    id: str
    split: str
    instruction: str
    edit_type: str
    original: Array
    target: Array
    edited: Array
    wrong: Array              # a wrong edit: another thing or another value
    target_mask: Array        # where target differs from original
    edited_mask: Array        # where edited differs from original
    reward: Reward
    kinds: tuple[str, str, str]     # kinds of the defects, "" where there is none
    edit: Edit
    spoiling: Spoiling
    photo: Array | None       # the piece of a photograph behind the things, if there is one


def draw_triplet(seed: int, index: int, split: str = "train", size: int = 128, photos: Sequence[Array] | None = None, *,
                 edit_type: str | None = None, photo_share: float = PHOTO_SHARE, spoiled: bool = True, unanswerable: float = 0.0,
                 chinese: float = 0.0) -> SceneTriplet:
    """
    photos: pictures (H, W, 3) uint8; `photo_share` of the scenes then stand before pieces of them
    edit_type: one of EDIT_TYPES, or None for all, equally likely
    spoiled: False gives edited = target and the best reward
    unanswerable: share of the scenes whose request has no answer but the untouched picture: an absent thing, or nothing known
    chinese: share of the requests in Chinese
    Raises DataError for a split, size, edit type, seed or index that cannot be.
    """
    check_draw(seed, index, split, size)
    if edit_type is not None and edit_type not in EDIT_TYPES:
        raise DataError(f"edit type must be one of {', '.join(EDIT_TYPES)}, got {edit_type!r}")
    streams = [np.random.default_rng([seed, index, SPLITS.index(split), number]) for number in range(5)]
    rng = streams[0]
    chosen = pick(rng, EDIT_TYPES)
    on_photo = bool(photos) and rng.random() < photo_share
    photo = piece_of(pick(rng, photos), rng, size) if on_photo else None
    draw = draw_unanswerable if unanswerable and rng.random() < unanswerable else draw_edit
    edit = draw(rng, split, edit_type or chosen, on_photo, chinese)
    return with_edit(f"{split}-{seed}-{index}", edit, streams[1:], split, size, photo, spoiled)


def check_draw(seed: int, index: int, split: str, size: int) -> None:
    """Raise DataError for what no triplet can be drawn of."""
    if split not in SPLITS:
        raise DataError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    if not 32 <= size <= 1024:
        raise DataError(f"size must be between 32 and 1024, got {size}")
    if min(seed, index) < 0:
        raise DataError(f"seed and index must not be negative, got {seed} and {index}")


def with_edit(name: str, edit: Edit, streams: Sequence[np.random.Generator], split: str, size: int, photo: Array | None,
              spoiled: bool) -> SceneTriplet:
    """The triplet of an edit: drawn, and spoiled by four streams of chance, one for each perspective and one for noise."""
    spoiling = draw_spoiling((streams[0], streams[1], streams[2]), edit, split) if spoiled else CLEAN
    before, after, wrong = (render(scene, size, photo) for scene in (edit.before, edit.after, edit.wrong))
    target_mask = differ(before, after)
    edited = spoil(edit, spoiling, before, after, wrong, target_mask, photo, streams[3])
    pictures = [to_bytes(picture) for picture in (before, after, edited, wrong)]
    return SceneTriplet(
        id=name, split=split, instruction=edit.instruction, edit_type=edit.edit_type,
        original=pictures[0], target=pictures[1], edited=pictures[2], wrong=pictures[3], target_mask=target_mask,
        edited_mask=differ(before, edited), reward=Reward.of(spoiling.scores, spoiling.texts), kinds=spoiling.kinds,
        edit=edit, spoiling=spoiling, photo=photo)


def spoil(edit: Edit, spoiling: Spoiling, before: Array, after: Array, wrong: Array, mask: Array, photo: Array | None,
          rng: np.random.Generator) -> Array:
    """The edit as far as it was followed, then what was not preserved, then what lowers the quality."""
    return spoil_followed(spoiling, followed(edit, spoiling, before, after, wrong, photo), mask, rng)


def followed(edit: Edit, spoiling: Spoiling, before: Array, after: Array, wrong: Array, photo: Array | None) -> Array:
    """The edit as far as it was followed, with another thing recoloured or removed if that is what was not preserved."""
    size = len(before)
    if spoiling.other is not None:
        before, after, wrong = (render(damaged(scene, spoiling), size, photo) for scene in (edit.before, edit.after, edit.wrong))
    if spoiling.kinds[0] == "half":
        assert edit.half is not None, "drawn where there is one"
        return render(damaged(edit.half, spoiling), size, photo)
    if spoiling.kinds[0] == "wrong":
        return wrong
    return before + (after - before) * np.float32(amounts_of(edit.edit_type)[spoiling.scores[0]])


def spoil_followed(spoiling: Spoiling, picture: Array, mask: Array, rng: np.random.Generator) -> Array:
    """What `followed` made, with what was not preserved around the mask, and with what lowers the quality."""
    (_, preserving, quality), (_, damage, artefact) = spoiling.scores, spoiling.kinds
    if damage in PHOTOMETRIC:
        picture = spoil_outside(picture, damage, 5 - preserving, outside_of(mask), spoiling.forms[1])
    elif damage in GEOMETRIC:
        picture = move(picture, damage, 5 - preserving, spoiling.forms[1])
    if artefact:
        picture = lower_quality(picture, artefact, 5 - quality, rng, spoiling.forms[2])
    return picture


def amounts_of(edit_type: str) -> dict[int, float]:
    """How much of an edit of this type is there at each score of following."""
    return AMOUNT_OF_THINGS if edit_type in THINGS else AMOUNT


def outside_of(mask: Array) -> Array:
    """(H, W) float32, 1 where the edit does not belong: more than 1/64 of the side away from the change."""
    return (~grown(mask, max(1, len(mask) // 64))).astype(np.float32)


def differ(a: Array, b: Array) -> Array:
    """(H, W) bool: where any channel differs by more than CHANGED."""
    away = np.abs(a - b)
    return np.maximum(np.maximum(away[..., 0], away[..., 1]), away[..., 2]) > CHANGED


def to_bytes(picture: Array) -> Array:
    return (np.clip(picture, 0, 1) * 255 + 0.5).astype(np.uint8)


def checked(triplet: SceneTriplet, picture: Array) -> Array:
    """uint8 as float32 in [0, 1]. Raises DataError for a picture that is not of the scene's size."""
    if picture.shape != triplet.original.shape or picture.dtype != np.uint8:
        raise DataError(f"picture must be uint8 {triplet.original.shape} as the scene is, got {picture.dtype} {picture.shape}")
    return picture.astype(np.float32) * np.float32(1 / 255)
