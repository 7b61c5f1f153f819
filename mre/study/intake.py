"""Edits from outside into items of a study: a folder `OUT/METHOD/ITEM.png` with its `edits.csv`, a CSV, or a JSONL.

Every fault is found before anything is made, and each names its file and row.
"""

from __future__ import annotations

import shutil
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from mre.errors import DataError, ImageError, StudyError
from mre.files import EDITS, EDITS_REQUIRED, read_table
from mre.study.design import MAX_INSTRUCTION_CHARS, ORIGINAL, Item, Picture
from mre.study.images import rebuild

DETAILS = EDITS[len(EDITS_REQUIRED):]
MAX_NAME_CHARS = 200
MAX_ZIP_FILES = 50_000
MAX_ZIP_BYTES = 4_000_000_000       # unpacked; the paper's study, 560 items of three pictures of 512 pixels, has at most 1.4
ZIP_ENTRY_BYTES = 400               # of a file in an archive's list: its name and some more
ZIP_END_BYTES = 2**16 + 100         # where an archive's end is looked for
SPARE_BYTES = 500_000_000           # that stay free on the disk


class StudyFaults(StudyError):
    """Faults in what a study is made from; `faults` has one line for each, with its file and row."""

    def __init__(self, what: str, faults: list[str]) -> None:
        self.faults = faults
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
        super().__init__(f"{what}: {faults[0]}{more}")


@dataclass(frozen=True)
class Row:
    """One line of a table of edits: where it stands, what it says, and the folder that its paths start from."""

    place: str
    folder: Path
    values: dict[str, str]

    def __getitem__(self, name: str) -> str:
        return self.values.get(name) or ""


@dataclass
class _Draft:
    """An item while its rows come in."""

    first: Row
    edits: dict[str, Row] = field(default_factory=dict)


# ---------------------------------------------------------------------------------------------------------------- tables

@contextmanager
def unpacked(archive: Path) -> Iterator[Path]:
    """The folder of edits inside an uploaded ZIP, for as long as it is read. Raises DataError for an archive that is none, or too large,
    or that would write elsewhere."""
    folder = Path(tempfile.mkdtemp(prefix="mre-edits-"))
    try:
        try:
            if _directory_bytes(archive) > MAX_ZIP_FILES * ZIP_ENTRY_BYTES:     # before it is read into memory
                raise DataError(f"{archive.name}: its list of files is larger than {MAX_ZIP_FILES} files need")
            with zipfile.ZipFile(archive) as file:
                entries = [entry for entry in file.infolist() if not entry.is_dir()]
                size = sum(entry.file_size for entry in entries)
                if len(entries) > MAX_ZIP_FILES or size > MAX_ZIP_BYTES:
                    raise DataError(f"{archive.name}: more than {MAX_ZIP_FILES} files or {MAX_ZIP_BYTES // 10**9} GB unpacked")
                if size + SPARE_BYTES > shutil.disk_usage(folder).free:
                    raise DataError(f"{archive.name}: has {size / 1e9:.1f} GB unpacked, for which the disk has no room")
                for entry in entries:
                    path = PurePosixPath(entry.filename)
                    if path.is_absolute() or ".." in path.parts or "\\" in entry.filename:
                        raise DataError(f"{archive.name}: {entry.filename!r} would lie outside the archive's folder")
                    file.extract(entry, folder)
        except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError, zlib.error, EOFError, ValueError) as error:
            raise DataError(f"{archive.name}: not a ZIP archive that can be read ({error})") from error
        tables = sorted(folder.rglob("edits.csv"), key=lambda path: len(path.parts))
        if not tables:
            raise DataError(f"{archive.name}: has no edits.csv, the table that names items, instructions and originals")
        yield tables[0].parent
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _directory_bytes(archive: Path) -> int:
    """How large the list of files at a ZIP's end says it is; 0 when there is none, or the file is too short."""
    with archive.open("rb") as file:
        file.seek(max(0, archive.stat().st_size - ZIP_END_BYTES))
        end = file.read()
        at = end.rfind(b"PK\5\6")
        if at < 0 or len(end) < at + 22:
            return 0
        size = struct.unpack_from("<L", end, at + 12)[0]
        if end[at - 20:at - 16] == b"PK\6\7":                      # the longer form of the end, for large archives
            file.seek(struct.unpack_from("<Q", end, at - 12)[0])
            longer = file.read(56)
            size = struct.unpack_from("<Q", longer, 40)[0] if longer[:4] == b"PK\6\6" and len(longer) == 56 else size
        return size


def _rows_of(source: Path) -> list[Row]:
    if source.is_dir():
        table = source / "edits.csv"
        if not table.is_file():
            raise DataError(f"{source}: has no edits.csv, the table that names items, instructions and originals")
    else:
        table = source
    rows = [Row(f"{table}: row {line}", table.parent, {key: value.strip() for key, value in values.items()})
            for line, values in read_table(table, needed=EDITS_REQUIRED)]
    if not rows:
        raise DataError(f"{table}: no rows; needed are {', '.join(EDITS_REQUIRED)}")
    return rows


# ----------------------------------------------------------------------------------------------------------------- items

