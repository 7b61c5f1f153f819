"""Score everything in a manifest with a judge.

MANIFEST is one of
  FOLDER               with edits.csv, as `bench` writes it; an InstructPix2Pix tree; Parquet files
  FILE.csv, FILE.jsonl with instruction, original, edited, and id, or item and method; pictures relative to it
  scenes:N             N synthetic triplets, also scenes:560?seed=7&split=heldout&size=128

FILE.jsonl gets one line an edit, in RewardEdit's working form: what `train.py --scores` reads. FILE.csv gets one line for each perspective:
what `compare` and the Compare tab read. Both hold the deviation of each score where the judge gives one.

The same command again goes on where the last one was cut. What cannot be scored (a missing picture, an empty instruction) is listed in
FILE.failed.jsonl and the rest goes on; the exit code is 1 then. Several runs share a manifest with --shard, each with a file of its own.

example:
  python -m mre score bench/ --judge measured --out bench/measured.csv
  python -m mre score clip-filtered/ --judge tiny-judge --out scores/2.jsonl --shard 2/8
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from mre.errors import DataError, JudgeError
from mre.judge.flags import add_judge_arguments, agree_on_cost, judge_from
from mre.judge.verdicts import TASKS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("manifest", metavar="MANIFEST", help="what to score (above)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="where the scores go: .csv or .jsonl")
    parser.add_argument("--shard", metavar="I/N", help="only every N-th row, from the I-th on (1/8 to 8/8)")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N rows")
    parser.add_argument("--task", choices=TASKS, help="reward: score and what is wrong (default for .jsonl); "
                                                      "evaluate: yes/no and score (default for .csv)")
    add_judge_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from mre.scoring.files import JudgeScores, RewardFile
    from mre.scoring.manifest import Manifest, Shard
    from mre.scoring.run import score_to_file, told

    kinds = {".csv": (JudgeScores, "evaluate"), ".jsonl": (RewardFile, "reward")}
    if args.out.suffix.lower() not in kinds:
        raise DataError(f"--out must name a .csv or .jsonl file, got {args.out}")
    if args.limit is not None and args.limit < 1:
        raise DataError(f"--limit must be 1 or more, got {args.limit}")
    kind, task = kinds[args.out.suffix.lower()]
    task = args.task or task
    manifest = Manifest(args.manifest, args.out.parent, Shard.parse(args.shard) if args.shard else None, args.limit)
    judge = judge_from(args)
    with tqdm(unit="edit", desc=judge.name, disable=None) as bar:
        made = score_to_file(manifest, judge, kind, args.out, task, lambda asks: agree_on_cost(judge, asks, task, args.yes), bar.update)
    print("\n".join(told(made, args.out)), file=sys.stderr)
    print(f"{made.total} edits in {args.out}")
    if made.tally.stopped:
        raise JudgeError(f"{made.tally.stopped}; run the same command again to resume")
    return 1 if made.failed else 0
