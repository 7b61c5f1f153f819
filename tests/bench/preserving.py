"""Known shifts, zooms and colour casts put on photographs, and how exactly `mre.metrics.preserving` finds them.

Each of the pairs is cut from one photograph twice, with two boxes of real numbers, so that the true shift and zoom are known to any
fraction of a pixel; a cast is added to the second cut, and in two of three pairs a part of it (`--edited`, a share of its area) is another
photograph altogether, standing for the edit. With `--jpeg` the second cut is also saved as a JPEG of that quality, as some servers answer.

  python -m tests.bench.preserving PHOTOS ... [--pairs 200] [--edited 0.1 0.6] [--jpeg 90]
  python -m tests.bench.preserving --scenes 40         correlation with the oracle's score of preserving on spoiled synthetic scenes
"""

from __future__ import annotations

import argparse
import io
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import stats

from mre.imaging import open_image
from mre.metrics.preserving import Preserving, measure_preserving
from mre.rewards import EDIT_TYPES

MOST_SHIFT = 0.05            # of the shorter side
LEAST_ZOOM, MOST_ZOOM = 0.92, 1.12
MOST_CAST = 12               # levels, whole ones: a fraction would be lost in rounding
LIMITS = {"shift": 0.5, "zoom": 0.2, "cast": 1.0}       # pixels, percent, levels


@dataclass(frozen=True)
class Pair:
    """Two cuts of one photograph, and what was done between them."""

    name: str
    original: Image.Image
    edited: Image.Image
    dx: float
    dy: float
    zoom: float
    cast: tuple[int, int, int]
    share: float                 # of the area that was edited


def cut(photo: Image.Image, rng: np.random.Generator) -> tuple[tuple[int, int], tuple[float, ...], tuple[float, ...], float, float, float]:
    """Size, the two boxes, and the shift and zoom from one to the other; boxes are drawn until both lie within the photo."""
    while True:
        width = int(min(photo.size) * rng.uniform(0.45, 0.85))
        height = int(min(min(photo.size) * 0.85, width * rng.uniform(0.75, 1.33)))
        left, top = rng.uniform(0, photo.width - width), rng.uniform(0, photo.height - height)
        zoom = math.exp(rng.uniform(math.log(LEAST_ZOOM), math.log(MOST_ZOOM)))
        dx, dy = rng.uniform(-MOST_SHIFT, MOST_SHIFT, 2) * min(width, height)
        x, y = left + width / 2, top + height / 2        # a point p of the first is at c + d + zoom (p - c) of the second
        box = (x + (-width / 2 - dx) / zoom, y + (-height / 2 - dy) / zoom, x + (width / 2 - dx) / zoom, y + (height / 2 - dy) / zoom)
        if min(box[:2]) >= 0 and box[2] <= photo.width and box[3] <= photo.height:
            return (width, height), (left, top, left + width, top + height), box, dx, dy, zoom


def pairs(photos: Sequence[Path], count: int, edited: tuple[float, float], jpeg: int | None, seed: int = 0) -> Iterator[Pair]:
    """Drawn pairs, every third without an edit; a pure function of its arguments."""
    rng = np.random.default_rng(seed)
    opened = [open_image(path) for path in photos]
    for number in range(count):
        photo = opened[number % len(opened)]
        size, first, second, dx, dy, zoom = cut(photo, rng)
        cast = rng.integers(-MOST_CAST, MOST_CAST + 1, 3)
        original, moved = (photo.resize(size, Image.Resampling.LANCZOS, box=box) for box in (first, second))
        pixels = np.asarray(moved, float) + cast
        share = rng.uniform(*edited) if number % 3 else 0.0
        other = np.asarray(opened[int(rng.integers(len(opened) - 1) + number + 1) % len(opened)].resize(size), float)
        pixels = np.where(edit_region(size, share, rng)[..., None], other, pixels)
        picture = Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))
        if jpeg is not None:
            file = io.BytesIO()
            picture.save(file, "JPEG", quality=jpeg)
            picture = open_image(file.getvalue())
        yield Pair(photos[number % len(photos)].stem, original, picture, dx, dy, zoom, tuple(cast), share)


def edit_region(size: tuple[int, int], share: float, rng: np.random.Generator) -> np.ndarray:
    """(H, W) bool: an ellipse somewhere, or one side of a slanted line, that covers this share of the picture."""
    x, y = np.meshgrid((np.arange(size[0]) + 0.5) / size[0] - 0.5, (np.arange(size[1]) + 0.5) / size[1] - 0.5)
    angle, aspect = rng.uniform(0, 2 * math.pi), rng.uniform(0.6, 1.6)
    a, b = rng.uniform(-0.35, 0.35, 2)
    away = x * math.cos(angle) + y * math.sin(angle) if rng.random() < 0.5 else np.hypot((x - a) * aspect, (y - b) / aspect)
    return away < np.quantile(away, share) if share else np.zeros(away.shape, bool)


