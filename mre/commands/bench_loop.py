"""Close the loop at laboratory size, and measure it: ratings -> judge -> data -> editor.

Simulated annotators, who see the true scores with noise of their own, rate a study of drawn edits; a judge is trained on their ratings; it
scores a pool of triplets; editors are trained on the pool at equal steps: on all of it, filtered, weighted or conditioned by the judge's
scores, filtered or conditioned by the true ones, and on as many triplets by chance. The oracle scores their edits of held-out scenes. Then
the best of N edits, N = 1 .. 32, as the trained judge, tiny-judge and the oracle choose it: how far a judge can be trusted as a target.

Written into OUT: the study and its edits, judge/ with its report, scores.csv of the pool, editors/, tables/, best-of-n.csv and .png. The
same command goes on where it was cut.

example:
  python -m mre bench loop --out loop/ --trainings 3
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from pathlib import Path

from mre.benchmark.rating_loop import ARMS, Loop, LoopSize, plot_best_of
from mre.errors import SettingsError

ABOUT = {"items": "scenes in the study, two edits each, rated twice", "annotators": "simulated annotators", "pool": "triplets to train on",
         "keep": "share of the pool that filters keep", "size": "pixels a side", "judge_steps": "steps of the judge's training",
         "steps": "steps of each editor's training", "trainings": "trainings of each editor", "scenes": "held-out scenes of the table",
         "chosen_scenes": "held-out scenes of best-of-N"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the results folder")
    parser.add_argument("--only", nargs="+", metavar="DATA", help=f"train these alone, of {', '.join(ARMS)} (default: all)")
    for one in dataclasses.fields(LoopSize):
        parser.add_argument("--" + one.name.replace("_", "-"), type=type(one.default), default=one.default, metavar="N",
                            help=f"{ABOUT[one.name]} (default %(default)s)")


def run(args: argparse.Namespace) -> int:
    from mre.judge.trained import embedded_judge
    from mre.training.loop import Run

    arms = args.only or list(ARMS)
    if unknown := [name for name in arms if name not in ARMS]:
        raise SettingsError(f"--only must name some of {', '.join(ARMS)}; got {unknown[0]!r}")
    size = LoopSize(**{one.name: getattr(args, one.name) for one in dataclasses.fields(LoopSize)})
    began = time.perf_counter()

    def say(text: str) -> None:
        print(f"{time.perf_counter() - began:6.0f} s  {text}", flush=True)
    loop = Loop(args.out, size, lambda config, examples: Run(config, examples).train(), say)
    tables = [loop.judge_table(), loop.data_table(arms)]
    for table in tables:                        # before hours of trainings
        table.write(args.out / "tables")
        print(table.markdown(), flush=True)
    tables = [loop.table(arms)]
    rows = loop.best_of(embedded_judge())
    plot_best_of(rows, args.out / "best-of-n.png")
    for table in tables:
        table.write(args.out / "tables")
        print(table.markdown())
    for row in rows:
        print(f"best of {row['of']:2.0f}, chosen by the {row['chosen by']:<14} oracle {row['oracle']:.3f}, trained judge "
              f"{row['trained judge']:.3f}, another judge {row['another judge']:.3f}")
    say("done")
    return 0
