"""From a scene to a picture: signed distances with analytic anti-aliasing, drawn only inside each thing's bounding box.

Pictures are (H, W, 3) float32 in [0, 1]. Everything is a function of the scene and the size alone.
"""

from __future__ import annotations

from functools import lru_cache, reduce

import numpy as np

from mre.data.scenes.looks import LOOKS
from mre.data.scenes.patterns import amounts
from mre.data.scenes.world import COLOURS, Backdrop, Scene, Thing

Array = np.ndarray
FOOT = {"ball": 1.0, "cube": 0.95, "cone": 0.95, "star": 0.95, "heart": 0.95, "tree": 1.0, "house": 1.0, "mushroom": 0.95,
        "flower": 1.05, "car": 0.75}     # how far below its centre a thing touches the ground, in radii
BROWN, CREAM, GLASS, LEAF = (0.45, 0.28, 0.14), (0.96, 0.90, 0.78), (0.72, 0.86, 0.95), (0.20, 0.55, 0.20)
AMBER, LEMON = (0.98, 0.55, 0.10), (0.99, 0.84, 0.20)     # the heart of a flower
WOOD, GOLD = (0.62, 0.40, 0.20), (0.95, 0.74, 0.22)
COVERS = {"striped": "stripes", "dotted": "dots", "checkered": "checks"}      # textures of two colours


def render(scene: Scene, size: int, photo: Array | None = None) -> Array:
    """
    photo: (size, size, 3) uint8 or float32 in [0, 1], what stands behind the things when the scene's backdrop is a photograph
    returns (size, size, 3) float32 in [0, 1]
    """
    if scene.backdrop.kind == "photo":
        assert photo is not None, "a scene before a photograph is drawn on one"
        picture = photo.astype(np.float32) * np.float32(1 / 255) if photo.dtype == np.uint8 else photo.copy()
    else:
        picture = kept_backdrop(scene.backdrop, size).copy()
    for thing in sorted(scene.things, key=lambda thing: thing.y):
        draw_thing(picture, thing)
    if scene.look:
        picture = LOOKS[scene.look](picture)
    return picture


# ---------------------------------------------------------------- backdrops

