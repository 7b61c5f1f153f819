"""What training takes from a judge's scores: which triplets are kept, what each weighs, and which rewards are sure enough. No torch here.

A score is a mean with a deviation; a judge that gives no deviation is taken to be sure. The chance that an edit is good on every
perspective that the judge knows, taken as independent, is the product of Phi((mean - bar) / deviation).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mre.errors import DataError, RewardError
from mre.files import JSON_LINES, read_json_lines, read_table
from mre.rewards import NOTHING_WRONG, PERSPECTIVES, TEXT_SEPARATOR, Reward, checked_score


@dataclass(frozen=True)
class Opinion:
    """What a judge says of one triplet. Perspectives that it does not know are missing."""

    means: Mapping[str, float]
    deviations: Mapping[str, float] = field(default_factory=dict)       # of the scores that have one
    texts: Mapping[str, str] = field(default_factory=dict)

    def chance(self, bar: float) -> float:
        """The probability that every score is above `bar`."""
        return math.prod(_chance(mean, self.deviations.get(name, 0.0), bar) for name, mean in self.means.items())

    @property
    def floor(self) -> tuple[float, float]:
        """Lower bounds, mean less deviation: the lowest, then their mean. What is better sorts higher."""
        lower = [mean - self.deviations.get(name, 0.0) for name, mean in self.means.items()]
        return min(lower), sum(lower) / len(lower)

    @property
    def doubt(self) -> float:
        """The largest deviation."""
        return max(self.deviations.values(), default=0.0)

    def reward(self) -> Reward:
        """The scores as a reward, of an opinion on all perspectives."""
        texts = [self.texts.get(name, NOTHING_WRONG).replace(TEXT_SEPARATOR.strip(), ",") for name in PERSPECTIVES]
        return Reward.of([self.means[name] for name in PERSPECTIVES], texts)


def _chance(mean: float, deviation: float, bar: float) -> float:
    if deviation == 0:
        return float(mean > bar)
    return 0.5 * math.erfc((bar - mean) / (deviation * math.sqrt(2)))


def weights_of(opinions: Mapping[str, Opinion], names: Iterable[str], bar: float) -> dict[str, float]:
    """Each triplet's chance of being good, scaled to a mean of 1. Raises DataError where none has any."""
    chances = {name: opinions[name].chance(bar) for name in names}
    total = sum(chances.values())
    if not total:
        raise DataError(f"weight: none of {len(chances)} triplets can be above {bar:g} on every perspective; lower keep_above")
    return {name: chance * len(chances) / total for name, chance in chances.items()}


def read_opinions(paths: Sequence[str | Path]) -> dict[str, Opinion]:
    """Triplet -> what one judge says of it, from files that `score` or `rewards` wrote, JSONL or CSV; shards are put together.

    Raises DataError naming file and row: a score that is none, another judge or other perspectives than before, a triplet twice.
    """
    opinions: dict[str, Opinion] = {}
    judge, known = "", ""
    for path in map(Path, paths):
        for where, name, by, opinion in _json_opinions(path) if path.suffix.lower() in JSON_LINES else _csv_opinions(path):
            scored = ", ".join(opinion.means)
            if not opinion.means:
                raise DataError(f"{path}: {where}: {name!r} has no score")
            if name in opinions:
                raise DataError(f"{path}: {where}: {name!r} has scores already")
            if judge and (by, scored) != (judge, known):
                raise DataError(f"{path}: {where}: {by} scored {scored}, and {judge} scored {known} before; scores of one judge are needed")
            judge, known = by, scored
            opinions[name] = opinion
    if not opinions:
        raise DataError(f"{', '.join(map(str, paths))}: no scores")
    return opinions


def _json_opinions(path: Path) -> Iterator[tuple[str, str, str, Opinion]]:
    for number, row in read_json_lines(path):
        where = f"row {number}"
        if not isinstance(row, dict) or not isinstance(row.get("id"), str) or not row["id"]:
            raise DataError(f"{path}: {where}: must be a JSON object with an id")
        entries = {name: row[name] for name in PERSPECTIVES if name in row}
        if not all(isinstance(entry, dict) for entry in entries.values()):
            raise DataError(f"{path}: {where}: a perspective must be an object with a score")
        yield where, row["id"], str(row.get("judge", "")), _opinion(
            f"{path}: {where}", {name: (entry.get("score"), entry.get("deviation"), entry.get("text")) for name, entry in entries.items()})


def _csv_opinions(path: Path) -> Iterator[tuple[str, str, str, Opinion]]:
    """Of consecutive rows with one item and method, an opinion; repeats of a judge cannot be told from each other here."""
    entries: dict[str, tuple[Any, Any, Any]] = {}
    before: tuple[str, str, str] | None = None
    line = 0
    for line, row in read_table(path, needed=("item", "perspective", "score")):
        here = row["item"], row.get("method", ""), row.get("judge", "")
        if before and here != before:
            yield f"row {line - 1}", before[0], before[2], _opinion(f"{path}: row {line - 1}", entries)
            entries = {}
        name = row["perspective"].strip().lower()
        if name not in PERSPECTIVES or name in entries:
            raise DataError(f"{path}: row {line}: {row['item']!r} has " + (f"two scores of {name}" if name in entries else
                                                                         f"the perspective {name!r}, none of {', '.join(PERSPECTIVES)}"))
        entries[name] = row["score"], row.get("deviation") or None, row.get("text")
        before = here
    if before:
        yield f"row {line}", before[0], before[2], _opinion(f"{path}: row {line}", entries)


def _opinion(where: str, entries: Mapping[str, tuple[Any, Any, Any]]) -> Opinion:
    means, deviations, texts = {}, {}, {}
    for name in PERSPECTIVES:
        if name not in entries:
            continue
        score, deviation, text = entries[name]
        try:
            means[name] = checked_score(score, f"score of {name}")
        except RewardError as error:
            raise DataError(f"{where}: {error}") from error
        if deviation is not None:
            deviations[name] = _deviation(where, name, deviation)
        if isinstance(text, str) and text:
            texts[name] = text
    return Opinion(means, deviations, texts)


def _deviation(where: str, name: str, value: Any) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number < math.inf:
        raise DataError(f"{where}: deviation of {name} must be a number, 0 or more, got {value!r}")
    return number
