"""Verdicts of judges that see two edits at once, as public programs record them: which edit is better, per choice of a set.

The last label of a reply is the verdict; a reply without one (a refusal, a cut one, nothing) is missing, never wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mre.benchmark.formats.choices import BAD, GOOD
from mre.errors import DataError
from mre.files import read_json, read_json_lines

_LABEL = re.compile(r"\[\[([^\[\]\n]{1,40})\]\]|\\boxed\{([^{}\n]{1,40})\}")
_WORDS = re.compile(r"\b(?:model|image|edit|response)\s+([AB])\s+is\s+better\b", re.IGNORECASE)
_SIDES = {"A>B": 1, "A>>B": 1, "B<A": 1, "B>A": -1, "B>>A": -1, "A<B": -1, "A<<B": -1, "A=B": 0, "B=A": 0, "A==B": 0,
          "A=B=GOOD": 0, "A=B=BAD": 0}
_KINDS = {"A=B=GOOD": GOOD, "A=B=BAD": BAD}
_RESPONSES = {"A": 1, "B": -1, "TIE": 0}


@dataclass(frozen=True)
class Verdicts:
    """A pairwise judge's verdicts: (choice id, pair) -> 1, 0 or -1; those that were asked for in the other order apart."""

    forward: Mapping[tuple[str, str], int | None]
    reverse: Mapping[tuple[str, str], int | None] = field(default_factory=dict)       # turned round: of the edits, not of the places
    ties: Mapping[tuple[str, str], str] = field(default_factory=dict)                 # of forward's ties: GOOD, BAD, or "" where unsaid


def label_of(reply: object, words: bool = False, letters: str = "AB") -> int | None:
    """1: the first is better, -1: the second, 0: a tie, by the last label in brackets (or, `words`, "model B is better"); None: it says
    none. `letters`: what the two are called, A and B or left and right beside it."""
    return _read(reply, words, letters)[0]


def _read(reply: object, words: bool = False, letters: str = "AB") -> tuple[int | None, str]:
    """The label, and of a tie its kind."""
    if not isinstance(reply, str):
        return None, ""
    labels = [first or second for first, second in _LABEL.findall(reply)]
    for label in reversed(labels):
        plain = re.sub(r"\s+", "", label).upper().replace("LEFT", "A").replace("RIGHT", "B")
        if set(re.findall(r"\b[A-Z]\b", plain)) == set(letters):
            plain = plain.translate(str.maketrans(letters, "AB"))
        if plain in _SIDES:
            return _SIDES[plain], _KINDS.get(plain, "")
    said = _WORDS.findall(reply) if words and not labels else []
    return {"A": 1, "B": -1}[said[-1].upper()] if said else None, ""


def mmrb2_verdicts(path: Path) -> Verdicts:
    """MMRB2's predictions: {pair id: {"forward": [{"judgement"}], "reverse": [...]}}; the first of each order counts."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise DataError(f"{path}: must be an object, pair id -> forward and reverse")

    def first(row: Any, order: str) -> int | None:
        found = row.get(order) if isinstance(row, dict) else None
        judgement = found[0].get("judgement") if isinstance(found, list) and found and isinstance(found[0], dict) else None
        plain = judgement.upper().replace("RESPONSE", "").strip(" .*[]") if isinstance(judgement, str) else ""
        return _RESPONSES.get(plain)

    turned = {(name, ""): first(row, "reverse") for name, row in content.items()}
    return Verdicts({(name, ""): first(row, "forward") for name, row in content.items()},
                    {key: None if value is None else -value for key, value in turned.items()})


def genai_verdicts(path: Path) -> Verdicts:
    """GenAI-Bench's `pairwise.jsonl`: `idx` is the row of the Parquet files, `response` the reply. Its labels are of four classes."""
    read = {(str(row["idx"]), ""): _read(row.get("response")) for row in _rows(path, ("idx", "response"))}
    return Verdicts({key: side for key, (side, _) in read.items()}, ties={key: kind for key, (side, kind) in read.items() if side == 0})


def tiger_verdicts(path: Path) -> Verdicts:
    """Replies on TIGER's EditReward-Bench, JSONL: `dataset` (2pair, ...), `id` (GROUP or GROUP_AvsB), `reply`."""
    found: dict[tuple[str, str], int | None] = {}
    for row in _rows(path, ("dataset", "id", "reply")):
        group, _, kind = str(row["id"]).rpartition("_")
        if not group or not re.fullmatch("[A-Z]vs[A-Z]", kind):
            group, kind = str(row["id"]), ""
        key = f"{row['dataset']}/{group}", kind
        value = label_of(row["reply"], True, kind.replace("vs", "") or "AB")
        found[key] = value if found.get(key) is None else found[key]
    return Verdicts(found)


def _rows(path: Path, keys: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    for number, row in read_json_lines(path):
        if not isinstance(row, dict) or any(key not in row for key in keys):
            raise DataError(f"{path}: row {number}: must be an object with {', '.join(keys)}")
        yield row


VERDICTS: Mapping[str, Callable[[Path], Verdicts]] = {"mmrb2": mmrb2_verdicts, "genai-bench": genai_verdicts,
                                                      "editreward-bench": tiger_verdicts}
