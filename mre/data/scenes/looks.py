"""Global changes and styles: functions from a picture to a picture, deterministic, of synthetic scenes and photographs alike.

Pictures are (H, W, 3) float32 in [0, 1].
"""

from __future__ import annotations

from functools import reduce

import numpy as np

Array = np.ndarray
LUMA = np.array((0.299, 0.587, 0.114), np.float32)


def grey(picture: Array) -> Array:
    """(H, W) brightness."""
    return picture @ LUMA


def blurred(picture: Array, sigma: float) -> Array:
    """Gaussian blur of (H, W) or (H, W, C), edges repeated; sigma in pixels."""
    if sigma <= 0:
        return picture.copy()
    reach = max(1, int(2.5 * sigma + 0.5))
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    taps = (taps / taps.sum()).astype(np.float32)
    for axis in (0, 1):
        length = picture.shape[axis]
        pad = [(0, 0)] * picture.ndim
        pad[axis] = (reach, reach)
        wide = np.pad(picture, pad, mode="edge")
        parts = (wide[number:number + length] if axis == 0 else wide[:, number:number + length] for number in range(len(taps)))
        picture = reduce(np.add, (part * weight for part, weight in zip(parts, taps, strict=True)))
    return picture


def saturated(picture: Array, amount: float) -> Array:
    base = grey(picture)[..., None]
    return base + (picture - base) * np.float32(amount)


def clipped(picture: Array) -> Array:
    return np.clip(picture, 0, 1).astype(np.float32)


def colour(*values: float) -> Array:
    return np.asarray(values, np.float32)


def height_line(picture: Array) -> Array:
    """(H, 1, 1): 0 at the top, 1 at the bottom."""
    return ((np.arange(len(picture), dtype=np.float32) + 0.5) / len(picture))[:, None, None]


def brighter(p: Array) -> Array:
    return clipped(p ** np.float32(0.62) * 1.06 + 0.03)


def darker(p: Array) -> Array:
    return clipped(p ** np.float32(1.25) * 0.52)


def warmer(p: Array) -> Array:
    return clipped(p * colour(1.16, 1.0, 0.70) + colour(0.06, 0.02, 0))


def cooler(p: Array) -> Array:
    return clipped(p * colour(0.74, 0.95, 1.12) + colour(0, 0.02, 0.07))


def foggy(p: Array) -> Array:
    thick = 0.80 - 0.35 * height_line(p)
    soft = blurred(saturated(p, 0.6), len(p) / 128)
    return clipped(soft + (colour(0.84, 0.86, 0.88) - soft) * thick)


def night(p: Array) -> Array:
    dim = saturated(p, 0.45) ** np.float32(1.2)
    return clipped(dim * colour(0.26, 0.33, 0.58) + colour(0.0, 0.01, 0.05))


def sunset(p: Array) -> Array:
    line = height_line(p)
    glow = np.clip(1 - np.abs(line - 0.42) * 1.9, 0, 1)
    return clipped(p * colour(1.08, 0.74, 0.52) * (0.86 - 0.10 * line) + glow * colour(0.34, 0.15, 0.02))


def winter(p: Array) -> Array:
    """Cold light, pale colours, and snow on whatever is green, brown or lies low."""
    base = saturated(p, 0.35) * colour(0.90, 0.98, 1.10) + colour(0.06, 0.08, 0.11)
    green = np.clip((p[..., 1:2] * 2 - p[..., 0:1] - p[..., 2:3]) * 3.0, 0, 1)
    low = np.clip((height_line(p) - 0.5) * 2.2, 0, 0.62)
    white = np.clip(green * 0.8 + low * (0.35 + 0.65 * grey(p)[..., None]), 0, 0.85)
    return clipped(base + (colour(0.94, 0.96, 1.0) - base) * white)


def autumn(p: Array) -> Array:
    """Greens turn orange and the light turns golden."""
    green = np.clip((p[..., 1:2] - 0.5 * p[..., 0:1] - 0.5 * p[..., 2:3]) * 5, 0, 1)
    leaves = grey(p)[..., None] * colour(1.65, 0.88, 0.28)
    return clipped((p + (leaves - p) * green) * colour(1.08, 0.97, 0.80) + colour(0.03, 0.01, 0))


