"""Train a judge from ratings: scores per perspective with a deviation, offline, from what people, other judges or the oracle said.

DATA is any of these, as many as there are; DATA@3 is drawn three times as often as the others
  study:NAME           a study in the store (--data, --database)
  FILE.csv, .jsonl     an exported study, long form; pictures come from the tables of edits named by --edits
  FILE.jsonl, .json    RewardEdit data, our working form or the released one (with --triplets)
  scenes:N             N synthetic scenes, each spoiled in four ways; also scenes:20000?seed=1&size=128&photos=DIR
  FILE.json, .parquet  preference pairs as published: EditReward's JSON, GenAI-Bench, EditScore

Held out by original picture: a part stops the training early, calibrates the deviations (half of it), and is reported (the other half) in
DIR/report.md with tables, a calibration plot and the worst mistakes. The same command goes on where it was cut. On several processes:
torchrun --nproc_per_node 2 -m mre train-judge ...

example:
  python -m mre train-judge study:photos scenes:20000 --init-from tiny-judge --out judges/mine
  python -m mre judge photo.jpg edited.png "make it winter" --judge judges/mine
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any, get_type_hints

from mre.errors import SettingsError
from mre.judge.reward_models.bodies import BODIES
from mre.rewards import PERSPECTIVES
from mre.settings import shown
from mre.training.judges.config import JudgeTraining


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sources", nargs="+", metavar="DATA", help="what to learn from (above)")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the judge")
    parser.add_argument("--test", nargs="+", default=[], metavar="DATA", help="report on these instead of on what was held out")
    parser.add_argument("--body", choices=tuple(BODIES), default="tiny", help="the network (default %(default)s)")
    parser.add_argument("--init-from", metavar="JUDGE", help="a judge to go on from: tiny-judge, or a folder of the same body")
    parser.add_argument("--network", nargs="+", default=[], metavar="NAME=VALUE",
                        help="sizes of the network, such as size=64 hidden=32; of vlm: base=FOLDER|HUB_ID side=448 lora_rank=16")
    parser.add_argument("--perspectives", default=",".join(PERSPECTIVES), help="those that the judge scores (default %(default)s)")
    parser.add_argument("--edits", nargs="+", type=Path, default=[], metavar="PATH", help="folders or tables of edits that an export is of")
    parser.add_argument("--triplets", metavar="SOURCE", help="where the pictures of RewardEdit's released form are")
    parser.add_argument("--data", type=Path, default=Path("data"), help="folder of the studies' store (default: data)")
    parser.add_argument("--database", help="SQLAlchemy URL of the studies, instead of the SQLite store")
    parser.add_argument("--report-only", action="store_true", help="calibrate and report the judge in DIR; train nothing")
    parser.add_argument("--fit-scale", metavar="editreward:FOLDER", help="train nothing: fit the map from EditReward's raw values to "
                                                                        "scores of 0 to 5 on DATA, and store it beside its weights")
    group = parser.add_argument_group("training")
    hints = get_type_hints(JudgeTraining)
    for one in dataclasses.fields(JudgeTraining):
        choices = one.metadata["choices"]
        group.add_argument("--" + one.name.replace("_", "-"), dest=one.name, default=argparse.SUPPRESS,
                           metavar="|".join(choices) if choices else hints[one.name].__name__.upper(),
                           help=f"{one.metadata['help']} ({shown(one)})".replace("%", "%%"))


def run(args: argparse.Namespace) -> int:
    given = {one.name: getattr(args, one.name) for one in dataclasses.fields(JudgeTraining) if hasattr(args, one.name)}
    config = JudgeTraining(**given)
    if (args.out is None) == (args.fit_scale is None):
        raise SettingsError("give --out DIR for a judge to be trained, or --fit-scale for a map of EditReward's values, not both")
    store = None
    if any(text.startswith("study:") for text in (*args.sources, *args.test)):
        from mre.study.store import Store
        store = Store.open(args.data, args.database)
    try:
        return fit_scale(args, config, store) if args.fit_scale else train(args, config, store)
    finally:
        if store is not None:
            store.close()


def train(args: argparse.Namespace, config: JudgeTraining, store: Any) -> int:
    """Open the data, train, calibrate, save, report."""
    from mre.training.judges.making import calibrate_and_save, split_sources, starting_network, train_network
    from mre.training.judges.report import summary
    from mre.training.judges.sources import open_groups, weighted

    def opened(text: str):
        return open_groups(text, edits=args.edits, triplets=args.triplets, store=store)
    named = [weighted(text) for text in args.sources]
    sources = [(opened(text), weight) for text, weight in named]
    network, trained = starting_network(args.body, args.out if args.report_only else args.init_from, args.network,
                                        args.perspectives.split(","), config.seed)
    held = split_sources(sources, config)[1]
    if not args.report_only:
        made = train_network(network, sources, config, args.out, args.sources)
        if made is None:
            return 0
        trained = made
    tests = [opened(text) for text in args.test] or held
    found, rows, paths = calibrate_and_save(network, tests, config, args.out, trained, args.sources)
    print(summary(rows))
    for path in (args.out / "judge.json", *paths):
        print(f"  {path}")
    if len({edit.annotator for group in found.groups for edit in group.edits}) == 1 and found.groups[0].edits[0].annotator:
        print("all labels are one annotator's: how people differ is not in them", file=sys.stderr)
    return 0


def fit_scale(args: argparse.Namespace, config: JudgeTraining, store: Any) -> int:
    """Score the labelled edits of DATA with EditReward and fit the line that makes scores of its means; some originals are held out."""
    from tqdm import tqdm

    from mre.judge.editreward import EditRewardJudge, write_scale
    from mre.judge.editreward import fit_scale as fit
    from mre.judge.verdicts import Ask
    from mre.training.judges.groups import share_of
    from mre.training.judges.sources import open_groups, weighted

    judge = EditRewardJudge(args.fit_scale)
    asks, scores, held = [], [], []
    for text in args.sources:
        source = open_groups(weighted(text)[0], edits=args.edits, triplets=args.triplets, store=store)
        for number in range(len(source)):
            group = source.group(number)
            for edit in group.edits:
                if any(score is not None for score in edit.scores):
                    asks.append(Ask(edit.item or group.source, edit.instruction, edit.original, edit.edited))
                    scores.append([edit.scores[PERSPECTIVES.index(name)] for name in judge.perspectives])
                    held.append(share_of(group.source, "held out") < max(config.held_out, 0.3))
    answers: list = []
    for start in tqdm(range(0, len(asks), judge.batch), desc=args.fit_scale, unit="batch", disable=None):
        answers += judge.raw(asks[start:start + judge.batch])
    read = [number for number, answer in enumerate(answers) if not isinstance(answer, str)]
    scale = fit([[head[0] for head in answers[number]] for number in read], [scores[number] for number in read],
                [held[number] for number in read])
    path = write_scale(judge.weights, scale)
    for name, row in scale.items():
        print(f"  {name:<12}score = {row['intercept']:.3f} + {row['slope']:.3f} * mean, off by {row['deviation']:.2f} "
              f"on {row['held_out']} held out")
    print(f"  {path}")
    return 1 if len(read) < len(answers) else 0
