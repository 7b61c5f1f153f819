"""Pairs that visitors keep for a study: the folder form of edits, grown by one item at a time; `study create --edits` reads it."""

from __future__ import annotations

import os
import re
import secrets
import threading
from dataclasses import dataclass
from pathlib import Path

from mre.errors import DataError
from mre.files import EDITS, csv_text, write_whole
from mre.rewards import EDIT_TYPES

_one_writer = threading.Lock()


@dataclass(frozen=True)
class KeptEdit:
    """One of the two edits."""

    model: str
    png: bytes
    seed: int
    seconds: float


def pair_folder(data: Path, first: str, second: str) -> Path:
    """Where pairs of these two models are kept: one folder for each couple, so that every item of a study has the same methods."""
    return data / "pairs" / "--".join(sorted(map(method_name, (first, second))))


def method_name(model: str) -> str:
    """A model's name as a folder's."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", model).strip("-.") or "model"


def keep_pair(data: Path, edit_type: str, instruction: str, original: bytes, edits: tuple[KeptEdit, KeptEdit]) -> Path:
    """Add an item to the couple's folder: pictures first, then its rows, so that a cut leaves no row without its picture.

    Returns the folder. Raises DataError for an edit type that does not exist, equal models, or a folder that cannot be written.
    """
    if edit_type not in EDIT_TYPES:
        raise DataError(f"edit type must be one of {', '.join(EDIT_TYPES)}, got {edit_type!r}")
    methods = [method_name(edit.model) for edit in edits]
    if methods[0] == methods[1]:
        raise DataError(f"a pair needs two different models, got {methods[0]} twice")
    folder, item = pair_folder(data, *(edit.model for edit in edits)), f"kept-{secrets.token_hex(4)}"
    names = ["originals/" + item + ".png", *(f"{method}/{item}.png" for method in methods)]
    rows = [(item, edit_type, instruction, names[0], method, name, edit.seed, edit.model, round(edit.seconds, 3))
            for method, name, edit in zip(methods, names[1:], edits, strict=True)]
    try:
        with _one_writer:
            for name, png in zip(names, (original, *(edit.png for edit in edits)), strict=True):
                write_whole(folder / name, png)
            table = folder / "edits.csv"
            with table.open("ab") as file:
                file.write(csv_text(() if file.tell() else EDITS, rows).encode())
                file.flush()
                os.fsync(file.fileno())
    except OSError as error:
        raise DataError(f"{folder.name}: the pair cannot be kept ({error.strerror})") from error
    return folder
