"""Trains what finds things in pictures, on drawn scenes, which say where their things are, with and without photographs behind them, and on
photographs alone.

  python -m mre.embedded.train_finder OUT [--photos DIR] [--seed 0] [--steps 2000]

Pictures are spoiled in many ways, since people go on from edits: looks, blur, tints, grain, and things that are soft and let what is behind
them through, as those that the small editor adds. What counts as there is set for each kind so that FOUND of the held-out scenes that have
one pass; printed is how many scenes and photographs without one do.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mre.data.scenes.looks import LOOKS, blurred
from mre.data.scenes.photos import piece_of, read_photos
from mre.data.scenes.render import render
from mre.data.scenes.world import KINDS, draw_scene, pick
from mre.embedded.finder import CELL, SIDE, Finder, ThingFinder

BATCH = 32
RATE = 2e-3
APART = 20.0                # weight of the cells without a thing, of which there are hundreds for one with
FOUND = 0.985               # of the held-out scenes with a thing of a kind, the share in which it counts as there
CHECKED_ON = 1200           # held-out scenes
BARE, ON_PHOTO = 0.25, 0.35         # shares of photographs with nothing on them, and of scenes that stand on one
PLACES = (np.arange(SIDE // CELL) + 0.5) * CELL / SIDE       # of the middles of cells
LOOK, BLUR, TINT, GRAIN, SOFT = 0.35, 0.3, 0.4, 0.2, 0.4        # shares of pictures with each


def drawn(rng: np.random.Generator, split: str, photos: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """A picture (SIDE, SIDE, 3) in [0, 1] and where each kind is (kinds, cells, cells): 1 about the middle of a thing, 0 away from all of
    its kind, NaN between."""
    here = np.zeros((len(KINDS), SIDE // CELL, SIDE // CELL), np.float32)
    kind = rng.random() if photos else 1.0
    photo = piece_of(pick(rng, photos), rng, SIDE) if kind < BARE + ON_PHOTO else None
    if photo is not None and kind < BARE:
        picture = photo.astype(np.float32) / 255
    else:
        scene = draw_scene(rng, split, photo is not None)
        picture = np.asarray(render(scene, SIDE, photo), np.float32)
        if rng.random() < SOFT:
            bare = np.asarray(render(replace(scene, things=()), SIDE, photo), np.float32)
            picture = bare + (0.5 + 0.5 * rng.random()) * blurred(picture - bare, 3 * rng.random())
        for thing in scene.things:
            far = np.hypot(PLACES[:, None] - thing.y, PLACES[None] - thing.x) / thing.radius        # (cells, cells), in radii
            cells = here[KINDS.index(thing.kind)]
            cells[(far < 1.5) & (cells == 0)] = np.nan
            cells[far == far.min()] = 1
            cells[far < 0.5] = 1
    return spoiled(picture.clip(0, 1), rng), here


def spoiled(picture: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The picture as an edit may have left it."""
    if rng.random() < LOOK:
        look = LOOKS[pick(rng, list(LOOKS))](picture)
        picture = picture + (look - picture) * rng.random()
    if rng.random() < BLUR:
        picture = blurred(picture, 0.3 + 1.5 * rng.random())
    if rng.random() < TINT:
        picture = picture * (0.7 + 0.6 * rng.random(3)) + 0.2 * (rng.random(3) - 0.5)
    if rng.random() < GRAIN:
        picture = picture + 0.08 * rng.random() * rng.standard_normal(picture.shape)
    return picture.clip(0, 1).astype(np.float32)


def batch_of(rng: np.random.Generator, split: str, photos: Sequence[np.ndarray], count: int) -> tuple[Tensor, Tensor]:
    """(B, 3, SIDE, SIDE) in [-1, 1] and (B, kinds, cells, cells)."""
    pictures, here = zip(*(drawn(rng, split, photos) for _ in range(count)), strict=True)
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).contiguous() * 2 - 1, torch.from_numpy(np.stack(here))


def train_finder(photos: Sequence[np.ndarray], *, seed: int = 0, steps: int = 2000, batch: int = BATCH) -> Finder:
    """Each step draws its own pictures from seed and number."""
    torch.manual_seed(seed)
    network = ThingFinder(len(KINDS))
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps, pct_start=0.1)
    shown = 0.0
    for step in range(steps):
        pictures, here = batch_of(np.random.default_rng((seed, step)), "train", photos, batch)
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(pictures)
        counts = ~here.isnan()
        each = F.binary_cross_entropy_with_logits(logits.float(), here.nan_to_num(), reduction="none")
        there = here == 1
        loss = each[there].mean() + each[counts & ~there].mean() * APART if there.any() else each[counts].mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()
        shown = 0.98 * shown + 0.02 * loss.item() if shown else loss.item()
        if (step + 1) % 100 == 0:
            print(f"step {step + 1} of {steps}: loss {shown:.4f}", flush=True)
    return Finder(network.eval(), KINDS, (0.0,) * len(KINDS))


@torch.inference_mode()
def calibrated(finder: Finder, photos: Sequence[np.ndarray], seed: int,
               count: int = CHECKED_ON) -> tuple[Finder, dict[str, tuple[float, float]]]:
    """The finder with what counts as there, and for each kind the shares of held-out pictures with one, and without, that then pass."""
    rng = np.random.default_rng((seed, 1))
    parts = [batch_of(rng, "heldout", photos, BATCH) for _ in range(count // BATCH)]
    logits = torch.cat([finder.network(pictures).amax(dim=(2, 3)) for pictures, _ in parts])
    here = torch.cat([(each == 1).any(dim=3).any(dim=2) for _, each in parts])
    least = tuple(round(float(torch.quantile(logits[here[:, place], place], 1 - FOUND)), 3) for place in range(len(finder.kinds)))
    passed = logits >= torch.tensor(least)
    shares = {kind: (passed[here[:, place], place].float().mean().item(), passed[~here[:, place], place].float().mean().item())
              for place, kind in enumerate(finder.kinds)}
    return Finder(finder.network, finder.kinds, least), shares


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder to write into, the reader's")
    parser.add_argument("--photos", type=Path, help="photographs behind the things, and alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=2000)
    args = parser.parse_args()
    torch.set_num_threads(1)
    photos = read_photos(args.photos) if args.photos else []
    finder, shares = calibrated(train_finder(photos, seed=args.seed, steps=args.steps), photos, args.seed)
    finder.save(args.out)
    for kind, (found, mistaken) in shares.items():
        print(f"{kind:10} found where there is one {found:.3f}, where there is none {mistaken:.3f}")


if __name__ == "__main__":
    main()
