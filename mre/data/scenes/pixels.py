"""Measures of pixels that the oracle goes by. Pictures are (H, W, 3) float32 in [0, 1], residuals differences of two."""

from __future__ import annotations

import numpy as np

from mre.data.scenes import defects
from mre.data.scenes.looks import Array, block_means, blurred, grey

LEVELS = (0.0, 1.0, 2.0, 3.0, 4.0, 5.0)
MOTTLES = (0.004, 0.035, 0.061, 0.088, 0.120, 0.163)      # mean size of coloured clouds on the soft picture, by level


def specks_of(picture: Array) -> Array:
    """(H, W) bool: black or white pixels that stand apart from all eight around them."""
    wide = np.pad(picture, ((1, 1), (1, 1), (0, 0)), mode="edge")
    height, width = picture.shape[:2]
    around = [wide[1 + down:1 + down + height, 1 + right:1 + right + width]
              for down in (-1, 0, 1) for right in (-1, 0, 1) if (down, right) != (0, 0)]
    mean = sum(around[1:], around[0]) / 8
    apart = np.abs(picture - mean).mean(axis=2) > 0.18
    return apart & ((picture.max(axis=2) < 0.10) | (picture.min(axis=2) > 0.90))


def mottle_level(residual: Array) -> float:
    """Level 0..5 of coloured clouds of many hues in what is left, 0 where it is one hue or lies at one place."""
    small = soft(residual)
    chroma = (small - small.mean(axis=2, keepdims=True)).reshape(-1, 3)
    size = np.sqrt((chroma ** 2).sum(1))
    spread = np.linalg.eigvalsh(chroma.T @ chroma / len(chroma))[1:]      # the third is that of grey, which is nothing
    if spread[0] < 0.3 * spread[1]:
        return 0.0
    quiet = np.partition(size, int(0.9 * size.size))[:int(0.9 * size.size)]
    return float(np.interp(quiet.mean(), MOTTLES, LEVELS))


def noise_level(residual: Array) -> float:
    """Level 0..5 of noise, or of any fine mess, in what is left: the mean size of its fine part over the quietest 90 % of the picture.

    So a thing that should not be there, on a tenth of the picture or less, is no noise. For normal noise that mean is 0.657 deviations, and
    taking away a blur leaves 0.96 of them.
    """
    fine = np.abs(residual - blurred(residual, 1.5 * len(residual) / 128)).ravel()
    quiet = np.partition(fine, int(0.9 * fine.size))[:int(0.9 * fine.size)]
    return float(np.interp(max(float(quiet.mean()) / 0.657 - 0.004, 0.0) / 0.92, defects.NOISE, LEVELS))


BELL = np.linspace(-6, 6, 241)
_DENSITY = np.exp(-BELL ** 2 / 2) / np.sqrt(2 * np.pi)
RAMP = BELL * np.cumsum(_DENSITY) * (BELL[1] - BELL[0]) + _DENSITY      # mean of max(0, z + n) over normal n


def mean_under_noise(picture: Array, deviation: float) -> Array:
    """What a picture becomes on average when noise is added and cut at black and white."""
    def lifted(values: Array) -> Array:
        return np.where(values > 6, values, np.interp(values, BELL, RAMP)).astype(np.float32)
    return deviation * (lifted(picture / deviation) - lifted((picture - 1) / deviation))


def slopes(picture: Array) -> Array:
    """How brightness rises to the right and downwards in the soft picture."""
    light = grey(soft(picture))
    return np.stack([light[1:, 1:] - light[1:, :-1], light[1:, 1:] - light[:-1, 1:]])


def agreement(a: Array, b: Array) -> float:
    """Correlation of two fields around zero; that of flat pictures with each other is 1."""
    return float(((a * b).sum() + 1e-6) / (norm(a) * norm(b) + 1e-6))


def norm(a: Array) -> float:
    return float(np.sqrt((a * a).sum()))


def shrunk(picture: Array, side: int) -> Array:
    """Means over squares, about `side` of them along an edge."""
    factor = max(1, len(picture) // side)
    side = len(picture) // factor
    return block_means(picture[:side * factor, :side * factor], factor)


def halved(picture: Array) -> Array:
    """Means over 64 x 64 squares, a little blurred."""
    return blurred(shrunk(picture, 64), 0.6)


def soft(picture: Array) -> Array:
    """Means over 32 x 32 squares, a little blurred: what artefacts hardly touch. The same for a picture that is shrunk to 64 already."""
    return blurred(shrunk(shrunk(picture, 64), 32), 1.0)


def distance(a: Array, b: Array) -> float:
    difference = (a - b).ravel()
    return float(difference @ difference) / difference.size


def segment(point: Array, start: Array, end: Array) -> tuple[float, float]:
    """Where on the way from start to end the point is closest, in [0, 1], and the mean squared distance there."""
    way, off = (end - start).ravel(), (point - start).ravel()
    length = float(way @ way)
    part = min(max(float(off @ way) / length, 0.0), 1.0) if length > 1e-9 else 0.0
    rest = off - np.float32(part) * way
    return part, float(rest @ rest) / rest.size