def errors(pair: Pair, found: Preserving) -> dict[str, float]:
    """How far off each figure is, in the units of LIMITS; infinite where it was not measurable."""
    shift = math.inf if found.dx is None else math.hypot(found.dx - pair.dx, found.dy - pair.dy)
    zoom = math.inf if found.zoom is None else abs(found.zoom / pair.zoom - 1) * 100
    cast = math.inf if found.drift is None else float(np.abs(np.subtract(found.drift, pair.cast)).max())
    return {"shift": shift, "zoom": zoom, "cast": cast}


def measure_pairs(drawn: Iterator[Pair], verbose: bool) -> None:
    """Prints a table of the errors."""
    rows, changed, started = [], [], time.perf_counter()
    for pair in drawn:
        found = measure_preserving(pair.original, pair.edited)
        rows.append(errors(pair, found))
        changed.append(found.changed - pair.share)
        if verbose and any(rows[-1][name] > limit for name, limit in LIMITS.items()):
            print(pair.name, pair.original.size, f"edited {pair.share:.2f}", {name: round(value, 3) for name, value in rows[-1].items()})
    seconds = (time.perf_counter() - started) / len(rows)
    print(f"{'':8}{'within':>10}{'median':>10}{'95 %':>10}{'worst':>10}{'none':>8}   of {len(rows)} pairs, {seconds:.2f} s each")
    for name, limit in LIMITS.items():
        values = np.array([row[name] for row in rows])
        there = values[np.isfinite(values)]
        print(f"{name:8}{(values <= limit).sum():>10}{np.median(there):>10.3f}{np.quantile(there, 0.95):>10.3f}{there.max():>10.3f}"
              f"{(~np.isfinite(values)).sum():>8}   at most {limit}")
    print(f"changed share less the true one: mean {np.mean(changed):+.3f}, worst {np.abs(changed).max():.3f}")


def correlate_with_oracle(per_type: int, seed: int, size: int) -> None:
    """Prints, per edit type, the rank correlation of each figure with the oracle's score of preserving: negative where they agree."""
    from mre.data.scenes.oracle import Oracle
    from mre.data.scenes.triplets import draw_triplet, outside_of
    from mre.judge.measured import score_of

    figures = {"shift": lambda found: found.shift, "zoom": lambda found: found.zoom and abs(math.log(found.zoom)),
               "drift": lambda found: found.colour_drift, "outside share": lambda found: found.outside_share,
               "outside size": lambda found: found.outside_size, "measured score": lambda found: score_of(found, size)}
    print(f"{'edit type':12}{'mask':>6}{'n':>6}" + "".join(f"{name:>20}" for name in figures) + "     Spearman's rho (n)")
    every_score, everything = [], {"true": [], "none": []}
    for edit_type in EDIT_TYPES:
        scores, found = [], {"true": [], "none": []}
        for index in range(per_type):
            triplet = draw_triplet(seed, index, "heldout", size, edit_type=edit_type)
            scores.append(Oracle(triplet).score(triplet.edited).preserving)
            before, after = Image.fromarray(triplet.original), Image.fromarray(triplet.edited)
            found["true"].append(measure_preserving(before, after, outside_of(triplet.target_mask) == 0))
            found["none"].append(measure_preserving(before, after))
        every_score += scores
        for mask, measured in found.items():
            everything[mask] += measured
            print_correlations(edit_type, mask, scores, measured, figures)
    for mask, measured in everything.items():
        print_correlations("all", mask, every_score, measured, figures)


def print_correlations(name: str, mask: str, scores: list[float], measured: list[Preserving],
                       figures: dict[str, Callable[[Preserving], float | None]]) -> None:
    """One row: Spearman's rho of each figure with the scores, and over how many pairs."""
    cells = []
    for figure in figures.values():
        kept = [(score, value) for score, value in zip(scores, map(figure, measured), strict=True) if value is not None]
        rho = stats.spearmanr(*zip(*kept, strict=True)).statistic if len(kept) > 2 else math.nan
        cells.append(f"{rho:+.2f} ({len(kept)})" if math.isfinite(rho) else f"- ({len(kept)})")
    print(f"{name:12}{mask:>6}{len(scores):>6}" + "".join(f"{cell:>20}" for cell in cells), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="*", type=Path, metavar="PHOTOS", help="pictures or folders of them")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--edited", nargs=2, type=float, default=(0.1, 0.6), metavar="SHARE")
    parser.add_argument("--jpeg", type=int, metavar="QUALITY")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--scenes", type=int, metavar="N", help="scenes of each edit type, instead of photographs")
    parser.add_argument("--size", type=int, default=128, help="of the scenes (default %(default)s)")
    parser.add_argument("--verbose", action="store_true", help="name the pairs beyond a limit")
    args = parser.parse_args()
    if args.scenes:
        correlate_with_oracle(args.scenes, args.seed, args.size)
        return
    files = [file for path in args.photos for file in (sorted(path.glob("*.jpg")) if path.is_dir() else [path])]
    if not files:
        parser.error("name photographs, or folders of them")
    measure_pairs(pairs(files, args.pairs, tuple(args.edited), args.jpeg, args.seed), args.verbose)


if __name__ == "__main__":
    main()
