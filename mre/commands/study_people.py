"""Verbs of `python -m mre study` about the people who take part: who they are, who goes on, who is left out, who is paid."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path


def add_verbs(verb: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the parsers; `verb` makes one for a name and a text."""
    exclude = verb("exclude", "leave an annotator out of the analysis and give them no more screens; a recorded choice, nothing is deleted")
    exclude.add_argument("annotator", metavar="ANNOTATOR")
    exclude.add_argument("--reason", required=True)
    exclude.add_argument("--recollect", action="store_true", help="let other people score their pairs again")
    for name, text in (("include", "lift an exclusion; pairs that nobody else has scored meanwhile count again"),
                       ("recollect", "let other people score the pairs of an excluded annotator again; nothing is deleted"),
                       ("continue", "let an annotator go on whose visit a rule has ended")):
        verb(name, text).add_argument("annotator", metavar="ANNOTATOR")
    people = verb("participants", "list who took part: state, progress, checks, pace, completion code and kept recruiting ids")
    people.add_argument("--out", type=Path, metavar="FILE", help="write a CSV that its owner alone may read")
    paid = verb("payments", "write whom to pay: those who earned a completion code, and were neither excluded nor stopped")
    paid.add_argument("--out", type=Path, required=True, metavar="FILE")
    paid.add_argument("--form", choices=("csv", "prolific", "mturk", "cloudresearch"), default="csv",
                      help="what the recruiting service takes (default: a CSV of everybody)")
    paid.add_argument("--amount", default="0", metavar="A", help="for each approved participant, in the service's currency")
    paid.add_argument("--per-screen", default="0", metavar="A", help="for each screen that an approved participant scored")
    paid.add_argument("--reject-excluded", action="store_true", help="reject excluded annotators with the exclusion's reason")
    forget = verb("forget-ids", "delete the recruiting service's ids, of one annotator or of all")
    forget.add_argument("annotator", metavar="ANNOTATOR", nargs="?")


def _exclude(store, args) -> None:
    from mre.study import studies
    count = studies.exclude(store, args.name, args.annotator, args.reason, recollect=args.recollect)
    print(f"{args.annotator} is excluded" + (f"; {count} pairs are offered again" if args.recollect else ""))


def _include(store, args) -> None:
    from mre.study import studies
    found = studies.include(store, args.name, args.annotator)
    print(f"{args.annotator} is included again; {found.counted} of their scored pairs count"
          + (f", {found.surplus} more were scored by others meanwhile and are surplus" if found.surplus else ""))


def _recollect(store, args) -> None:
    from mre.study import studies
    print(f"{studies.recollect(store, args.name, args.annotator)} pairs of {args.annotator} are offered again")


def _continue(store, args) -> None:
    from mre.study import studies
    studies.let_continue(store, args.name, args.annotator)
    print(f"{args.annotator} may go on")


def _participants(store, args) -> None:
    from mre.study.cells import time_cell
    from mre.study.participants import participants, participants_csv, write_file

    if args.out:
        write_file(args.out, participants_csv(store, args.name))
        print(args.out)
        return
    heads = ("annotator", "state", "code", "id", "scored", "skipped", "given", "checks failed", "seconds", "last answer", "why")
    rows = [(found.label, found.state, found.code or "-", found.ids.participant if found.ids else "lost key" if found.ids_lost else "-",
             str(found.scored), str(found.skipped), str(found.given), f"{found.checks_failed} of {found.checks}",
             "-" if found.median_seconds is None else f"{found.median_seconds:.1f}", time_cell(found.last_answer_at) or "-", found.reason)
            for found in participants(store, args.name)]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _payments(store, args) -> None:
    from mre.study.participants import Pay, payments, write_file

    text, approved = payments(store, args.name, args.form, Pay.of(args.amount, args.per_screen, args.reject_excluded))
    write_file(args.out, text)
    print(f"{args.out}: {approved} to be paid")


def _forget(store, args) -> None:
    from mre.study.participants import forget_ids
    print(f"{args.name}: recruiting ids of {forget_ids(store, args.name, args.annotator)} annotators deleted")


VERBS = {"exclude": _exclude, "include": _include, "recollect": _recollect, "continue": _continue, "participants": _participants,
         "payments": _payments, "forget-ids": _forget}
