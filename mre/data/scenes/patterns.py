"""What things are covered with, as amounts over the plane of the picture: a pattern lies where it lies, whatever thing it covers.

So one pattern is the same picture in every scene, which the embedded model is given as a drawing by its head: a network of
its size puts the right thing under a pattern, but cannot draw stripes whose place depends on where the thing stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from mre.data.scenes.looks import Array

UNIT = 0.145        # of the side: the length in which patterns are measured
SHARP = 2.0         # edges are soft over about two pixels of 128


def stripes(u: Array, v: Array) -> Array:
    return np.clip(0.5 + np.sin(u * 4.6 + v * 7.4) * SHARP * 0.5, 0, 1)


def dots(u: Array, v: Array) -> Array:
    across, down = (u * 1.9 + 0.25) % 1 - 0.5, (v * 1.9 + 0.25) % 1 - 0.5
    return np.clip(0.5 + (0.27 - np.sqrt(across * across + down * down)) * SHARP * 3.2, 0, 1)


def checks(u: Array, v: Array) -> Array:
    return np.clip(0.5 + np.sin(u * 5.6 + 0.7) * np.sin(v * 5.6 + 0.7) * SHARP, 0, 1)


def rings(u: Array, v: Array) -> Array:
    """The grain of wood, -1..1."""
    return np.clip(1.6 * np.sin(v * 9 + 1.6 * np.sin(u * 2.3 + 0.6) + 0.8 * np.sin(u * 5.1 + v * 2)), -1, 1)


def gleam(u: Array, v: Array) -> Array:
    """The light on metal, -1..1."""
    return np.sin(2.6 * u - 2.2 * v + 0.9)


def glint(u: Array, v: Array) -> Array:
    """Where that light is brightest, 0..1."""
    return np.clip(gleam(u, v) * 5 - 4, 0, 1)


PATTERNS = {pattern.__name__: pattern for pattern in (stripes, dots, checks, rings, gleam, glint)}


def amounts(name: str, x: Array, y: Array) -> Array:
    """A pattern at places given in sides of the picture, float32: (1, W) and (H, 1) -> (H, W)."""
    return PATTERNS[name](np.asarray(x, np.float32) / np.float32(UNIT), np.asarray(y, np.float32) / np.float32(UNIT)).astype(np.float32)
