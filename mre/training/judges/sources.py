"""What DATA may be on the command line, as groups: scenes, a study, an export, RewardEdit files, preferences."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mre.data.rewardedit import read_rewards
from mre.data.sources import is_row, named_picture, open_triplets
from mre.errors import DataError
from mre.training.judges.groups import GroupList, GroupSource, LabelledEdit, LabelledGroup
from mre.training.judges.preferences import is_pair_json, preference_groups
from mre.training.judges.scenes import SCENES, SceneGroups
from mre.training.judges.studies import STUDY, export_groups, study_groups

if TYPE_CHECKING:
    from mre.study.store import Store

_WEIGHT = re.compile(r"(.+)@(\d+(?:\.\d+)?)")


def weighted(text: str) -> tuple[str, float]:
    """DATA or DATA@WEIGHT: what it names, and how often it is drawn from beside others. Raises DataError for a weight of 0."""
    match = _WEIGHT.fullmatch(text)
    if match is None or Path(text).exists():
        return text, 1.0
    if float(match[2]) <= 0:
        raise DataError(f"{text}: a weight must be above 0")
    return match[1], float(match[2])


def open_groups(text: str, *, edits: Sequence[Path] = (), triplets: str | None = None, store: Store | None = None) -> GroupSource:
    """The groups of a DATA. Raises DataError that names what is wrong.

    edits: folders or tables of edits, where an export's pictures are; triplets: where those of the released form of RewardEdit are
    """
    if text.startswith(SCENES):
        return SceneGroups.parse(text)
    if text.startswith(STUDY):
        if store is None:
            raise DataError(f"{text}: there is no store of studies; name its folder with --data, or --database")
        return study_groups(store, text.removeprefix(STUDY))
    path = Path(text)
    if not path.is_file():
        raise DataError(f"{text}: is a folder; name a file in it" if path.is_dir() else
                        f"{text}: there is no such file, and it is neither {SCENES}N nor {STUDY}NAME")
    if path.suffix == ".parquet" or (path.suffix == ".json" and is_pair_json(path)):
        return preference_groups(path)
    if path.suffix == ".csv" or (path.suffix == ".jsonl" and _is_export(path)):
        return export_groups(path, edits)
    return reward_groups(path, triplets)


def _is_export(path: Path) -> bool:
    with path.open(encoding="utf-8-sig") as file:
        return '"annotator"' in file.readline(100_000)


def _original(name: str, beside: Path) -> str:
    """What an original goes by: the bytes of a file, so that one photo under two names is one; else its name."""
    path = beside / name
    if is_row(name) or not path.is_file():
        return name
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def reward_groups(path: Path, triplets: str | None) -> GroupList:
    """RewardEdit data: one scored edit a triplet. Our working form names its pictures; the released form needs the triplets.

    Triplets of one folder of the tree (several seeds) have one original picture.
    """
    rewards = read_rewards(path)
    if triplets is None:
        if nameless := [name for name, row in rewards.items() if not row.original or not row.edited]:
            raise DataError(f"{path}: {nameless[0]} names no pictures; say with --triplets where they are")
        groups = []
        for name, row in rewards.items():
            original, edited = ((lambda where=where: named_picture(where, path.parent)) for where in (row.original, row.edited))
            groups.append(LabelledGroup(_original(row.original, path.parent), (
                LabelledEdit(row.instruction, original, edited, row.reward.scores, item=name),)))
        return GroupList(str(path), groups)
    groups = []
    for triplet in open_triplets(triplets, path.parent):
        row = rewards.get(triplet.id) or rewards.get(triplet.key) or rewards.get(triplet.text.folder)
        if row is not None:
            groups.append(LabelledGroup(triplet.text.folder, (
                LabelledEdit(triplet.instruction, triplet.original, triplet.edited, row.reward.scores, item=triplet.id),)))
    if not groups:
        raise DataError(f"{path}: no triplet of {triplets} has a reward in it")
    return GroupList(str(path), groups)