PALETTES = {     # per kind: sky at the top, sky at the horizon, ground far, ground near; three moods to mix between
    "meadow": (((0.28, 0.55, 0.92), (0.80, 0.90, 0.98), (0.55, 0.74, 0.36), (0.30, 0.58, 0.20)),
               ((0.36, 0.66, 0.96), (0.88, 0.94, 0.96), (0.48, 0.72, 0.30), (0.22, 0.50, 0.18)),
               ((0.46, 0.60, 0.86), (0.98, 0.90, 0.80), (0.68, 0.72, 0.36), (0.42, 0.54, 0.20))),
    "desert": (((0.32, 0.60, 0.90), (0.96, 0.90, 0.78), (0.93, 0.78, 0.52), (0.85, 0.64, 0.36)),
               ((0.45, 0.70, 0.92), (0.98, 0.93, 0.84), (0.90, 0.72, 0.46), (0.78, 0.56, 0.30)),
               ((0.62, 0.56, 0.74), (1.00, 0.82, 0.66), (0.88, 0.62, 0.42), (0.70, 0.44, 0.28))),
    "snow": (((0.55, 0.70, 0.88), (0.88, 0.92, 0.97), (0.90, 0.94, 0.98), (0.97, 0.98, 1.00)),
             ((0.42, 0.62, 0.88), (0.84, 0.90, 0.97), (0.86, 0.91, 0.97), (0.95, 0.97, 1.00)),
             ((0.62, 0.66, 0.82), (0.97, 0.88, 0.88), (0.90, 0.90, 0.96), (0.98, 0.96, 0.98))),
    "beach": (((0.26, 0.62, 0.95), (0.86, 0.95, 0.99), (0.10, 0.56, 0.74), (0.95, 0.87, 0.66)),
              ((0.20, 0.54, 0.90), (0.76, 0.91, 0.98), (0.08, 0.46, 0.70), (0.92, 0.82, 0.60)),
              ((0.50, 0.66, 0.90), (1.00, 0.90, 0.78), (0.22, 0.54, 0.68), (0.94, 0.80, 0.58))),
    "night": (((0.03, 0.04, 0.14), (0.13, 0.16, 0.36), (0.08, 0.12, 0.16), (0.05, 0.08, 0.11)),
              ((0.02, 0.05, 0.18), (0.10, 0.22, 0.42), (0.07, 0.13, 0.18), (0.04, 0.08, 0.12)),
              ((0.07, 0.04, 0.18), (0.24, 0.16, 0.40), (0.11, 0.10, 0.18), (0.06, 0.06, 0.12))),
    "mountains": (((0.35, 0.60, 0.90), (0.86, 0.92, 0.97), (0.46, 0.60, 0.40), (0.30, 0.46, 0.26)),
                  ((0.45, 0.68, 0.92), (0.92, 0.95, 0.97), (0.52, 0.62, 0.42), (0.36, 0.48, 0.28)),
                  ((0.55, 0.60, 0.82), (0.99, 0.88, 0.82), (0.56, 0.58, 0.42), (0.38, 0.42, 0.28))),
    "city": (((0.45, 0.66, 0.90), (0.90, 0.93, 0.96), (0.62, 0.62, 0.64), (0.42, 0.42, 0.45)),
             ((0.36, 0.58, 0.86), (0.84, 0.90, 0.96), (0.58, 0.59, 0.62), (0.38, 0.39, 0.43)),
             ((0.56, 0.52, 0.74), (1.00, 0.84, 0.70), (0.60, 0.55, 0.58), (0.40, 0.36, 0.40))),
    "space": (((0.02, 0.01, 0.06), (0.14, 0.05, 0.24), (0.52, 0.50, 0.54), (0.36, 0.34, 0.40)),
              ((0.01, 0.02, 0.08), (0.06, 0.10, 0.28), (0.50, 0.50, 0.52), (0.34, 0.34, 0.38)),
              ((0.05, 0.01, 0.07), (0.24, 0.06, 0.22), (0.56, 0.50, 0.50), (0.40, 0.34, 0.36))),
}
FAR = {"meadow": (0.44, 0.64, 0.42), "desert": (0.88, 0.68, 0.44), "snow": (0.78, 0.84, 0.93), "night": (0.05, 0.07, 0.15),
       "mountains": (0.44, 0.50, 0.62), "space": (0.44, 0.42, 0.48)}


@lru_cache(maxsize=8)
def grid(size: int) -> tuple[Array, Array]:
    """Pixel centres: x as (1, size) and y as (size, 1), fractions of the side."""
    line = ((np.arange(size) + 0.5) / size).astype(np.float32)
    return line[None, :], line[:, None]


