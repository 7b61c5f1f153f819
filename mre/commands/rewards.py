"""Make RewardEdit data: score triplets from three perspectives, with a text of what is wrong, and show what the data look like.

TRIPLETS is one of
  a folder             an InstructPix2Pix tree (shard-xx/ID/SEED_0.jpg, SEED_1.jpg, prompt.json), or Parquet files
  FILE.csv             with columns instruction, original, edited (and id), paths relative to the CSV
  scenes:N             N synthetic triplets, for the oracle; also scenes:560?seed=7&split=heldout&size=128
  FILE.jsonl, .json    reward data that are there already: only the statistics are made

Each answer is kept as it arrives; the same command run again goes on where it was cut. Beside FILE.jsonl it writes FILE.json (the
released form), FILE.failed.jsonl (triplets without a reward, and why; the exit code is 1 then) and FILE-statistics/ (CSV and plots).

example:
  python -m mre rewards ip2p/ --out data/rewards/ip2p.jsonl --judge gpt-4o-2024-08-06 --workers 32 --budget 40
  python -m mre rewards "scenes:560?seed=7" --out data/rewards/scenes.jsonl --judge oracle
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from mre.errors import DataError, JudgeError
from mre.judge.flags import add_judge_arguments, agree_on_cost, judge_from
from mre.rewards import PERSPECTIVES, Reward


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("triplets", metavar="TRIPLETS", help="what to score (above)")
    parser.add_argument("--out", type=Path, metavar="FILE.jsonl", help="where the rewards go (not needed for statistics of a file)")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first N triplets")
    parser.add_argument("--statistics", type=Path, metavar="DIR", help="where the statistics go (default: beside the rewards)")
    add_judge_arguments(parser)


def run(args: argparse.Namespace) -> int:
    from mre.data.rewardedit import read_rewards

    if args.triplets.endswith((".jsonl", ".json")):
        source = Path(args.triplets)
        show_statistics((row.reward for row in read_rewards(source).values()), args.statistics or statistics_folder(source))
        return 0
    if args.out is None or args.out.suffix != ".jsonl":
        raise DataError(f"--out must name a .jsonl file, got {args.out}")
    if args.limit is not None and args.limit < 1:
        raise DataError(f"--limit must be 1 or more, got {args.limit}")
    return make(args)


def make(args: argparse.Namespace) -> int:
    """Judge what is missing, then write the released form and the statistics."""
    from tqdm import tqdm

    from mre.data.rewardedit import read_rewards
    from mre.data.sources import open_triplets
    from mre.scoring.files import RewardFile
    from mre.scoring.reward_making import LazyAsks, make_rewards, write_released_form

    triplets = open_triplets(args.triplets, args.out.parent)
    if args.limit is not None:
        triplets = triplets[:args.limit]
    judge = judge_from(args)
    if missing := [name for name in PERSPECTIVES if name not in judge.perspectives]:
        raise JudgeError(f"{judge.name} does not score {', '.join(missing)}; a reward needs {', '.join(PERSPECTIVES)}")
    with judge.cache.only_run():
        done = RewardFile(args.out, judge.name).done
        agree_on_cost(judge, LazyAsks(triplets, done), "reward", args.yes)
        with tqdm(total=len(triplets), initial=min(len(done), len(triplets)), unit="triplet", desc=judge.name, disable=None) as bar:
            made = make_rewards(triplets, judge, args.out, bar.update)
    print(f"{made.tally}" + (f"; {made.kept} rewards were there already" if made.kept else ""), file=sys.stderr)
    for name, reason in list(made.failed.items())[:5]:
        print(f"no reward for {name}: {reason.removeprefix(f'{name}: ')}", file=sys.stderr)
    if len(made.failed) > 5:
        print(f"... and {len(made.failed) - 5} more in {args.out.with_suffix('.failed.jsonl')}", file=sys.stderr)
    if args.out.stat().st_size:
        count = write_released_form(args.out, args.out.with_suffix(".json"))
        print(f"{count} rewards in {args.out} and, in the released form, {args.out.with_suffix('.json')}")
        show_statistics((row.reward for row in read_rewards(args.out).values()), args.statistics or statistics_folder(args.out))
    if made.tally.stopped:
        raise JudgeError(f"{made.tally.stopped}; run the same command again to resume")
    return 1 if made.failed else 0


def statistics_folder(rewards: Path) -> Path:
    """Where the statistics of a file of rewards go."""
    return rewards.with_name(rewards.stem + "-statistics")


def show_statistics(rewards: Iterable[Reward], folder: Path) -> None:
    """Print the share below 5 and the commonest words, and write everything to a folder."""
    from mre.data.reward_statistics import statistics, write_statistics

    found = statistics(rewards)
    print(f"{found.count} triplets       mean   below 5   commonest words")
    for name in PERSPECTIVES:
        mean = sum(score * count for score, count in found.scores[name].items()) / found.count
        words = ", ".join(word for word, _ in sorted(found.words[name].items(), key=lambda item: (-item[1], item[0]))[:6])
        print(f"  {name:<14} {mean:8.2f} {100 * found.share_below_best(name):7.1f} %   {words}")
    for path in write_statistics(found, folder):
        print(f"  {path}")