def read_items(sources: list[Path], *, methods: tuple[str, ...] = (), fit: bool = False, inside: Path | None = None,
               keep: Callable[[Picture], None] | None = None,
               on_item: Callable[[int, int], None] | None = None) -> tuple[list[str], list[Item]]:
    """Methods (in order of appearance, or as chosen) and items of one or more tables of edits.

    fit:    resize edits that differ from their original to its size, instead of refusing them
    inside: refuse pictures outside this folder (for tables that came over the network)
    keep:   is handed every picture as it is read; items then hold pictures without their bytes
    Raises StudyFaults with every fault.
    """
    faults: list[str] = []
    drafts: dict[str, _Draft] = {}
    found: dict[str, None] = {}
    for row in [row for source in sources for row in _rows_of(source)]:
        if fault := _fault_of(row, drafts, methods):
            faults.append(f"{row.place}: {fault}")
            continue
        if methods and row["method"] not in methods:
            continue
        drafts.setdefault(row["item"], _Draft(row)).edits[row["method"]] = row
        found.setdefault(row["method"])
    names = list(methods or found)
    what = ", ".join(str(source) for source in sources)
    faults += _faults_across(drafts, names, found)
    if faults:
        keep = None                                 # nothing is made of it any more: the pictures are read for their faults alone
    items, cache = [], {}
    for number, (name, draft) in enumerate(drafts.items(), 1):
        item = _item(name, draft, names, fit, inside, cache, keep, faults)
        if item:
            items.append(item)
        if on_item:
            on_item(number, len(drafts))
    if faults:
        raise StudyFaults(what, faults)
    return names, items


def _fault_of(row: Row, drafts: dict[str, _Draft], methods: tuple[str, ...]) -> str | None:
    for name in EDITS_REQUIRED:
        if not row[name]:
            return f"{name} is empty"
    for name in ("item", "method", "edit_type"):
        if len(row[name]) > MAX_NAME_CHARS or not row[name].isprintable():
            return f"{name} must be printable and at most {MAX_NAME_CHARS} characters, got {row[name][:40]!r}"
    if len(row["instruction"]) > MAX_INSTRUCTION_CHARS:
        return f"instruction has {len(row['instruction'])} characters, at most {MAX_INSTRUCTION_CHARS} are shown"
    if row["method"].casefold() == ORIGINAL:
        return f"method must not be called {row['method']!r}: exports use that name for the original"
    draft = drafts.get(row["item"])
    if draft:
        for name in ("instruction", "edit_type"):
            if row[name] != draft.first[name]:
                return f"{name} of item {row['item']!r} differs from the one at {draft.first.place}"
        if row["method"] in draft.edits:
            return f"item {row['item']!r} has a second edit by {row['method']!r}, the first is at {draft.edits[row['method']].place}"
    return None


def _faults_across(drafts: dict[str, _Draft], names: list[str], found: dict[str, None]) -> list[str]:
    faults = [f"no row has the method {name!r}; there are {', '.join(found)}" for name in names if name not in found]
    for what, values in (("items", drafts), ("methods", names)):
        folded: dict[str, str] = {}
        for value in values:
            twin = folded.setdefault(value.casefold(), value)
            if twin != value:
                place = drafts[value].first.place + ": " if value in drafts else ""
                faults.append(f"{place}{what} {twin!r} and {value!r} differ only in case")
    for name, draft in drafts.items():
        lacking = [method for method in names if method in found and method not in draft.edits]
        if lacking:
            faults.append(f"{draft.first.place}: item {name!r} has no edit by {', '.join(lacking)}")
    if len(names) < 2 and not faults:
        faults.append(f"a study compares two methods or more, got {', '.join(names) or 'none'}")
    return faults


def _item(name: str, draft: _Draft, methods: list[str], fit: bool, inside: Path | None, cache: dict[Path, Picture],
          keep: Callable[[Picture], None] | None, faults: list[str]) -> Item | None:
    """The item with its pictures, or None after adding its faults."""
    before = len(faults)
    original = None
    try:
        path = _inside(draft.first, "original", inside)
        if path not in cache:                       # the seven instructions of a photo come one after another
            cache.clear()
            cache[path] = _kept(rebuild(path), keep)
        original = cache[path]
    except (ImageError, DataError) as error:
        faults.append(f"{draft.first.place}: original: {error}")
    edits = {}
    for method in methods:
        if method not in draft.edits:               # told as a fault of the table
            continue
        row = draft.edits[method]
        try:
            picture = rebuild(_inside(row, "edited", inside), size=original.size if fit and original else None)
            if original and picture.size != original.size:
                raise DataError(f"{row['edited']} is {picture.width}x{picture.height}, the original is "
                                f"{original.width}x{original.height}; make them equal, or ask for edits to be fitted")
            edits[method] = _kept(picture, keep)
        except (ImageError, DataError) as error:
            faults.append(f"{row.place}: edited: {error}")
    if original is None or len(faults) > before or len(edits) < len(methods):
        return None
    details = {method: {key: row[key] for key in DETAILS if row[key]} for method, row in draft.edits.items()}
    return Item(name, draft.first["edit_type"], draft.first["instruction"], original, edits, details)


def _inside(row: Row, column: str, inside: Path | None) -> Path:
    path = row.folder / row[column]
    if inside and not path.resolve().is_relative_to(inside.resolve()):
        raise DataError(f"{row[column]} lies outside the folder of the table")
    return path


def _kept(picture: Picture, keep: Callable[[Picture], None] | None) -> Picture:
    if not keep:
        return picture
    keep(picture)
    return Picture(picture.digest, picture.width, picture.height, b"", picture.source, picture.source_digest)
