"""Photographs behind the things: read from a folder, and cut into square pieces."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from mre.errors import DataError
from mre.imaging import open_image

SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")
KEPT_SIDE = 1024       # pixels, longer side, of photographs kept in memory


def read_photos(folder: Path) -> list[np.ndarray]:
    """The pictures of a folder, by name, small enough to keep. Raises DataError where there are none, ImageError for a bad one."""
    paths = [path for path in sorted(folder.glob("*")) if path.suffix.lower() in SUFFIXES]
    if not paths:
        raise DataError(f"{folder}: no photographs ({', '.join(SUFFIXES)}) there")
    photos = []
    for path in paths:
        photo = open_image(path)
        photo.thumbnail((KEPT_SIDE, KEPT_SIDE))
        photos.append(np.asarray(photo))
    return photos


def piece_of(photo: np.ndarray, rng: np.random.Generator, size: int) -> np.ndarray:
    """A square piece of a photo, at least half its short side, perhaps mirrored, as (size, size, 3) uint8."""
    height, width = photo.shape[:2]
    side = min(height, width) * (0.5 + 0.5 * rng.random())
    left, top = (width - side) * rng.random(), (height - side) * rng.random()
    box = (left, top, left + side, top + side)
    piece = np.asarray(Image.fromarray(photo).resize((size, size), Image.Resampling.BILINEAR, box=box, reducing_gap=2.0))
    return np.ascontiguousarray(piece[:, ::-1]) if rng.random() < 0.5 else piece
