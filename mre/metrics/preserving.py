"""Preserving measured: how far an edit moved, enlarged or tinted the picture, and what it changed where it should not have.

Everything is measured between two pictures, without a model or a judge: shift and zoom (`mre.metrics.alignment`), colour drift of what
was not edited, the region that clearly changed once these are allowed for, and the difference that is left outside the edit. What two
pictures do not tell is None.

Without a mask everything that clearly changed counts as the edit, so that a thing changed by mistake is not told from one changed on
purpose. Of an edit of the whole picture ("make it night") the colour drift is the edit itself.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from PIL import Image
from scipy import ndimage

from mre.metrics.alignment import FINE_SIDE, STILL, Alignment, find_alignment

Array = np.ndarray

DIFFERENT = 10.0             # levels of 255; more in any channel is a changed pixel (4 %, as the scenes have it)
CLEARLY = 24.0               # levels; a changed region reaches this somewhere
SOFT = 1.2                   # pixels; sigma of the smoothing under which noise of an autoencoder is no change
SLACK = 0.35                 # pixels that an edge may be beside its place, and no change either
LEAST_SPOT = 0.0004          # share of the picture below which a changed spot is none
EXPLAINED = 4.0              # levels to which a colour model explains a block
DRAWS = 96                   # colour models that are tried
LEAST_EXPLAINED = 0.04       # share of the blocks that a colour model must explain to be believed
MOST_EXPLAINED = 0.5         # the same of pictures that could not be aligned
WHOLE = 0.9                  # share of the picture from which on an edit has no outside
COLOUR_BLOCKS = 64           # along the longer side


@dataclass(frozen=True)
class Preserving:
    """What an edit did to the rest of the picture. None: not measurable."""

    dx: float | None                                # shift to the right, pixels of the original
    dy: float | None                                # shift down
    zoom: float | None                              # ratio; above 1: enlarged
    drift: tuple[float, float, float] | None        # mean change of red, green, blue outside the edit, levels of 255
    changed: float                                  # share of the picture that clearly changed, shift, zoom and drift allowed for
    outside_share: float | None                     # share of the pixels outside the edit that differ by more than 10 levels
    outside_size: float | None                      # mean difference outside the edit, levels
    alignment: Alignment | None = None

    @property
    def shift(self) -> float | None:
        """Length of the shift, pixels of the original."""
        return None if self.alignment is None else self.alignment.shift

    @property
    def colour_drift(self) -> float | None:
        """The drift of the channel that drifts most, levels."""
        return None if self.drift is None else max(abs(level) for level in self.drift)


def measure_preserving(original: Image.Image, edited: Image.Image, mask: Image.Image | Array | None = None) -> Preserving:
    """What the edit did to the picture outside what was to change.

    original, edited: RGB pictures; an edited picture of another size is brought to the original's
    mask: what was to change, a picture (white) or (H, W) bool of the original's size; None: what clearly changed
    Raises ValueError for a mask of another size.
    """
    return Comparison(original, edited, mask).measured()


@functools.cache
def measure_version() -> str:
    """Names the code that measures, so that figures of another version are not taken for its own."""
    folder = Path(__file__).parent
    digest = hashlib.sha256(b"".join((folder / name).read_bytes() for name in ("alignment.py", "preserving.py")))
    return f"measured-{digest.hexdigest()[:8]}"


class Comparison:
    """An original and its edit, laid on each other: alignment, colours, and the map of what changed.

    Arrays are (h, w) or (h, w, 3) of the pictures with their longer side at 768 pixels, or their own where it is smaller.
    """

    def __init__(self, original: Image.Image, edited: Image.Image, mask: Image.Image | Array | None = None) -> None:
        original = original.convert("RGB")
        edited = edited.convert("RGB")
        if edited.size != original.size:
            edited = edited.resize(original.size, Image.Resampling.LANCZOS)
        self.edited = edited                                            # of the original's size
        full_mask = None if mask is None else as_mask(mask, original.size)
        hidden = full_mask if full_mask is not None and full_mask.mean() <= WHOLE else None      # of a whole picture all else says nothing
        self.alignment = find_alignment(original, edited, hidden)
        scale = min(1.0, FINE_SIDE / max(original.size))
        self.size = max(1, round(original.width * scale)), max(1, round(original.height * scale))
        small = [picture.resize(self.size, Image.Resampling.LANCZOS, reducing_gap=3.0) if picture.size != self.size else picture
                 for picture in (original, edited)]
        self.before, self.raw = (np.asarray(picture, np.float32) for picture in small)         # (h, w, 3), levels
        self.mask = None if full_mask is None else reduced_mask(full_mask, self.size)
        place = (self.alignment or STILL).scaled(scale)
        self.after = np.asarray(place.undone(small[1]) if is_moved(place, self.size) else small[1], np.float32)
        left, top, right, bottom = place.covered(self.size)
        self.valid = np.zeros(self.before.shape[:2], bool)
        self.valid[top:bottom, left:right] = True
        self.colours = self._colours()                                  # (gain, offset), each (3,), or None
        self.difference = self._difference()
        self.region = self._region()

    def measured(self) -> Preserving:
        edit = self.mask if self.mask is not None else grown(self.region, 2)
        outside = ~edit
        away = np.abs(self.raw - self.before)
        share = size = None
        if outside.mean() > 1 - WHOLE:
            share, size = float((away.max(axis=2) > DIFFERENT)[outside].mean()), float(away[outside].mean())
        place = self.alignment
        return Preserving(place and place.dx, place and place.dy, place and place.zoom, self._drift(outside), float(self.region.mean()),
                          share, size, place)

    def _colours(self) -> tuple[Array, Array] | None:
        """The gain and offset of each channel that take most blocks of the original to the edited picture's."""
        usable = self.valid if self.mask is None else self.valid & ~self.mask
        before, after = block_means(self.before, self.after, usable)
        if len(before) < 8:
            return None
        rng = np.random.default_rng(0)
        models = [(np.ones(3), np.zeros(3))]
        for _ in range(DRAWS):
            one, two = rng.choice(len(before), 2, replace=False)
            models.append((np.ones(3), after[one] - before[one]))
            apart = before[one] - before[two]
            if np.abs(apart).min() > 12:
                gain = (after[one] - after[two]) / apart
                if gain.min() > 0.3 and gain.max() < 2:
                    models.append((gain, after[one] - gain * before[one]))
        few = slice(None, None, max(1, len(before) // 1000))
        best = max(models, key=lambda model: _explained(model, before[few], after[few]).sum())
        for _ in range(8):
            best = _refitted(best, before, after)
        least = LEAST_EXPLAINED if self.alignment else MOST_EXPLAINED
        return best if _explained(best, before, after).mean() >= least else None

    def _difference(self) -> Array:
        """Levels by which the aligned edit differs from the original with the drift allowed for, in the channel that differs most."""
        gain, offset = self.colours or (np.ones(3), np.zeros(3))
        expected = (self.before * gain + offset).clip(0, 255).astype(np.float32)
        sigma = (SOFT, SOFT, 0)
        after = np.where(self.valid[..., None], self.after, expected)
        expected, after = ndimage.gaussian_filter(expected, sigma), ndimage.gaussian_filter(after, sigma)
        slope = np.hypot(np.gradient(expected, axis=0), np.gradient(expected, axis=1))
        return (np.abs(after - expected) - SLACK * slope).max(axis=2)

    def _region(self) -> Array:
        """(h, w) bool: what clearly changed, without specks and holes."""
        changed = self.difference > DIFFERENT
        labelled = ndimage.label(np.asarray(ndimage.binary_closing(changed, iterations=2), bool) | changed)
        areas, count = cast(tuple[Array, int], labelled)            # as no `output` is given
        if not count:
            return np.zeros(self.valid.shape, bool)
        numbers = np.arange(count + 1)
        strongest = np.asarray(ndimage.maximum(self.difference, areas, numbers))
        sizes = np.bincount(areas.ravel(), minlength=count + 1)
        kept = (strongest > CLEARLY) & (sizes > max(8, LEAST_SPOT * areas.size))
        kept[0] = False
        return np.asarray(ndimage.binary_fill_holes(kept[areas]))

    def _drift(self, outside: Array) -> tuple[float, float, float] | None:
        """Mean change of each channel where nothing else changed; clipped values say less than the truth, and are left out."""
        if self.colours is None:
            return None
        same = outside & self.valid & (self.difference < DIFFERENT)
        if same.mean() < LEAST_EXPLAINED:
            return None
        drifts = []
        for channel in range(3):
            after = self.after[..., channel]
            whole = same & (after > 1) & (after < 254)
            whole = whole if whole.sum() > 0.05 * same.sum() else same
            drifts.append(float((after - self.before[..., channel])[whole].mean()))
        return tuple(drifts)


def as_mask(mask: Image.Image | Array, size: tuple[int, int]) -> Array:
    """(H, W) bool of a mask of pictures of (width, height): white, or more than half of it, is what was to change."""
    inside = np.asarray(mask.convert("L")) > 127 if isinstance(mask, Image.Image) else np.asarray(mask, bool)
    if inside.shape != size[::-1]:
        raise ValueError(f"has {inside.shape[1]} x {inside.shape[0]} pixels, the picture {size[0]} x {size[1]}; both need one size")
    return inside


def reduced_mask(mask: Array, size: tuple[int, int]) -> Array:
    """A mask at a smaller (width, height): a pixel is in it when a part of it is."""
    if mask.shape == size[::-1]:
        return mask
    small = Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).resize(size, Image.Resampling.BOX)
    return np.asarray(small) > 0


def grown(mask: Array, reach: int) -> Array:
    """A mask and all within `reach` pixels of it, along rows and columns."""
    return ndimage.maximum_filter(mask.astype(np.uint8), 2 * reach + 1).astype(bool)


def block_means(before: Array, after: Array, usable: Array) -> tuple[Array, Array]:
    """Mean colours, each (n, 3), of those square blocks of two pictures that are usable and not clipped in the second."""
    side = max(2, round(max(usable.shape) / COLOUR_BLOCKS))
    rows, columns = (length // side * side for length in usable.shape)
    good = usable & (after > 1).all(axis=2) & (after < 254).all(axis=2)

    def blocks(values: Array) -> Array:
        tiles = values[:rows, :columns].reshape(rows // side, side, columns // side, side, -1)
        return tiles.mean(axis=(1, 3)).reshape(-1, tiles.shape[-1])

    chosen = blocks(good.astype(np.float32))[:, 0] == 1
    if chosen.sum() < 8:                                        # nearly all is black or white
        chosen = blocks(usable.astype(np.float32))[:, 0] == 1
    return blocks(before)[chosen].astype(float), blocks(after)[chosen].astype(float)


def _explained(model: tuple[Array, Array], before: Array, after: Array) -> Array:
    """(n,), how well a colour model explains each block: 1 exactly, 0 not."""
    gain, offset = model
    return np.exp(-(((after - gain * before - offset) / EXPLAINED) ** 2).max(axis=1))


def _refitted(model: tuple[Array, Array], before: Array, after: Array) -> tuple[Array, Array]:
    """The colour model of least squares over the blocks that the one before explains; drawn to a gain of 1 where the blocks are alike."""
    weight = _explained(model, before, after)[:, None]
    total = weight.sum() + 1e-6
    centre, level = (weight * before).sum(axis=0) / total, (weight * after).sum(axis=0) / total
    away = before - centre
    pull = 400.0                                                # as if blocks of a variance of 400 said that the gain is 1
    gain = ((weight * away * (after - level)).sum(axis=0) + pull) / ((weight * away * away).sum(axis=0) + pull)
    return gain, level - gain * centre


def is_moved(place: Alignment, size: tuple[int, int]) -> bool:
    """Whether an alignment is worth undoing: a third of a pixel somewhere, and more than its own error."""
    error = np.hypot(place.dx_error, place.dy_error) + place.zoom_error * max(size) / 2
    return place.displacement(size) > max(0.3, 3 * error)
