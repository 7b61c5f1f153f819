"""Synthetic scenes: triplets per second, and how well the oracle gives known scores back.

  python -m tests.bench.scenes [--count 1400] [--photos DIR]
"""

import argparse
import os
import time
from pathlib import Path

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402
from scipy.stats import spearmanr  # noqa: E402
from tqdm import tqdm  # noqa: E402

from mre.data.scenes import oracle  # noqa: E402
from mre.data.scenes.photos import read_photos  # noqa: E402
from mre.data.scenes.triplets import draw_triplet  # noqa: E402
from mre.rewards import EDIT_TYPES, PERSPECTIVES  # noqa: E402
from tests.conftest import ROOT  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1400, help="triplets for the oracle, the seven edit types in turn")
    parser.add_argument("--photos", type=Path, default=ROOT / "mre" / "assets" / "photos")
    args = parser.parse_args()
    photos = read_photos(args.photos)
    print("drawing, one core (CPU time)")
    for size in (64, 128, 256):
        draw_triplet(0, 0, "train", size, photos)
        started, number = time.process_time(), 200
        for index in range(number):
            draw_triplet(0, index, "train", size, photos)
        spent = (time.process_time() - started) / number
        print(f"  {size:>3} px   {1 / spent:6.0f} triplets/s   {spent * 1000:5.1f} ms each")
    true, given, kinds = [], [], []
    started = time.process_time()
    for index in tqdm(range(args.count), unit="triplet", delay=2):
        triplet = draw_triplet(100, index, "heldout", 128, photos, edit_type=EDIT_TYPES[index % 7], photo_share=0.5)
        true.append(triplet.reward.scores)
        given.append(oracle.score(triplet, triplet.edited).scores)
        kinds.append(triplet.kinds)
    spent = (time.process_time() - started) / args.count
    true, given, kinds = np.array(true), np.array(given), np.array(kinds)
    print(f"\noracle, {args.count} held-out spoiled triplets at 128 px, half before photographs ({spent * 1000:.0f} ms each, one core)")
    print(f"  {'':<12}{'mean error':>11}{'bias':>8}{'rank corr.':>12}   mean error by edit type")
    types = np.arange(args.count) % 7
    for number, name in enumerate(PERSPECTIVES):
        off = given[:, number] - true[:, number]
        by_type = "  ".join(f"{edit_type} {np.abs(off[types == k]).mean():.2f}" for k, edit_type in enumerate(EDIT_TYPES))
        rank = spearmanr(true[:, number], given[:, number]).statistic
        print(f"  {name:<12}{np.abs(off).mean():>11.3f}{off.mean():>8.3f}{rank:>12.3f}   {by_type}")
    print("\n  mean error by kind of fault")
    for number, name in enumerate(PERSPECTIVES):
        off = np.abs(given[:, number] - true[:, number])
        by_kind = (f"{kind or 'none'} {off[kinds[:, number] == kind].mean():.2f}" for kind in np.unique(kinds[:, number]))
        print(f"  {name:<12}" + "  ".join(by_kind))
    print("\n  correlation of true (rows) with given scores")
    for number, name in enumerate(PERSPECTIVES):
        print(f"  {name:<12}" + "".join(f"{np.corrcoef(true[:, number], given[:, k])[0, 1]:>8.2f}" for k in range(3)))


if __name__ == "__main__":
    main()
