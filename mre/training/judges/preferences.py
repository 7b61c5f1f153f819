"""Preferences in the forms in which they are published: EditReward's pairs, GenAI-Bench, EditScore. What a form does not say is not known.

A vote on the whole edit is a preference on the whole; a file that has scores per dimension gives preferences per perspective. Placeholder
scores of the validation files (GenAI-Bench and AURORA in EditReward's form) are read for their sign alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mre.errors import DataError
from mre.files import read_json
from mre.judge.verdicts import PictureSource
from mre.rewards import PERSPECTIVES
from mre.training.judges.groups import GroupList, LabelledEdit, LabelledGroup, Preference

EDITREWARD = ("prompt", "path_src", "path1", "path2")
GENAI = ("instruct_prompt", "source_image", "left_output_image", "right_output_image", "vote_type")
EDITSCORE = ("key", "input_image", "output_images", "instruction", "dimension")
GENAI_VOTES = {"leftvote": 1.0, "rightvote": -1.0, "tievote": 0.0, "bothbad_vote": 0.0}
WHOLE = len(PERSPECTIVES)
EDITSCORE_DIMENSIONS = {"prompt_following": 0, "consistency": 1, "overall": WHOLE}


def preference_groups(path: Path) -> GroupList:
    """Groups of two edits from a JSON or Parquet file. Raises DataError for a form that is none of them, naming what is not right."""
    groups = list(_of_json(path) if path.suffix == ".json" else _of_parquet(path))
    if not groups:
        raise DataError(f"{path}: holds no pairs")
    return GroupList(str(path), groups)


def is_pair_json(path: Path) -> bool:
    """Whether a JSON file holds a list, as pairs do: RewardEdit's released form is an object."""
    with path.open(encoding="utf-8-sig") as file:
        return file.read(200).lstrip()[:1] == "["


def _pair(source: str, instruction: str, pictures: tuple[PictureSource, PictureSource, PictureSource], said: dict[int, float],
          methods: tuple[str, str] = ("", ""), edit_type: str = "") -> LabelledGroup:
    original, first, second = pictures
    edits = tuple(LabelledEdit(instruction, original, edited, item=source, method=method, edit_type=edit_type)
                  for edited, method in zip((first, second), methods, strict=True))
    return LabelledGroup(source, edits, (Preference(0, 1, tuple(said.get(column) for column in range(WHOLE + 1))),))


def _of_json(path: Path) -> Iterator[LabelledGroup]:
    rows = read_json(path)
    if not isinstance(rows, list):
        raise DataError(f"{path}: must be a list of pairs")
    for number, row in enumerate(rows, 1):
        where = f"{path}: pair {number}"
        if not isinstance(row, dict) or any(not isinstance(row.get(name), str) for name in EDITREWARD):
            raise DataError(f"{where}: must have {', '.join(EDITREWARD)} as text")
        first, second = (_score(row, f"model1_{name}", where) for name in ("dim1_score", "dim2_score"))
        other_first, other_second = (_score(row, f"model2_{name}", where) for name in ("dim1_score", "dim2_score"))
        if first is None or other_first is None:
            said = {WHOLE: 1.0}                                     # in this form the first is the preferred one
        elif second is None or other_second is None:
            said = {WHOLE: _sign(first - other_first)}              # of one vote
        else:
            said = {0: _sign(first - other_first), 2: _sign(second - other_second),
                    WHOLE: _sign(first + second - other_first - other_second)}
        pictures = tuple(path.parent / row[name] for name in EDITREWARD[1:])
        yield _pair(str(pictures[0]), row["prompt"], (pictures[0], pictures[1], pictures[2]), said,
                    (str(row.get("model1") or ""), str(row.get("model2") or "")))


def _score(row: dict[str, Any], name: str, where: str) -> float | None:
    value = row.get(name)
    if value is None or value != value:          # NaN, as tables say that there is none
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"{where}: {name} must be a number, got {value!r}")
    return float(value)


def _sign(value: float) -> float:
    return float((value > 0) - (value < 0))


def _of_parquet(path: Path) -> Iterator[LabelledGroup]:
    from pyarrow import ArrowInvalid, parquet

    try:
        file = parquet.ParquetFile(path)
    except (OSError, ArrowInvalid) as error:
        raise DataError(f"{path}: not a Parquet file: {error}") from error
    columns = file.schema_arrow.names
    reader = next((read for needed, read in ((GENAI, _genai), (EDITSCORE, _editscore)) if set(needed) <= set(columns)), None)
    if reader is None:
        raise DataError(f"{path}: neither GenAI-Bench ({', '.join(GENAI)}) nor EditScore ({', '.join(EDITSCORE)}); its columns are "
                        f"{', '.join(columns)}")
    number = 0
    for batch in file.iter_batches(batch_size=64):
        for row in batch.to_pylist():
            number += 1
            yield reader(row, f"{path}: row {number}")


def _genai(row: dict[str, Any], where: str) -> LabelledGroup:
    if row["vote_type"] not in GENAI_VOTES:
        raise DataError(f"{where}: vote_type must be one of {', '.join(GENAI_VOTES)}, got {row['vote_type']!r}")
    pictures = [_bytes(row[name], where, name) for name in GENAI[1:4]]
    return _pair(_digest(pictures[0]), row["instruct_prompt"], (pictures[0], pictures[1], pictures[2]),
                 {WHOLE: GENAI_VOTES[row["vote_type"]]}, (row.get("left_model") or "", row.get("right_model") or ""))


def _editscore(row: dict[str, Any], where: str) -> LabelledGroup:
    """The first output is the better one, on one dimension."""
    if row["dimension"] not in EDITSCORE_DIMENSIONS:
        raise DataError(f"{where}: dimension must be one of {', '.join(EDITSCORE_DIMENSIONS)}, got {row['dimension']!r}")
    outputs = row["output_images"]
    if not isinstance(outputs, list) or len(outputs) != 2:
        raise DataError(f"{where}: output_images must be two")
    pictures = [_bytes(picture, where, "picture") for picture in (row["input_image"], *outputs)]
    return _pair(_digest(pictures[0]), row["instruction"], (pictures[0], pictures[1], pictures[2]),
                 {EDITSCORE_DIMENSIONS[row["dimension"]]: 1.0}, edit_type=str(row.get("task_type") or ""))


def _bytes(picture: Any, where: str, name: str) -> bytes:
    if not isinstance(picture, dict) or not picture.get("bytes"):
        raise DataError(f"{where}: {name} is missing")
    return picture["bytes"]


def _digest(picture: bytes) -> str:
    import hashlib

    return hashlib.sha256(picture).hexdigest()
