"""How an edited picture lies on its original: shift and zoom, found from what the two still have in common.

Editors of today redraw the whole picture, often some pixels beside where it was or a few percent larger. The estimate has to hold when
most of the picture is edited and all colours changed, so it compares local structure (brightness less its local mean, by its local
deviation) and lets go of places where the structures do not agree.

A coarse search over zooms finds the shift of highest normalised correlation of small pictures (Padfield 2012, by FFT); robust
Gauss-Newton steps then refine shift and zoom from small to larger pictures. The error is estimated from how much the picture's blocks
disagree, so that a picture without texture, or with stripes in one direction only, is said to be not measurable.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from PIL import Image
from scipy import fft as scipy_fft
from scipy import ndimage

fft = cast(Any, scipy_fft)              # its functions are dispatchers, whose types are inferred wrongly
Array = np.ndarray

COARSE_SIDE = 160                 # longer side, in pixels, of the pictures that are searched
FINE_SIDE = 768                   # and of those that give the last digits
ZOOMS = np.exp(np.arange(-12, 19) * 0.02)      # 0.79 to 1.43
LEAST_OVERLAP = 0.4               # of the picture's area that a shift may leave in common
WINDOW = 2.5                      # pixels; sigma of the neighbourhood in which brightness is normalised
CONTRAST = 4.0                    # levels; deviation of a neighbourhood below which it has no structure
TEXTURE = 8.0                     # levels; deviation of a neighbourhood that counts half
ALIKE = 0.6                       # mean squared difference of normalised brightness that halves a place's say, or nearly
LEAST_CORRELATION = 0.6           # of neighbourhoods that are called the same; of two of different pictures one in thirty has more
SURE = 0.35                       # agreement from which no other place is looked for
LEAST_AGREEMENT = 0.10            # agreement below which two pictures have nothing in common
LEAST_TEXTURE = 0.004             # share of the picture with structure that agrees, below which nothing is measured
MOST_ERROR = 0.0012               # of the longer side: standard error of the shift, beyond which it is not measurable (1 pixel of 800)
MOST_ZOOM_ERROR = 0.002
BLOCKS = 8                        # along each side, whose disagreement gives the standard errors


@dataclass(frozen=True)
class Alignment:
    """Where the original's content is in the edited picture, both of one size: p' = c + shift + zoom (p - c), c the picture's centre."""

    dx: float                     # pixels of the original, to the right
    dy: float                     # pixels of the original, down
    zoom_x: float
    zoom_y: float
    agreement: float              # share of the original's structure that is where this says, 0 to 1
    dx_error: float = 0.0         # standard errors
    dy_error: float = 0.0
    zoom_error: float = 0.0

    @property
    def zoom(self) -> float:
        """One ratio for both directions."""
        return math.sqrt(self.zoom_x * self.zoom_y)

    @property
    def shift(self) -> float:
        """Length of the shift, in pixels of the original."""
        return math.hypot(self.dx, self.dy)

    def displacement(self, size: tuple[int, int]) -> float:
        """How far the corner that moved most is from its place, in pixels, in a picture of (width, height)."""
        x = abs(self.dx) + abs(self.zoom_x - 1) * size[0] / 2
        y = abs(self.dy) + abs(self.zoom_y - 1) * size[1] / 2
        return math.hypot(x, y)

    def scaled(self, factor: float) -> Alignment:
        """The same for pictures `factor` times as large."""
        return Alignment(self.dx * factor, self.dy * factor, self.zoom_x, self.zoom_y, self.agreement, self.dx_error * factor,
                         self.dy_error * factor, self.zoom_error)

    def box(self, size: tuple[int, int]) -> tuple[float, float, float, float]:
        """Left, top, right, bottom of the part of the edited picture, of (width, height), that covers the original; may reach outside."""
        width, height = size
        x, y = width / 2 + self.dx, height / 2 + self.dy
        return (x - self.zoom_x * width / 2, y - self.zoom_y * height / 2, x + self.zoom_x * width / 2, y + self.zoom_y * height / 2)

    def undone(self, picture: Image.Image, ground: Image.Image | None = None) -> Image.Image:
        """The edited picture with its content where the original has it; `ground`, or black, where it has none."""
        left, top, right, bottom = self.box(picture.size)
        x, y = (right - left) / picture.width, (bottom - top) / picture.height
        covered = self.covered(picture.size)
        result = Image.new(picture.mode, picture.size) if ground is None else ground.copy()
        if covered[0] < covered[2] and covered[1] < covered[3]:
            source = (left + covered[0] * x, top + covered[1] * y, left + covered[2] * x, top + covered[3] * y)
            size = (covered[2] - covered[0], covered[3] - covered[1])
            result.paste(picture.resize(size, Image.Resampling.BICUBIC, box=source), covered[:2])
        return result

    def covered(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Left, top, right, bottom of the whole pixels of the original, of (width, height), for which the edited picture has content."""
        width, height = size
        left, top, right, bottom = self.box(size)
        spans = []
        for start, stop, length in ((left, right, width), (top, bottom, height)):
            step = (stop - start) / length
            first, last = math.ceil(-start / step), math.floor((length - start) / step)
            spans.append((min(max(first, 0), length), min(max(last, 0), length)))
        return spans[0][0], spans[1][0], spans[0][1], spans[1][1]


STILL = Alignment(0.0, 0.0, 1.0, 1.0, 1.0)


def find_alignment(original: Image.Image, edited: Image.Image, mask: Array | None = None) -> Alignment | None:
    """How the edited picture lies on the original; None where that cannot be measured.

    original, edited: pictures of one size
    mask: (H, W) bool, what was to change and so says nothing; None: found out
    """
    if original.size != edited.size:
        raise ValueError(f"pictures of one size are needed, got {original.size} and {edited.size}")
    pair = _Pair.at(original, edited, mask, COARSE_SIDE)
    found = pair.refined(np.zeros(4), steps=12)
    if pair.agreement(found) < SURE:
        starts = [found, *(pair.refined(start, steps=12) for start in pair.search())]
        found = max(starts, key=pair.agreement)
    if pair.agreement(found) < LEAST_AGREEMENT:
        return None
    for side in (COARSE_SIDE * 2, FINE_SIDE):
        if max(original.size) <= pair.side:
            break
        pair = _Pair.at(original, edited, mask, side)
        found = pair.refined(found, steps=8)
    return pair.measured(found, max(original.size))


class _Pair:
    """Two pictures' structure at one size. A place is theta = (dx, dy, ax, ay): shift in half longer sides, zooms less 1."""

    def __init__(self, original: Array, edited: Array, counted: Array) -> None:
        """original, edited: (h, w) float32 levels; counted: (h, w) float32, 0 where the pictures are meant to differ"""
        self.height, self.width = original.shape
        self.side = max(original.shape)
        self.half = self.side / 2
        self.before, self.texture = _structure(original)
        self.after, _ = _structure(edited)
        self.spline = ndimage.spline_filter(self.after, order=3, output=cast(Any, np.float32))       # any dtype, whatever scipy infers
        self.counted = counted
        self.slope = _slopes(self.before)                                              # x, y, each (h, w)
        self.u = ((np.arange(self.width, dtype=np.float32) + 0.5 - self.width / 2) / self.half)[None]        # (1, w)
        self.v = ((np.arange(self.height, dtype=np.float32) + 0.5 - self.height / 2) / self.half)[:, None]   # (h, 1)

    @classmethod
    def at(cls, original: Image.Image, edited: Image.Image, mask: Array | None, side: int) -> _Pair:
        """The pictures with their longer side at most at `side` pixels."""
        scale = min(1.0, side / max(original.size))
        size = max(8, round(original.width * scale)), max(8, round(original.height * scale))
        before, after = (np.asarray(_reduced(picture.convert("L"), size), np.float32) for picture in (original, edited))
        counted = np.ones(before.shape, np.float32)
        if mask is not None:
            inside = Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).resize(size, Image.Resampling.BOX)
            counted = (np.asarray(inside) == 0).astype(np.float32)
        return cls(before, after, counted)

    def moved(self, theta: Array, exact: bool = True) -> tuple[Array, Array]:
        """The edited picture's structure with the alignment undone, and where it has any (1) or none (0). Cubic, or not exact: linear."""
        dx, dy, ax, ay = (float(value) for value in theta)
        zooms = (1 + ay, 1 + ax)
        centre = np.array([self.height - 1, self.width - 1]) / 2
        offset = centre * (1 - np.array(zooms)) + np.array([dy, dx]) * self.half
        source, order = (self.spline, 3) if exact else (self.after, 1)
        there = ndimage.affine_transform(source, zooms, offset, order=order, prefilter=False, mode="nearest")
        rows, columns = (np.arange(length) * zoom + start for length, zoom, start in zip(there.shape, zooms, offset, strict=True))
        valid = ((rows >= 0) & (rows <= self.height - 1))[:, None] & ((columns >= 0) & (columns <= self.width - 1))[None]
        return there, valid.astype(np.float32)

    def weights(self, there: Array, valid: Array, alike: float) -> tuple[Array, Array]:
        """How much each place counts, and the difference of the two structures there."""
        away = there - self.before
        apart = _blurred(away * away, WINDOW)
        return np.exp(-(apart / alike)) * self.counted * valid, away

    def refined(self, theta: Array, steps: int, axes: int = 3) -> Array:
        """Gauss-Newton from a place on. `axes` 3: one zoom for both directions; 4: one each."""
        theta = np.array(theta, float)
        for step in range(steps):
            there, valid = self.moved(theta)
            weight, away = self.weights(there, valid, ALIKE * (3 if step < steps // 3 else 1))
            jacobian = self._jacobian(there, axes)
            gradient = np.array([float((column * weight * away).sum()) for column in jacobian])
            change = np.linalg.solve(self._normal(jacobian, weight), gradient)
            change = _spread(change)
            theta = theta - np.clip(change, -0.1, 0.1)
            theta[2:] = np.clip(theta[2:], ZOOMS[0] - 1, ZOOMS[-1] - 1)
            theta[:2] = np.clip(theta[:2], -1, 1)
            if np.abs(change).max() * self.half < 0.004:
                break
        return theta

    def agreement(self, theta: Array) -> float:
        """Share of the original's structure that the edited picture has where `theta` says, by correlation in small neighbourhoods."""
        there, valid = self.moved(theta)
        return float((self.found(there, valid) * self.texture).sum() / max(1e-6, float((self.texture * self.counted).sum())))

    def found(self, there: Array, valid: Array) -> Array:
        """(h, w), 1 where the two structures are the same in the neighbourhood, 0 where they are not."""
        cross = _blurred(there * self.before, WINDOW)
        power = _blurred(there * there, WINDOW) * _blurred(self.before * self.before, WINDOW)
        correlation = (cross / np.sqrt(power + 0.05)).clip(LEAST_CORRELATION, 1)
        return (correlation - LEAST_CORRELATION) / (1 - LEAST_CORRELATION) * self.counted * valid

    def search(self) -> list[Array]:
        """The best places of a search over zooms and shifts, to be refined."""
        size = tuple(fft.next_fast_len(int(length * 1.6), real=True) for length in self.before.shape)
        one = [fft.rfft2(plane * self.counted, size) for plane in (np.ones_like(self.before), self.before, self.before ** 2)]
        found, whole = [], float((self.counted * self.before ** 2).sum()) * float((self.after ** 2).sum()) + 1e-6
        for zoom in ZOOMS:
            there, valid = self.moved(np.array([0, 0, zoom - 1, zoom - 1]), exact=False)
            two = [np.conj(fft.rfft2(plane * valid, size)) for plane in (np.ones_like(there), there, there ** 2)]
            shared = fft.irfft2(one[0] * two[0], size)
            cross = fft.irfft2(one[1] * two[1], size)
            power = fft.irfft2(one[2] * two[0], size).clip(1e-3) * fft.irfft2(one[0] * two[2], size).clip(1e-3)
            weighed = cross / np.sqrt(power) * (power / whole) ** 0.25            # chance agreement of a small part is no agreement
            score = np.where(shared > LEAST_OVERLAP * self.counted.sum(), weighed, -1.0)
            row, column = np.unravel_index(int(score.argmax()), size)
            down, right = (value - length if value > length // 2 else value for value, length in ((row, size[0]), (column, size[1])))
            # the original's content at p is in the zoomed-back picture at p - (right, down)
            found.append((float(score[row, column]), np.array([-right * zoom / self.half, -down * zoom / self.half, zoom - 1, zoom - 1])))
        found.sort(key=lambda entry: -entry[0])
        return [theta for _, theta in found[:4]]

    def measured(self, theta: Array, longer: int) -> Alignment | None:
        """The place in pixels of a picture whose longer side is `longer`, with standard errors; None when they are too large."""
        own = self.refined(theta, steps=6, axes=4)
        errors = self.errors(own, 4)
        apart = abs(own[2] - own[3])
        if errors is None or errors[2:].max() > MOST_ZOOM_ERROR or apart < max(0.001, 4 * math.hypot(errors[2], errors[3])):
            own, errors = theta, self.errors(theta, 3)
        if errors is None or max(errors[:2]) / 2 > MOST_ERROR:
            return None
        there, valid = self.moved(own)
        if float((self.found(there, valid) * self.texture).mean()) < LEAST_TEXTURE:
            return None
        scale = longer / 2
        values = (own[0] * scale, own[1] * scale, 1 + own[2], 1 + own[3], self.agreement(own), errors[0] * scale, errors[1] * scale,
                  errors[2:].max())
        return Alignment(*map(float, values))

    def errors(self, theta: Array, axes: int) -> Array | None:
        """Standard errors of a place from how much the blocks of the picture disagree (a sandwich estimate); None: no structure."""
        there, valid = self.moved(theta)
        weight, away = self.weights(there, valid, ALIKE)
        jacobian = self._jacobian(there, axes)
        normal = self._normal(jacobian, weight, prior=1e-12)                               # no structure, no certainty
        rows, columns = (np.linspace(0, length, BLOCKS + 1).astype(int)[:-1] for length in there.shape)
        sums = np.stack([np.add.reduceat(np.add.reduceat(column * weight * away, rows, 0), columns, 1) for column in jacobian], -1)
        sums = sums.reshape(-1, axes).astype(float)                                        # (blocks, axes)
        noise = float((weight * away * away).sum() / max(1e-6, float((weight * self.texture).sum())))
        inverse = np.linalg.inv(normal)
        spread = inverse @ (sums.T @ sums) @ inverse + inverse * (noise + 1e-3) * 4
        if not np.isfinite(spread).all() or (np.diag(spread) < 0).any():
            return None
        return _spread(np.sqrt(np.diag(spread)))

    def _jacobian(self, there: Array, axes: int) -> list[Array]:
        """Change of the moved structure with each of theta's values, per picture half; the mean of both pictures' slopes."""
        across, down = _slopes(there)
        across, down = (self.slope[0] + across) * (self.half / 2), (self.slope[1] + down) * (self.half / 2)
        zooms = [across * self.u, down * self.v]
        return [across, down, *(zooms if axes == 4 else [zooms[0] + zooms[1]])]

    def _normal(self, jacobian: list[Array], weight: Array, prior: float = 1e-6) -> Array:
        """J^T W J, with a trace of a prior that nothing moved, so that it can be solved for pictures without structure."""
        normal = np.array([[float((one * weight * two).sum()) for two in jacobian] for one in jacobian])
        return normal + np.eye(len(normal)) * (prior * self.half ** 2 * self.before.size)


def _spread(values: Array) -> Array:
    """(dx, dy, a) -> (dx, dy, a, a)."""
    return values if len(values) == 4 else np.append(values, values[2])


def _structure(levels: Array) -> tuple[Array, Array]:
    """Brightness normalised in its neighbourhood, and how much structure there is, 0 to 1; both (h, w)."""
    away = levels - _blurred(levels, WINDOW)
    power = _blurred(away * away, WINDOW)
    return (away / np.sqrt(power + CONTRAST ** 2)).clip(-3, 3), power / (power + TEXTURE ** 2)


def _blurred(values: Array, sigma: float) -> Array:
    return ndimage.gaussian_filter(values, sigma, mode="nearest", truncate=2.5)


def _slopes(values: Array) -> tuple[Array, Array]:
    """Central differences to the right and down."""
    padded = np.pad(values, 1, mode="edge")
    return (padded[1:-1, 2:] - padded[1:-1, :-2]) / 2, (padded[2:, 1:-1] - padded[:-2, 1:-1]) / 2


def _reduced(picture: Image.Image, size: tuple[int, int]) -> Image.Image:
    return picture if picture.size == size else picture.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
