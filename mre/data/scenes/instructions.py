"""Instructions written by hand as people write, never trained on, with what each asks for: those of the test, in instructions.csv, and
those of development, in development.csv, by which a reader may be tuned.

Columns: text; operations (one or, where a request may be read in several ways, several with "|" between; "none": the right answer is the
untouched picture); the slots of `concepts.Asked`; group, which is "known", "unknown" (what no scene has), "meaningless", "other" (other
languages and scripts, emoji), "absent" (a known request, for a picture without that thing) or "several" (more than one request).
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

FILES = {"test": Path(__file__).with_name("instructions.csv"), "development": Path(__file__).with_name("development.csv")}
GROUPS = ("known", "unknown", "meaningless", "other", "absent", "several")


@dataclass(frozen=True)
class Instruction:
    """One hand-written instruction. `colours`: any of them is right, as of operations; "" where it does not say. A kind, a place or
    a colour that is referred to may be read in several ways too, with "|" between."""

    text: str
    operations: tuple[str, ...]
    kind: str
    colours: tuple[str, ...]
    of_colour: str
    place: str
    beside: str
    count: int
    group: str
    language: str


@cache
def instructions(split: str = "test") -> tuple[Instruction, ...]:
    """All of a split ("test" or "development"), in the order of its file."""
    return read_instructions(FILES[split])


def read_instructions(path: Path) -> tuple[Instruction, ...]:
    """All of a file with these columns, in its order."""
    with path.open(encoding="utf-8", newline="") as lines:
        return tuple(Instruction(row["text"], tuple(row["operations"].split("|")), row["kind"], tuple(row["colours"].split("|")),
                                 row["of_colour"], row["place"], row["beside"], int(row["count"]), row["group"], row["language"])
                     for row in csv.DictReader(lines))


def comparable(text: str) -> str:
    """A text without case, punctuation and doubled blanks: what two requests have in common that are one."""
    kept = re.sub(r"[^\w]+", " ", text.casefold()).strip()
    return kept or text.strip()      # signs alone


@cache
def reserved() -> frozenset[str]:
    """The instructions of both splits as `comparable` has them: no training draw may be one of these."""
    return frozenset(comparable(one.text) for split in FILES for one in instructions(split))
