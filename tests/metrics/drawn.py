"""Drawn photographs: texture at all sizes and a few things, and cuts of them with a known shift and zoom."""

from __future__ import annotations

import functools

import numpy as np
from PIL import Image, ImageDraw


@functools.cache
def photograph(seed: int, side: int = 640) -> Image.Image:
    """Noise whose power falls with frequency, as in photographs of nature, in three related channels, with ellipses before it."""
    rng = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.fftfreq(side)[None]).clip(1 / side)
    fields = [np.fft.ifft2(np.fft.fft2(rng.normal(size=(side, side))) / frequency ** 1.2).real for _ in range(4)]
    fields = [(field - field.mean()) / field.std() for field in fields]
    pixels = np.stack([125 + 32 * (fields[0] + 0.35 * fields[channel + 1]) for channel in range(3)], axis=-1)
    picture = Image.fromarray(pixels.clip(18, 237).astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    for _ in range(6):
        x, y, a, b = rng.uniform(0, side, 2).tolist() + rng.uniform(side / 20, side / 7, 2).tolist()
        draw.ellipse((x - a, y - b, x + a, y + b), fill=tuple(int(level) for level in rng.integers(30, 225, 3)))
    return picture


def cuts(seed: int, dx: float = 0.0, dy: float = 0.0, zoom: float = 1.0, cast: tuple[int, int, int] = (0, 0, 0),
         size: tuple[int, int] = (300, 240)) -> tuple[Image.Image, Image.Image]:
    """Two cuts of a drawn photograph: what is at p in the first is at c + d + zoom (p - c) in the second, and `cast` brighter."""
    photo = photograph(seed)
    x, y = photo.width / 2, photo.height / 2

    def cut(dx: float, dy: float, zoom: float) -> Image.Image:
        a, b = size[0] / 2, size[1] / 2
        box = (x - (a + dx) / zoom, y - (b + dy) / zoom, x + (a - dx) / zoom, y + (b - dy) / zoom)
        return photo.resize(size, Image.Resampling.LANCZOS, box=box)

    second = np.asarray(cut(dx, dy, zoom), int) + np.array(cast)
    return cut(0, 0, 1), Image.fromarray(second.clip(0, 255).astype(np.uint8))


def with_patch(picture: Image.Image, seed: int, box: tuple[int, int, int, int]) -> Image.Image:
    """The picture with a part of another drawn photograph in it: an edit."""
    result = picture.copy()
    result.paste(photograph(seed).crop((0, 0, box[2] - box[0], box[3] - box[1])), box[:2])
    return result
