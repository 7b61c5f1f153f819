"""Checkpoints that are whole or absent: written beside their place, flushed to disk, then renamed. Plain tensors and text only."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from mre.errors import DataError, MreError

FOLDER = "checkpoints"
_NAME = re.compile(r"step-(\d+)")


def checkpoints(out: Path) -> list[Path]:
    """Whole checkpoints of a run, oldest first."""
    found = [(int(match[1]), path) for path in (out / FOLDER).glob("step-*") if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a folder that appears at `path` only when all of it is on disk.

    Raises MreError when the disk is full or refuses; what was there before is left as it was.
    """
    partial = path.with_name(f".{path.name}.partial")
    replaced = path.with_name(f".{path.name}.replaced")
    try:
        for leftover in (partial, replaced):
            shutil.rmtree(leftover, ignore_errors=True)
        partial.mkdir(parents=True)
        write(partial)
        for file in [*partial.rglob("*"), partial]:
            _flush(file)
        if path.exists():
            path.rename(replaced)
        partial.rename(path)
        _flush(path.parent)
        shutil.rmtree(replaced, ignore_errors=True)
    except (OSError, SafetensorError) as error:
        shutil.rmtree(partial, ignore_errors=True)
        if replaced.exists() and not path.exists():
            replaced.rename(path)
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise MreError(f"{path} could not be written: {reason}; what was saved before is untouched") from error


def remove_beyond(out: Path, limit: int) -> None:
    """Remove the oldest checkpoints beyond `limit`; 0 keeps all. Half-written ones of a run that was cut go too."""
    for leftover in (out / FOLDER).glob(".step-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    for path in checkpoints(out)[:-limit] if limit else ():
        gone = path.with_name(f".{path.name}.old")       # never a folder under its own name with files missing
        path.rename(gone)
        shutil.rmtree(gone)


def save_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write tensors as safetensors."""
    save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, path)


def load_tensors(path: Path) -> dict[str, Tensor]:
    """Tensors of a file. Raises DataError naming it."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(f"{path}: not a whole checkpoint file: {error}") from error


def load_into(module: torch.nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Load a module's weights; every tensor must be there, and no other. Raises DataError naming the file they are from, and the tensor."""
    try:
        module.load_state_dict(tensors, strict=True)
    except RuntimeError as error:
        raise DataError(f"{path}: does not fit the model: {' '.join(str(error).split())}") from error


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
