"""RewardEdit data: scores and texts of triplets, as released (one JSON) and in our working form (JSONL). No torch here."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mre.errors import DataError, RewardError
from mre.files import read_json, read_json_lines, read_table, write_whole
from mre.rewards import NOTHING_WRONG, PERSPECTIVES, TEXT_SEPARATOR, Reward

SCORE, TEXT = "Score", "Negative Prompt"        # keys of the released form
_PARQUET_ROW = re.compile(r"[^/]+\.parquet#\d+")


@dataclass(frozen=True)
class TripletReward:
    """The reward of one triplet. What the released form does not hold is empty."""

    id: str                     # folder relative to the InstructPix2Pix tree, or folder/SEED where it holds several pairs
    reward: Reward
    instruction: str = ""
    original: str = ""
    edited: str = ""


def read_rewards(path: str | Path) -> dict[str, TripletReward]:
    """Triplet id -> its reward, from either form. Raises DataError naming the file and the key or line."""
    path = Path(path)
    rewards: dict[str, TripletReward] = {}
    for where, row in _jsonl_rows(path) if path.suffix.lower() == ".jsonl" else _released_rows(path):
        if row.id in rewards:
            raise DataError(f"{path}: {where}: {row.id!r} has a reward already")
        rewards[row.id] = row
    if not rewards:
        raise DataError(f"{path}: holds no rewards")
    return rewards


def read_row_map(path: str | Path) -> dict[str, str]:
    """RewardEdit key -> Parquet row `FILE.parquet#ROW`, from a JSON object or a CSV with the columns key and row.

    Raises DataError naming the file and the key: an entry that names no row, a duplicate key or row.
    """
    path = Path(path)
    if path.suffix.lower() == ".csv":
        pairs = _Pairs((row["key"], row["row"]) for _, row in read_table(path, needed=("key", "row")))
    else:
        pairs = read_json(path, _Pairs)
    if not isinstance(pairs, _Pairs) or not all(len(pair) == 2 and isinstance(pair[1], str) for pair in pairs):
        raise DataError(f"{path}: must give each key one row, FILE.parquet#ROW")
    rows: dict[str, str] = {}
    taken: set[str] = set()
    for key, row in ((key.strip("/"), row) for key, row in pairs):
        if not _PARQUET_ROW.fullmatch(row):
            raise DataError(f"{path}: key {key!r}: {row!r} is not FILE.parquet#ROW")
        if key in rows or row in taken:
            raise DataError(f"{path}: duplicate key {key!r} or row {row}")
        rows[key] = row
        taken.add(row)
    return rows


def write_released(path: str | Path, rewards: Mapping[str, Reward]) -> None:
    """Write the released form: key -> three {"Score", "Negative Prompt"}, in the order of PERSPECTIVES. Whole or not at all."""
    content = {key: [{SCORE: int(score) if score == int(score) else score, TEXT: text}
                     for score, text in zip(reward.scores, reward.texts, strict=True)] for key, reward in rewards.items()}
    write_whole(Path(path), json.dumps(content, ensure_ascii=False, indent=1) + "\n")


def _released_rows(path: Path) -> Iterator[tuple[str, TripletReward]]:
    pairs = read_json(path, _Pairs)
    if not isinstance(pairs, _Pairs):
        raise DataError(f"{path}: must be one JSON object, triplet folder -> three scores and texts")
    for key, value in pairs:
        where = f"key {key!r}"
        if not isinstance(value, list) or len(value) != len(PERSPECTIVES):
            count = f"{len(value)}" if isinstance(value, list) else type(value).__name__
            raise DataError(f"{path}: {where}: must have three entries ({', '.join(PERSPECTIVES)}), got {count}")
        entries = [dict(entry) if isinstance(entry, _Pairs) else entry for entry in value]
        yield where, TripletReward(key.strip("/"), _reward(path, where, entries, SCORE, TEXT))


def _jsonl_rows(path: Path) -> Iterator[tuple[str, TripletReward]]:
    for number, row in read_json_lines(path):
        where = f"row {number}"
        if not isinstance(row, dict) or not isinstance(row.get("id"), str) or not row["id"]:
            raise DataError(f"{path}: {where}: must be a JSON object with an id")
        for name in ("instruction", "original", "edited"):
            if not isinstance(row.get(name, ""), str):
                raise DataError(f"{path}: {where}: {name} must be text, got {row[name]!r}")
        reward = _reward(path, where, [row.get(name) for name in PERSPECTIVES], "score", "text")
        yield where, TripletReward(row["id"], reward, row.get("instruction", ""), row.get("original", ""), row.get("edited", ""))


def _reward(path: Path, where: str, entries: list[Any], score_key: str, text_key: str) -> Reward:
    """A reward from one {score, text} per perspective. A `;` of a judge becomes a comma: it separates the three texts."""
    scores, texts = [], []
    for name, entry in zip(PERSPECTIVES, entries, strict=True):
        if not isinstance(entry, dict) or score_key not in entry:
            raise DataError(f"{path}: {where}: {name} has no {score_key!r}")
        score, text = entry[score_key], entry.get(text_key, NOTHING_WRONG)
        if isinstance(score, bool) or not isinstance(score, int | float):
            raise DataError(f"{path}: {where}: {score_key} of {name} must be a number, got {score!r}")
        if text is not None and not isinstance(text, str):
            raise DataError(f"{path}: {where}: {text_key} of {name} must be text, got {text!r}")
        scores.append(score)
        texts.append((text or NOTHING_WRONG).replace(TEXT_SEPARATOR.strip(), ","))
    try:
        return Reward.of(scores, texts)
    except RewardError as error:
        raise DataError(f"{path}: {where}: {error}") from error


class _Pairs(list):
    """A JSON object as pairs, so that a key given twice is seen."""
