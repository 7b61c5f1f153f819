"""Compare a judge's scores with people's: tables, plots and one report that opens offline.

HUMAN holds people's ratings: an export of a study, a table with a column per perspective or per annotator, or a folder of ImagenHub rater
files. JUDGE holds a judge's scores, one row per item, method and perspective; several judges may share a file. Columns that are not
needed are not read. An edits.csv beside JUDGE, or named with --edits, tells edit types, instructions and source images.

example:
  python -m mre compare human_ratings.csv judge_scores.csv --out comparison --scheme viescore
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

SHOWN_NOTICES = 12


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("human", metavar="HUMAN", type=Path, help="people's ratings (CSV, or a folder of CSV and TSV files)")
    parser.add_argument("judge", metavar="JUDGE", type=Path, help="judge scores (CSV)")
    parser.add_argument("--out", metavar="DIR", type=Path, help="folder for agreement.csv, tables/, plots/ and report.html; "
                                                                "without it only the summary is printed")
    parser.add_argument("--scheme", choices=("mre", "viescore"), default="mre",
                        help="mre: perspective by perspective on 0-5 (default); viescore: SC, PQ and O on 0-1")
    parser.add_argument("--methods", metavar="A,B", nargs="+", default=[],
                        help="only these methods, in this order (commas or blanks between)")
    parser.add_argument("--judge", dest="judge_name", metavar="NAME", action="append", default=[],
                        help="only this judge; may be given several times")
    parser.add_argument("--bootstrap", metavar="N", type=int, default=1000, help="draws for the intervals, 0 for none (default 1000)")
    parser.add_argument("--seed", metavar="S", type=int, default=0, help="seed of the draws (default 0)")
    parser.add_argument("--edits", metavar="CSV", type=Path, help="edits.csv of a benchmark: edit types, instructions, source images")


def run(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from mre.agreement.comparison import Comparison
    from mre.agreement.comparison_tables import summary, verdict
    from mre.agreement.report import write_report
    from mre.agreement.score_files import read_edits, read_human, read_judge
    from mre.agreement.shown import shown
    from mre.agreement.sides import Options, sides_of

    options = Options(scheme=args.scheme, methods=_names(args.methods), judges=tuple(args.judge_name), bootstrap=args.bootstrap,
                      seed=args.seed)
    sides = sides_of(read_human(args.human), read_judge(args.judge), options, read_edits(args.edits, beside=args.judge))
    for notice in sides.notices[:SHOWN_NOTICES]:
        print(notice, file=sys.stderr)
    if len(sides.notices) > SHOWN_NOTICES:
        print(f"and {len(sides.notices) - SHOWN_NOTICES} more notices, all in the report", file=sys.stderr)
    comparison = Comparison(sides)
    comparison.method_tests()
    with tqdm(desc="intervals", unit="block", disable=None, leave=False) as bar:
        for done, total in comparison.intervals():
            bar.total = total
            bar.update(done - bar.n)
    table = shown(summary(comparison))
    print(table[[column for column in ("judge", "perspective", "edits", "bias", "mae", "spearman within", "human ceiling", "rank tau b")
                 if column in table]].to_string(index=False))
    for judge in sides.judges:
        print(verdict(comparison, judge))
    print(comparison.interval_rule)
    if args.out:
        files = write_report(comparison, args.out)
        print(f"{len(comparison.rows)} figures and {len(files)} files in {args.out}; open {args.out / 'report.html'}")
    return 0


def _names(texts: list[str]) -> tuple[str, ...]:
    """Names given one by one or with commas between, once each."""
    return tuple(dict.fromkeys(name for text in texts for part in text.split(",") if (name := part.strip())))
