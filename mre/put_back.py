"""Put back what should not change: the edit inside a region, the photo's own pixels outside it, bit for bit.

Most editors redraw the whole picture, often a little beside its place. The edited picture is first moved back to where the photo has its
content (`mre.metrics.alignment`); then it is laid over the photo inside the region, with a seam around it in which one fades into the
other. Colours are left alone: with a mask over the sky, "sunset" may well have turned all of the picture red, and taking that away would
take the edit away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image, ImageFilter
from scipy import ndimage

from mre.masks import Mask
from mre.metrics.preserving import WHOLE, Comparison, grown, is_moved

if TYPE_CHECKING:
    from mre.metrics.alignment import Alignment

SEAM = 0.016                 # width of the seam, of the longer side
MOST_DRIFT = 16.0            # levels; without a mask, more than this is an edit of the whole picture
EDGE = 2                     # pixels of the measured map by which what changed is taken larger than measured


@dataclass(frozen=True)
class PutBack:
    """The composite, and what it is made of."""

    image: Image.Image
    kept: float                          # share of the pixels that are the original's, bit for bit
    alignment: Alignment | None          # what was undone; None: nothing was


def put_back(original: Image.Image, edited: Image.Image, mask: Mask | np.ndarray | None = None) -> PutBack:
    """The edited picture where it should have changed, the original everywhere else.

    original, edited: pictures; an edited picture of another size is brought to the original's
    mask: what may change, (H, W) bool or a Mask of the original's size; None: what clearly changed, as measured. An edit of the whole
        picture, or one that nothing shows, is then returned as it is.
    Beyond the mask and a seam of 1.6 % of the longer side every pixel is the original's. The same arguments give the same pixels.
    Raises ImageError for a mask of another size, or one that marks nothing or everything.
    """
    original = original.convert("RGB")
    inside = None if mask is None else (mask if isinstance(mask, Mask) else Mask.of(mask)).fitting(original.size)
    compared = Comparison(original, edited, inside)
    if inside is None:
        inside = measured_region(compared, original.size)
        if inside is None:
            return PutBack(compared.edited, 0.0, None)
    place = compared.alignment if compared.alignment and is_moved(compared.alignment, original.size) else None
    alpha = faded(inside)
    moved = compared.edited
    if place is not None:
        moved = place.undone(compared.edited, ground=original)
        alpha = np.minimum(alpha, _has_content(place, original.size))
    return PutBack(Image.composite(moved, original, Image.fromarray(alpha)), float((alpha == 0).mean()), place)


def measured_region(compared: Comparison, size: tuple[int, int]) -> np.ndarray | None:
    """(H, W) bool of what clearly changed, at the pictures' own (width, height); None for an edit of the whole picture, or of nothing."""
    region = grown(compared.region, EDGE) if compared.region.any() else compared.region
    drift = compared.measured().colour_drift
    if not region.any() or region.mean() > WHOLE or (drift is not None and drift > MOST_DRIFT):
        return None
    full = Image.fromarray(region.astype(np.uint8) * 255).resize(size, Image.Resampling.NEAREST)
    return np.asarray(full) > 0


def faded(inside: np.ndarray) -> np.ndarray:
    """(H, W) uint8: 255 in the region, 0 beyond the seam around it, and steps without a corner in between."""
    step = max(1, round(SEAM * max(inside.shape) / 4))
    wide = inside.astype(np.uint8) * 255
    for axis in (0, 1):
        wide = ndimage.maximum_filter1d(wide, 4 * step + 1, axis=axis, mode="nearest")
    return np.asarray(Image.fromarray(wide).filter(ImageFilter.BoxBlur(step)).filter(ImageFilter.BoxBlur(step)))


def seam_width(size: tuple[int, int]) -> int:
    """Pixels to each side of a mask, on pictures of (width, height), beyond which nothing changes."""
    return 4 * max(1, round(SEAM * max(size) / 4))


def _has_content(place: Alignment, size: tuple[int, int]) -> np.ndarray:
    """(H, W) uint8: 255 where the moved picture has pixels, 0 at and beyond its edge, where that lies within the photo."""
    left, top, right, bottom = place.covered(size)
    reach = seam_width(size) + 1
    left, top = (start + reach if start > 0 else 0 for start in (left, top))
    right, bottom = (stop - reach if stop < length else length for stop, length in zip((right, bottom), size, strict=True))
    content = np.zeros(size[::-1], bool)
    content[top:max(top, bottom), left:max(left, right)] = True
    return faded(content)