def vivid(p: Array) -> Array:
    return clipped((saturated(p, 1.75) - 0.5) * 1.12 + 0.5)


def black_and_white(p: Array) -> Array:
    return np.repeat(grey(p)[..., None], 3, axis=2)


def sepia(p: Array) -> Array:
    return clipped(grey(p)[..., None] * colour(1.08, 0.86, 0.62) + colour(0.05, 0.03, 0.01))


def sketch(p: Array) -> Array:
    """Pencil: brightness divided by its blurred self leaves lines on paper."""
    light = grey(p)
    lines = np.clip((light + 0.06) / (blurred(light, len(p) * 0.02) + 0.06), 0, 1)
    lines = np.clip((lines - 0.62) / 0.36, 0, 1)
    return np.repeat((lines * (0.86 + 0.12 * light))[..., None], 3, axis=2) * colour(1.0, 0.99, 0.96)


def poster(p: Array) -> Array:
    flat = blurred(saturated(p, 1.45), len(p) / 100)
    steps = np.float32(4)
    return clipped((np.floor(np.clip(flat, 0, 0.999) * steps) + 0.5) / steps)


def pixel_art(p: Array) -> Array:
    side = max(2, len(p) // 32)
    return clipped(np.round(blocks(saturated(p, 1.25), side) * 10) / 10)


def blocks(p: Array, side: int) -> Array:
    """Means over squares of `side` pixels on the grid that starts at the top left."""
    height, width = p.shape[:2]
    rows, columns = -height % side, -width % side
    wide = np.pad(p, ((0, rows), (0, columns), (0, 0)), mode="edge") if rows or columns else p
    return block_means(wide, side).repeat(side, 0).repeat(side, 1)[:height, :width]


def block_means(p: Array, side: int) -> Array:
    """(H / side, W / side, C) means over squares; H and W are multiples of side."""
    rows = p.reshape(len(p) // side, side, -1).sum(1).reshape(len(p) // side, p.shape[1], -1)
    return reduce(np.add, (rows[:, number::side] for number in range(side))) * np.float32(1 / side ** 2)


def watercolour(p: Array) -> Array:
    """Soft flat washes with darker rims on light paper."""
    soft = blurred(p, len(p) * 0.016)
    wash = (np.round(saturated(soft, 1.2) * 9) / 9 + soft) * 0.5
    light = grey(soft)
    rim = np.zeros_like(light)
    rim[1:-1, 1:-1] = np.abs(light[2:, 1:-1] - light[:-2, 1:-1]) + np.abs(light[1:-1, 2:] - light[1:-1, :-2])
    return clipped((wash * 0.78 + 0.22) - np.clip(rim * 1.1, 0, 0.25)[..., None])


def negative(p: Array) -> Array:
    return 1 - p


def vintage(p: Array) -> Array:
    """An old colour print: faded blacks, yellowed whites, dark corners."""
    size = len(p)
    across = (np.arange(p.shape[1], dtype=np.float32) + 0.5) / p.shape[1] - 0.5
    down = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    corner = 1 - 1.0 * np.clip(across[None, :] ** 2 + down[:, None] ** 2 - 0.08, 0, 1)
    return clipped((saturated(p, 0.55) * colour(0.84, 0.74, 0.56) + colour(0.15, 0.11, 0.10)) * corner[..., None])


GLOBAL_LOOKS = {look.__name__: look for look in (brighter, darker, warmer, cooler, foggy, night, sunset, winter, autumn, vivid)}
STYLE_LOOKS = {look.__name__: look for look in (black_and_white, sepia, sketch, poster, pixel_art, watercolour, negative, vintage)}
LOOKS = GLOBAL_LOOKS | STYLE_LOOKS
OPPOSITES = {"brighter": "darker", "darker": "brighter", "warmer": "cooler", "cooler": "warmer", "foggy": "vivid", "night": "brighter",
             "sunset": "cooler", "winter": "autumn", "autumn": "winter", "vivid": "foggy", "black_and_white": "vivid", "sepia": "cooler",
             "sketch": "negative", "poster": "sepia", "pixel_art": "black_and_white", "watercolour": "poster", "negative": "sepia",
             "vintage": "cooler"}     # what stands in for "something else was done": the look least like the one that was asked for
