"""Create, run and export human-evaluation studies.

    python -m mre study create photos --edits out/bench --per-pair 3 --repeats 5
    python -m mre study start photos
    python -m mre study status photos
    python -m mre study export photos --out photos.csv
    python -m mre study table photos --out photos-table

Studies live in data/studies.db, or in the database that --database names. `python app.py` shows running studies to annotators.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, text: str, *, study: bool = True) -> argparse.ArgumentParser:
        sub = verbs.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        sub.add_argument("--data", type=Path, default=Path("data"), help="folder of the SQLite store (default: data)")
        sub.add_argument("--database", help="SQLAlchemy URL, such as postgresql://user@host/name, instead of the SQLite store")
        if study:
            sub.add_argument("name", metavar="NAME", help="the study's name")
        return sub

    _add_design(create := verb("create", "make a draft study from edits"))
    create.add_argument("--edits", nargs="+", type=Path, required=True, metavar="PATH",
                        help="folders OUT/METHOD/ITEM.png with their edits.csv, or CSV or JSONL tables of edits")
    create.add_argument("--methods", help="compare only these, such as tiny,tiny-baseline (default: all in the table)")
    create.add_argument("--fit", action="store_true", help="resize edits to their original's size instead of refusing them")
    create.add_argument("--start", action="store_true", help="open it to annotators at once")
    _add_design(verb("revise", "make a new draft version of a study with the same edits and other settings"))
    _add_design(verb("change", "change settings of a draft"))
    verb("list", "show all studies", study=False)
    status = verb("status", "show coverage, annotators and agreement")
    status.add_argument("--json", action="store_true", help="as JSON")
    verb("start", "open a study to annotators; from then on it is frozen")
    verb("pause", "hand out nothing new for now")
    verb("close", "end a study for good")

    export = verb("export", "write all ratings to a file")
    export.add_argument("--out", type=Path, required=True, metavar="FILE")
    form = export.add_mutually_exclusive_group()
    form.add_argument("--wide", action="store_true", help="one row per screen and shown image instead of one per score")
    form.add_argument("--jsonl", action="store_true", help="JSON lines, one per score")
    export.add_argument("--bom", action="store_true", help="begin with a byte-order mark, for spreadsheets that need one")
    export.add_argument("--revisions", action="store_true", help="earlier answers too, not only final ones")
    export.add_argument("--without-excluded", action="store_true", help="leave out annotators who are excluded from the analysis")


def _add_design(parser: argparse.ArgumentParser) -> None:
    """Flags of StudyDesign's fields; one that is not given keeps its default."""
    from mre.study.design import StudyDesign

    default = StudyDesign()
    for name, kind, text in (
            ("title", str, "what annotators see as the study's name"), ("per_pair", int, "annotators who score each pair"),
            ("repeats", float, "hidden repeats, per cent of an annotator's pairs"),
            ("repeat_gap", int, "screens between a pair and its repeat, at least"),
            ("checks", float, "attention checks, per cent of an annotator's pairs"),
            ("max_screens", int, "pairs for one annotator at most; 0: no limit"),
            ("lease_minutes", float, "a screen left alone this long goes to somebody else"),
            ("min_seconds", float, "least time on a screen"), ("seed", int, "of all shuffling"),
            ("consent", str, "text in place of the page's own consent text"),
            ("instructions", str, "text below the page's own instructions"),
            ("completion_code", str, "one code for everybody (default: each annotator gets their own)")):
        shown = getattr(default, name)
        parser.add_argument("--" + name.replace("_", "-"), type=kind, help=f"{text} (default: {shown})" if shown != "" else text)
    parser.add_argument("--pairs", help="method pairs to compare, such as a:b,a:c (default: all)")
    parser.add_argument("--languages", help="languages of the annotator's page (default: en,zh)")


def run(args: argparse.Namespace) -> int | None:
    from mre.study.intake import StudyFaults
    from mre.study.store import Store

    store = Store.open(args.data, args.database)
    try:
        return VERBS[args.verb](store, args)
    except StudyFaults as error:
        for fault in error.faults:
            print(fault, file=sys.stderr)
        raise
    finally:
        store.close()


def _design_changes(args: argparse.Namespace) -> dict:
    from dataclasses import fields

    from mre.errors import StudyError
    from mre.study.design import StudyDesign

    changes = {field.name: getattr(args, field.name) for field in fields(StudyDesign) if getattr(args, field.name, None) is not None}
    if "pairs" in changes:
        changes["pairs"] = tuple(tuple(pair.split(":")) for pair in changes["pairs"].split(","))
        if any(len(pair) != 2 for pair in changes["pairs"]):
            raise StudyError(f"pairs must look like a:b,a:c, got {args.pairs!r}")
    if "languages" in changes:
        changes["languages"] = tuple(changes["languages"].split(","))
    return changes


def _create(store, args) -> None:
    from tqdm import tqdm

    from mre.study import studies
    from mre.study.design import StudyDesign

    design = StudyDesign(**_design_changes(args))
    methods = tuple(args.methods.split(",")) if args.methods else ()
    with tqdm(unit="item", leave=False, disable=None, desc="reading pictures") as bar:
        def on_item(number: int, total: int) -> None:
            bar.total = total
            bar.update(number - bar.n)
        study = studies.create_from_edits(store, args.name, args.edits, design, methods=methods, fit=args.fit, on_item=on_item)
    if args.start:
        study = studies.start(store, args.name)
    _say(study)


def _say(study) -> None:
    print(f"{study.name}: {study.state}" + (f", annotators go to /study/s/{study.public_id}" if study.state == "running" else ""))


def _revise(store, args) -> None:
    from mre.study import studies
    _say(studies.revise(store, args.name, **_design_changes(args)))


def _change(store, args) -> None:
    from mre.study import studies
    _say(studies.change_design(store, args.name, **_design_changes(args)))


def _start(store, args) -> None:
    from mre.study import studies
    _say(studies.start(store, args.name))


def _pause(store, args) -> None:
    from mre.study import studies
    _say(studies.pause(store, args.name))


def _close(store, args) -> None:
    from mre.study import studies
    _say(studies.close(store, args.name))


def _list(store, args) -> None:
    from mre.study import studies
    for study in studies.all_studies(store):
        _say(study)


def _export(store, args) -> None:
    from mre.study.export import export_file
    form = "wide" if args.wide else "jsonl" if args.jsonl else "long"
    rows = export_file(store, args.name, args.out, form, bom=args.bom, revisions=args.revisions, without_excluded=args.without_excluded)
    print(f"{args.out}: {rows} rows")


VERBS = {"create": _create, "revise": _revise, "change": _change, "list": _list, "start": _start, "pause": _pause, "close": _close,
         "export": _export}
