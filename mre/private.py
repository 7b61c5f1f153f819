"""Files and folders that only their owner may read, from their first byte on.

A folder with the set-group-id bit is one that its owner shares with a group on purpose: there, the group keeps what it may do.
"""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

log = logging.getLogger("mre.private")


def private_folder(folder: Path, ours: Iterable[str]) -> None:
    """Make the folder, or take an existing one and the files in it whose names match the patterns `ours` from other users, which the log
    then says. A folder that holds other things too keeps its own rights. Raises OSError."""
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):             # another process was quicker
            folder.mkdir(mode=0o700)
        return
    files = {path for pattern in ours for path in folder.glob(pattern)}
    if tightened := [path.name for path in sorted(files) if tighten(path)]:
        log.warning("%s: other users of this machine could read %s; now only its owner can", folder, ", ".join(tightened))
    if all(path in files or path.name.startswith(".") for path in folder.iterdir()):
        if tighten(folder):
            log.warning("%s: other users of this machine could look into this folder; now only its owner can", folder)
    elif _open_to(folder.stat()):
        log.warning("%s: holds other things beside the study's files, so other users of this machine may still look into it", folder)


def private_file(path: Path) -> None:
    """Make an empty file that only its owner may read; one that is there already stays as it is. Raises OSError."""
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        if _shared_by_group(path.parent.stat()):
            path.chmod(0o660)


@contextmanager
def private_umask() -> Iterator[None]:
    """Whatever this process makes meanwhile, only its owner may read."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def write_private(path: Path, text: str) -> None:
    """Write a whole file, or none, that only its owner may read; it is on disk when this returns. Raises OSError."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    partial.unlink(missing_ok=True)
    try:
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if _shared_by_group(path.parent.stat()):
            partial.chmod(0o660)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def tighten(path: Path) -> bool:
    """Take a file or folder of ours from other users. True when somebody else could use it before."""
    with suppress(OSError):                         # gone meanwhile, or a disk without rights
        found = path.stat()
        if (open_to := _open_to(found, path.parent)) and os.geteuid() in (found.st_uid, 0):
            path.chmod(stat.S_IMODE(found.st_mode) & ~open_to)
            return True
    return False


def _open_to(found: os.stat_result, folder: Path | None = None) -> int:
    """The rights that others have and should not."""
    shared = _shared_by_group(found) or (folder is not None and stat.S_ISREG(found.st_mode) and _shared_by_group(folder.stat()))
    return stat.S_IMODE(found.st_mode) & (0o007 if shared else 0o077)


def _shared_by_group(found: os.stat_result) -> bool:
    return stat.S_ISDIR(found.st_mode) and bool(found.st_mode & stat.S_ISGID)
