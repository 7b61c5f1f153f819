"""Measure judges by public sets of what people chose or rated.

SET is one of
  genai-bench        GenAI-Bench, image_edition: Parquet files, or valid_set2_full.json
  aurora             AURORA's ratings: valid_aurora_human_ratings_pointwise.json; aurora-pairs: ..._pairwise.json
  imagenhub          ImagenHub's ratings: valid_imagenhub_processed.json
  editreward-bench   TIGER's EditReward-Bench: EditReward_Bench_{2,3,4}pair.json, or the folders 2pair, 3pair, 4pair of Parquet files
  editscore-bench    EditScore's EditReward-Bench: Parquet files
  mmrb2              MMRB2's edit pairs: edit.json

Each judge scores every edit once, into OUT/scores/JUDGE.csv; the same command again goes on where it was cut. A judge that saw two edits at
once, elsewhere, stands beside them by its recorded verdicts (mmrb2, genai-bench, editreward-bench). Written: OUT/tables/ as CSV, Markdown
and LaTeX. Missing pictures and answers are counted, never guessed; the exit code is 1 where a judge left some.

example:
  python -m mre bench judges --set editreward-bench --data EditReward-Bench/ --judge measured gpt-4o-2024-08-06 --out judges/ --budget 20
  python -m mre bench judges --set mmrb2 --data MMRB2/benchmark --verdicts gpt-5=outputs/task2_edit_gpt5.json --out judges/
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from mre.errors import DataError, JudgeError, SettingsError
from mre.judge.flags import add_judge_arguments, agree_on_cost, judge_from
from mre.judge.kinds import kind_of

if TYPE_CHECKING:
    from mre.benchmark.formats.choices import JudgeSet
    from mre.scoring.manifest import Question
    from mre.scoring.selection import Opinion

TASK = "evaluate"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--set", required=True, metavar="SET", help="which set (above)")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="where it lies")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="the results folder")
    parser.add_argument("--verdicts", nargs="+", default=[], metavar="NAME=FILE",
                        help="recorded verdicts of judges that see two edits at once")
    add_judge_arguments(parser, several=True)


def run(args: argparse.Namespace) -> int:
    from mre.benchmark.formats.judge_sets import open_judge_set
    from mre.benchmark.judge_tables import table_of_verdicts, tables_of_set

    if not args.judge and not args.verdicts:
        raise SettingsError("give judges with --judge, or recorded verdicts with --verdicts")
    for name in args.judge:
        if kind_of(name).scenes_only:
            raise JudgeError(f"{name} judges synthetic scenes only, and the sets are of photos")
    recorded = recorded_verdicts(args.set, args.verdicts)
    judge_set = open_judge_set(args.set, args.data)
    claim(args.out, judge_set)
    opinions, lost = {}, 0
    for name in args.judge:
        label, found, failed = opinions_of(args, name, judge_set)
        opinions[label] = found
        lost += failed
    tables = tables_of_set(judge_set, opinions)
    if recorded:
        tables.append(table_of_verdicts(judge_set, recorded))
    for table in tables:
        table.write(args.out / "tables")
        print(table.markdown())
    print(f"tables in {args.out / 'tables'}", file=sys.stderr)
    return 1 if lost else 0


def opinions_of(args: argparse.Namespace, name: str, judge_set: JudgeSet) -> tuple[str, dict[str, Opinion], int]:
    """A judge's label in tables, its scores of the set's edits, made where they are missing, and how many it left without."""
    from tqdm import tqdm

    from mre.data.realedit import file_safe
    from mre.scoring.files import JudgeScores
    from mre.scoring.run import score_to_file, told
    from mre.scoring.selection import read_opinions

    judge = judge_from(argparse.Namespace(**{**vars(args), "judge": name}))
    path = args.out / "scores" / f"{file_safe(judge.name)}.csv"
    rows = list(questions(judge_set))
    with tqdm(unit="edit", desc=judge.name, total=len(rows), disable=None) as bar:
        made = score_to_file(rows, judge, JudgeScores, path, TASK, lambda asks: agree_on_cost(judge, asks, TASK, args.yes), bar.update)
    print("\n".join(told(made, path)), file=sys.stderr)
    if made.tally.stopped:
        raise JudgeError(f"{made.tally.stopped}; run the same command again to resume")
    return judge.name, read_opinions([path]) if made.total else {}, made.failed


def questions(judge_set: JudgeSet) -> Iterator[Question]:
    """Every edit of the set that can be judged, once."""
    from mre.benchmark.formats.choices import questions_of
    from mre.judge.verdicts import Ask
    from mre.scoring.files import ScoredEdit
    from mre.scoring.manifest import Question

    for _photo, instruction, original, edit in questions_of(judge_set):
        yield Question(ScoredEdit(edit.name, edit.name, judge_set.name, instruction),
                       Ask(edit.name, instruction, original, edit.picture, judge_set.name))


def claim(out: Path, judge_set: JudgeSet) -> None:
    """Make a folder this set's. Raises DataError where it holds another's scores."""
    from mre.benchmark.formats.choices import questions_of
    from mre.files import read_json, write_whole

    edits = repr([(edit.name, instruction) for _, instruction, _, edit in questions_of(judge_set)])
    identity = {"set": judge_set.name, "edits": hashlib.sha256(edits.encode()).hexdigest()[:16]}
    path = out / "set.json"
    if path.exists():
        if (there := read_json(path)) != identity:
            other = there.get("set") if isinstance(there, dict) else there
            raise DataError(f"{out}: holds scores of another set, {other!r}; name another --out")
        return
    write_whole(path, json.dumps(identity) + "\n")


def recorded_verdicts(name: str, given: list[str]) -> dict:
    """Judge -> its recorded verdicts. Raises SettingsError, DataError."""
    from mre.benchmark.formats.verdicts import VERDICTS

    if given and name not in VERDICTS:
        raise SettingsError(f"--verdicts are read for {', '.join(VERDICTS)}, not for {name}")
    pairs = [one.partition("=") for one in given]
    if wrong := [one for one, (judge, _, file) in zip(given, pairs, strict=True) if not judge or not file]:
        raise SettingsError(f"--verdicts must look like NAME=FILE, got {wrong[0]!r}")
    return {judge: VERDICTS[name](Path(file)) for judge, _, file in pairs}