@lru_cache(maxsize=32)
def cloth(size: int, cells: int, seed: int, stretch: float = 1.0) -> Array:
    """Smooth periodic noise in [-1, 1], (size, size), with about `cells` bumps along a side; stretched along x."""
    rng = np.random.default_rng([seed, cells])
    frequency = np.fft.fftfreq(size) * size
    envelope = np.exp(-((np.hypot(frequency[:, None], frequency[None, :] * stretch) / cells) ** 2))
    side = 4 * cells + 2      # the same draws at every size: only low frequencies carry anything
    coarse = np.zeros((size, size), np.complex128)
    span = min(side, size)
    take = np.r_[0:span // 2, -(span - span // 2):0]
    noise = np.fft.fft2(rng.standard_normal((side, side)))
    pick = np.r_[0:span // 2, -(span - span // 2):0]
    coarse[np.ix_(take, take)] = noise[np.ix_(pick, pick)]
    field = np.fft.ifft2(coarse * envelope).real
    return (field / np.abs(field).max()).astype(np.float32)


def rolled(size: int, cells: int, seed: int, stretch: float = 1.0) -> Array:
    """One of many smooth noises: a cached one, rolled by the seed."""
    field = cloth(size, cells, seed % 3, stretch)
    return np.roll(field, ((seed * 37 % 128) * size // 128, (seed * 71 % 128) * size // 128), (0, 1))


def mixed(a: Array, b: Array, amount: Array | float) -> Array:
    return a + (b - a) * amount


def palette(backdrop: Backdrop) -> Array:
    """(4, 3) colours: sky top, sky bottom, ground far, ground near."""
    moods = np.asarray(PALETTES[backdrop.kind], np.float32)
    place = min(max(backdrop.mood, 0.0), 1.0) * 2
    first = min(int(place), 1)
    return mixed(moods[first], moods[first + 1], place - first)


def cover(picture: Array, mask: Array, colour: Array) -> None:
    """Paint `colour` over `picture` where `mask` says, in place."""
    picture += (colour - picture) * mask[..., None]


def ridge(size: int, seed: int, base: float, height: float, waves: int, jagged: bool = False) -> Array:
    """(1, size) height of a hill line, as y."""
    x, _ = grid(size)
    line = np.zeros_like(x)
    for number in range(1, waves + 1):
        phase = (seed * (number * 2 + 1) * 0.618) % 6.28318
        wave = np.sin(x * (2.1 + 2.3 * number) + phase)
        line += (np.abs(wave) * 1.3 - 0.6 if jagged else wave) / number
    return base - height * (0.6 + 0.5 * line)


def draw_backdrop(backdrop: Backdrop, size: int) -> Array:
    """(size, size, 3) float32 in [0, 1]."""
    x, y = grid(size)
    kind, seed, horizon = backdrop.kind, backdrop.seed, backdrop.horizon
    sky_top, sky_low, far, near = palette(backdrop)
    depth = np.clip(y / horizon, 0, 1)
    picture = np.empty((size, size, 3), np.float32)
    picture[:] = (sky_top + (sky_low - sky_top) * depth ** 1.4)[:, None, :].reshape(size, 1, 3)
    if kind in ("night", "space"):
        draw_stars(picture, seed, horizon, count=46 if kind == "space" else 30)
        if kind == "space":
            haze = np.clip(rolled(size, 3, seed), 0, 1) * (y < horizon)
            cover(picture, haze * 0.55, np.array((0.50, 0.25, 0.62), np.float32))
            disc(picture, 0.15 + 0.7 * (seed * 0.382 % 1), 0.25, 0.09, (0.82, 0.55, 0.36), ring=True)
    elif kind != "city" or seed % 3:
        haze = rolled(size, 7, seed, 2.2) + 0.45 * rolled(size, 16, seed + 1, 1.6)
        haze = np.clip(haze * 2.2 - 0.30, 0, 1) * np.clip((horizon - y) * 5, 0, 1)
        cover(picture, haze * 0.75, np.array((1.0, 1.0, 1.0), np.float32))
    if kind in ("beach", "desert"):
        disc(picture, 0.12 + 0.76 * (seed * 0.618 % 1), 0.13 + 0.08 * (seed * 0.23 % 1), 0.055, (1.0, 0.96, 0.74), glow=True)
    if kind in FAR:
        colour = np.asarray(FAR[kind], np.float32)
        if kind == "mountains":
            line = ridge(size, seed, horizon + 0.02, 0.20, 4, jagged=True)
            rock = np.clip((y - line) * size + 0.5, 0, 1)
            cover(picture, rock, mixed(sky_low, colour, 0.8))
            snow = np.clip((line + 0.055 + 0.02 * rolled(size, 12, seed) - y) * size * 0.5 + 0.5, 0, 1) * rock
            cover(picture, snow * 0.9, np.array((0.97, 0.98, 1.0), np.float32))
        else:
            line = ridge(size, seed, horizon + 0.02, 0.09 if kind != "space" else 0.03, 3)
            cover(picture, np.clip((y - line) * size + 0.5, 0, 1), mixed(sky_low, colour, 0.75))
    if kind == "city":
        draw_houses(picture, seed, horizon, sky_low)
    ground = np.clip((y - horizon) * size + 0.5, 0, 1)
    fall = np.clip((y - horizon) / (1 - horizon), 0, 1)
    if kind == "beach":
        cover(picture, np.broadcast_to(ground, (size, size)), far * (1.12 - 0.35 * fall)[..., None])
        shore = horizon + 0.13 + 0.015 * np.sin(x * 9 + seed)
        sand = np.clip((y - shore) * size + 0.5, 0, 1)
        foam = np.clip(1 - np.abs(y - shore) * size / (0.014 * size), 0, 1)
        cover(picture, sand, near * (1 + 0.05 * rolled(size, 20, seed))[..., None])
        cover(picture, foam * 0.8, np.array((1.0, 1.0, 1.0), np.float32))
    else:
        grain = 1 + (0.09 if kind in ("meadow", "mountains") else 0.05) * rolled(size, 20, seed)
        colour = (far + (near - far) * fall[..., None]) * grain[..., None]
        cover(picture, np.broadcast_to(ground, (size, size)), colour)
        if kind == "desert":
            picture *= (1 + 0.05 * ground * np.sin((y * 60 + 3 * np.sin(x * 7 + seed)) * (1 + fall)))[..., None]
        if kind == "city":
            lane = np.clip(1 - np.abs(y - 0.93) * 60, 0, 1) * (np.sin(x * 40) > 0)
            cover(picture, lane * 0.8, np.array((0.95, 0.93, 0.85), np.float32))
    return np.clip(picture, 0, 1, out=picture)


@lru_cache(maxsize=4)
def kept_backdrop(backdrop: Backdrop, size: int) -> Array:
    """The last few backdrops: before, after and wrong mostly share one."""
    return draw_backdrop(backdrop, size)


def window(size: int, x0: float, y0: float, x1: float, y1: float) -> tuple[slice, slice]:
    """The pixels of a box given in fractions of the side, cut to the picture: (rows, columns)."""
    low, high = max(int(y0 * size), 0), min(int(y1 * size) + 2, size)
    left, right = max(int(x0 * size), 0), min(int(x1 * size) + 2, size)
    return slice(low, max(high, low)), slice(left, max(right, left))


def disc(picture: Array, cx: float, cy: float, radius: float, colour: tuple, glow: bool = False, ring: bool = False) -> None:
    size = len(picture)
    x, y = grid(size)
    reach = radius * 2.6
    rows, columns = window(size, cx - reach, cy - reach, cx + reach, cy + reach)
    dx, dy = x[:, columns] - cx, y[rows] - cy
    away = np.sqrt(dx * dx + dy * dy)
    paint = np.asarray(colour, np.float32)
    if glow:
        cover(picture[rows, columns], np.clip(1 - away / reach, 0, 1) ** 2 * 0.6, paint)
    cover(picture[rows, columns], np.clip((radius - away) * size + 0.5, 0, 1), paint)
    if ring:
        band = np.abs(np.sqrt(dx * dx * 0.28 + (dy + 0.3 * dx) ** 2 * 4) - radius * 0.95) - 0.008
        behind = (dy + 0.3 * dx < 0) & (away < radius)
        cover(picture[rows, columns], np.clip(0.5 - band * size, 0, 1) * ~behind * 0.8, np.array((0.93, 0.84, 0.68), np.float32))


def draw_stars(picture: Array, seed: int, horizon: float, count: int) -> None:
    size = len(picture)
    number = np.arange(count)
    rows = ((number * 0.7548 + seed * 0.137) % 1 * horizon * 0.92 * size).astype(int)
    columns = ((number * 0.5698 + seed * 0.291) % 1 * size).astype(int)
    shine = (0.35 + 0.6 * (number * 0.377 % 1)).astype(np.float32)
    dot = max(1, size // 128)
    for down in range(dot):
        for along in range(dot):
            picture[np.minimum(rows + down, size - 1), np.minimum(columns + along, size - 1)] += shine[:, None]


def draw_houses(picture: Array, seed: int, horizon: float, haze: Array) -> None:
    """A skyline: towers with lit windows."""
    size = len(picture)
    x, y = grid(size)
    left, number = -0.03, 0
    while left < 1:
        wide = 0.08 + 0.07 * ((seed * 0.31 + number * 0.618) % 1)
        top = horizon - 0.10 - 0.24 * ((seed * 0.47 + number * 0.755) % 1)
        rows, columns = window(size, max(left, 0), top, min(left + wide, 1), horizon)
        mask = (np.clip((y[rows] - top) * size + 0.5, 0, 1)
                * np.clip((left + wide - x[:, columns]) * size + 0.5, 0, 1) * np.clip((x[:, columns] - left) * size + 0.5, 0, 1))
        shade = 0.45 + 0.25 * ((number * 0.382 + seed * 0.11) % 1)
        cover(picture[rows, columns], mask, mixed(np.array((0.46, 0.50, 0.60), np.float32) * (shade + 0.3), haze, 0.25))
        lights = (((y[rows] - top) * 26 % 1) < 0.5) & (((x[:, columns] - left) * 34 % 1) < 0.5) & (y[rows] > top + 0.02)
        cover(picture[rows, columns], lights * mask * 0.55, np.array((0.98, 0.93, 0.72), np.float32))
        left += wide + 0.01
        number += 1


# ---------------------------------------------------------------- things

def circle(u: Array, v: Array, cx: float, cy: float, radius: float) -> Array:
    return np.sqrt((u - cx) ** 2 + (v - cy) ** 2) - radius


def ellipse(u: Array, v: Array, cx: float, cy: float, a: float, b: float) -> Array:
    return (np.sqrt(((u - cx) / a) ** 2 + ((v - cy) / b) ** 2) - 1) * min(a, b)


def box(u: Array, v: Array, cx: float, cy: float, a: float, b: float, rounding: float = 0.0) -> Array:
    dx, dy = np.abs(u - cx) - (a - rounding), np.abs(v - cy) - (b - rounding)
    return np.minimum(np.maximum(dx, dy), 0) + np.sqrt(np.maximum(dx, 0) ** 2 + np.maximum(dy, 0) ** 2) - rounding


def polygon(u: Array, v: Array, *corners: tuple[float, float]) -> Array:
    """Distance to a convex polygon whose corners go clockwise on the screen (v grows downwards)."""
    sides = []
    for (ax, ay), (bx, by) in zip(corners, corners[1:] + corners[:1], strict=True):
        length = np.hypot(bx - ax, by - ay)
        sides.append(((u - ax) * ((by - ay) / length) - (v - ay) * ((bx - ax) / length)).astype(np.float32))
    return reduce(np.maximum, sides)


def ball(u, v):
    light = np.exp(-((u + 0.38) ** 2 + (v + 0.42) ** 2) * 7)
    return [(circle(u, v, 0, 0, 1), "main", 1.08 - 0.32 * np.clip(0.55 * u + 0.7 * v, -0.5, 1), light * 0.75)]


def cube(u, v):
    return [(polygon(u, v, (-0.95, -0.40), (-0.45, -0.90), (0.95, -0.90), (0.50, -0.40)), "main", 1.22, 0.08),
            (polygon(u, v, (0.50, -0.40), (0.95, -0.90), (0.95, 0.45), (0.50, 0.95)), "main", 0.66, 0.0),
            (polygon(u, v, (-0.95, -0.40), (0.50, -0.40), (0.50, 0.95), (-0.95, 0.95)), "main", 0.98, 0.0)]


def cone(u, v):
    body = np.minimum(polygon(u, v, (0, -1.15), (0.82, 0.75), (-0.82, 0.75)), ellipse(u, v, 0, 0.75, 0.82, 0.2))
    return [(body, "main", 1.1 - 0.42 * np.clip(u + 0.2, -0.6, 1), np.clip(1 - np.abs(u + 0.22 + 0.12 * v) * 6, 0, 1) * 0.22)]


def star(u, v):
    away = np.sqrt(u * u + v * v)
    angle = np.abs((np.arctan2(u, -v) + np.pi / 5) % (2 * np.pi / 5) - np.pi / 5)
    px, py = away * np.cos(angle), away * np.sin(angle)
    tip, inner = 1.1, 0.52
    ix, iy = inner * np.cos(np.pi / 5), inner * np.sin(np.pi / 5)
    length = np.hypot(ix - tip, iy)
    return [((px - tip) * (iy / length) - py * ((ix - tip) / length), "main", 1.1 - 0.2 * (v + 0.2), 0.0)]


def heart(u, v):
    x, y = np.abs(u) / 1.72, (0.95 - v) / 1.72
    upper = np.sqrt((x - 0.25) ** 2 + (y - 0.75) ** 2) - 0.35355
    fold = 0.5 * np.maximum(x + y, 0)
    lower = np.sqrt(np.minimum(x * x + (y - 1) ** 2, (x - fold) ** 2 + (y - fold) ** 2)) * np.sign(x - y)
    light = np.exp(-((u + 0.42) ** 2 + (v + 0.42) ** 2) * 9)
    return [(np.where(y + x > 1, upper, lower) * 1.72, "main", 1.06 - 0.25 * (u * 0.4 + v * 0.6), light * 0.6)]


def tree(u, v):
    crown = np.minimum(np.minimum(circle(u, v, -0.42, -0.18, 0.52), circle(u, v, 0.42, -0.18, 0.52)), circle(u, v, 0, -0.62, 0.56))
    return [(box(u, v, 0, 0.62, 0.15, 0.40), BROWN, 1.0 - 0.3 * u, 0.0), (crown, "main", 1.1 - 0.3 * (0.4 * u + v + 0.4), 0.0)]


def house(u, v):
    return [(box(u, v, 0, 0.45, 0.78, 0.55), "main", 1.0 - 0.08 * u, 0.0),
            (polygon(u, v, (0, -1.0), (1.02, -0.05), (-1.02, -0.05)), "main", 0.58, 0.0),
            (box(u, v, 0.32, 0.62, 0.18, 0.38), BROWN, 1.0, 0.0),
            (box(u, v, -0.34, 0.42, 0.21, 0.20), CREAM, 1.0, 0.0),
            (box(u, v, -0.34, 0.42, 0.16, 0.15), GLASS, 1.0, 0.0)]


def mushroom(u, v):
    cap = np.maximum(ellipse(u, v, 0, -0.05, 1.0, 0.85), v - 0.12)
    return [(box(u, v, 0, 0.45, 0.27, 0.50, 0.2), CREAM, 1.0 - 0.25 * u, 0.0),
            (cap, "main", 1.08 - 0.25 * (0.5 * u + 0.5 * v), np.exp(-((u + 0.35) ** 2 + (v + 0.45) ** 2) * 10) * 0.5)]


def flower(u, v):
    away, angle = np.sqrt(u * u + (v + 0.35) ** 2), np.arctan2(v + 0.35, u)
    petals = away - (0.52 + 0.20 * np.cos(6 * angle))
    return [(box(u, v, 0, 0.55, 0.07, 0.50), LEAF, 1.0, 0.0), (ellipse(u, v, 0.22, 0.72, 0.24, 0.11), LEAF, 1.15, 0.0),
            (petals * 0.8, "main", 0.85 + 0.35 * away, 0.0), (circle(u, v, 0, -0.35, 0.22), "heart", 1.0, 0.0)]


def car(u, v):
    return [(polygon(u, v, (-0.62, 0.05), (-0.40, -0.52), (0.30, -0.52), (0.62, 0.05)), "main", 1.0, 0.0),
            (polygon(u, v, (-0.47, 0.0), (-0.31, -0.40), (-0.06, -0.40), (-0.06, 0.0)), GLASS, 1.0, 0.0),
            (polygon(u, v, (0.04, 0.0), (0.04, -0.40), (0.24, -0.40), (0.46, 0.0)), GLASS, 1.0, 0.0),
            (box(u, v, 0, 0.26, 1.08, 0.30, 0.18), "main", 1.08 - 0.4 * (v - 0.1), 0.0),
            (circle(u, v, -0.56, 0.50, 0.25), (0.10, 0.10, 0.11), 1.0, 0.0), (circle(u, v, 0.56, 0.50, 0.25), (0.10, 0.10, 0.11), 1.0, 0.0),
            (circle(u, v, -0.56, 0.50, 0.11), (0.75, 0.76, 0.78), 1.0, 0.0), (circle(u, v, 0.56, 0.50, 0.11), (0.75, 0.76, 0.78), 1.0, 0.0)]


def balloon(u, v):
    return [(np.maximum(np.abs(u - 0.08 * np.sin(v * 6)) - 0.035, np.abs(v - 1.1) - 0.35), (0.35, 0.33, 0.33), 1.0, 0.0),
            (polygon(u, v, (0, 0.62), (0.16, 0.85), (-0.16, 0.85)), "main", 0.8, 0.0),
            (ellipse(u, v, 0, -0.15, 0.78, 0.92), "main", 1.06 - 0.25 * (0.5 * u + 0.4 * v),
             np.exp(-((u + 0.28) ** 2 + (v + 0.5) ** 2) * 12) * 0.7)]


def cloud(u, v):
    puffs = np.minimum(np.minimum(circle(u, v, -0.62, 0.12, 0.40), circle(u, v, 0.62, 0.15, 0.38)),
                       np.minimum(circle(u, v, -0.12, -0.14, 0.52), circle(u, v, 0.34, -0.02, 0.44)))
    puffs = np.minimum(puffs, box(u, v, 0, 0.32, 0.95, 0.20, 0.2))
    return [(puffs, "main", 1.08 - 0.22 * (v + 0.1), 0.0)]


def moon(u, v):
    return [(np.maximum(circle(u, v, 0, 0, 0.95), 0.78 - np.sqrt((u - 0.48) ** 2 + (v + 0.16) ** 2)), "main", 1.05, 0.0)]


SHAPES = {shape.__name__: shape for shape in (ball, cube, cone, star, heart, tree, house, mushroom, flower, car, balloon, cloud, moon)}
REACH = (1.3, 1.5)     # half width and half height of a bounding box, in radii


def textured(thing: Thing, x: Array, y: Array) -> Array:
    """(h, w, 3) or (3,): the colour of a thing's surface before shading, at places given in sides of the picture."""
    colour = np.asarray(COLOURS[thing.colour], np.float32)
    if thing.texture == "plain":
        return colour
    if thing.texture == "wooden":
        return np.asarray(WOOD, np.float32) * (1 + np.float32(0.24) * amounts("rings", x, y))[..., None]
    if thing.texture == "golden":
        gold = np.asarray(GOLD, np.float32) * (np.float32(0.92) + np.float32(0.24) * amounts("gleam", x, y))[..., None]
        return gold + np.float32(0.48) * amounts("glint", x, y)[..., None]
    second = np.asarray((0.16, 0.17, 0.22) if thing.colour in ("white", "yellow", "pink") else (0.97, 0.96, 0.92), np.float32)
    return colour + (second - colour) * amounts(COVERS[thing.texture], x, y)[..., None]


def draw_thing(picture: Array, thing: Thing) -> None:
    """Paint one thing with its shadow, in place, touching only its bounding box."""
    size = len(picture)
    x, y = grid(size)
    radius = thing.radius
    cy = thing.y if thing.in_sky else thing.y - FOOT.get(thing.kind, 1.0) * radius
    rows, columns = window(size, thing.x - REACH[0] * radius, cy - REACH[1] * radius, thing.x + REACH[0] * radius, cy + REACH[1] * radius)
    patch = picture[rows, columns]
    u, v = (x[:, columns] - thing.x) / radius, (y[rows] - cy) / radius
    if not thing.in_sky:
        away = (u / 1.15) ** 2 + ((v - FOOT.get(thing.kind, 1.0)) / 0.28) ** 2
        patch *= (1 - 0.42 * np.clip(1.15 - away, 0, 1))[..., None]
    surface = textured(thing, x[:, columns], y[rows])
    edge = radius * size
    for distance, colour, shade, light in SHAPES[thing.kind](u, v):
        if isinstance(colour, str):
            colour = surface if colour == "main" else np.asarray(AMBER if thing.colour == "yellow" else LEMON, np.float32)
        else:
            colour = np.asarray(colour, np.float32)
        shade = shade * np.clip(0.80 - distance * 2.2, 0.70, 1.0)      # a soft dark rim sets a thing off from what is behind it
        paint = colour * shade[..., None]
        if isinstance(light, np.ndarray):
            paint = paint + light[..., None]
        elif light:
            paint = paint + np.float32(light)
        cover(patch, np.clip(0.5 - distance * edge, 0, 1), np.clip(paint, 0, 1))
