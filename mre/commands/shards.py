"""Write triplets as tar shards in WebDataset's form, for training from shared or slow disks.

Pictures are kept byte for byte. A shard is whole or absent, and the same command goes on where it was cut. `train.py --data pix2pix
--data-dir DIR`, `score`, `rewards` and `train-judge` read them like a tree; rewards go by the same ids.

  python -m mre shards clip-filtered/ --out shards/
  python -m mre shards scenes:20000?seed=7 --out shards/ --per-shard 2000
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mre.errors import DataError

MOST = 100_000


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", help="an InstructPix2Pix tree, Parquet files, a CSV with instruction, original, edited; scenes:N")
    parser.add_argument("--out", type=Path, required=True, help="folder for the tar files")
    parser.add_argument("--per-shard", type=int, default=1000, metavar="N", help="triplets in a file (default: 1000)")


def run(args: argparse.Namespace) -> None:
    from tqdm.auto import tqdm

    from mre.data.sources import open_triplets
    from mre.data.tar_shards import write_shards

    if not 1 <= args.per_shard <= MOST:
        raise DataError(f"--per-shard must be between 1 and {MOST}, got {args.per_shard}")
    triplets = open_triplets(args.source, Path())
    total = -(-len(triplets) // args.per_shard)
    for _ in tqdm(write_shards(triplets, args.out, args.per_shard), total=total, unit="shard", disable=None):
        pass
    print(f"{args.out}: {len(triplets)} triplets in {total} {'file' if total == 1 else 'files'}")
