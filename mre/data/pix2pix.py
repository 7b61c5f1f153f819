"""InstructPix2Pix triplets: the tree of folders and the Parquet form of the hub. No torch here.

A file's role comes from its name (`SEED_0.jpg` original, `SEED_1.jpg` edited, `prompt.json`), never from the order of a listing. A triplet
that is not whole is a DataError that names its folder: nothing stands in for a missing or unreadable side.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm.auto import tqdm

from mre.data.tar_shards import open_shards
from mre.data.triplets import SIDES, Triplet, TripletFault, TripletList, TripletSource, TripletText, blocks_of, row_name
from mre.errors import DataError
from mre.files import read_json

if TYPE_CHECKING:
    from pyarrow import Table

PROMPTS, SEEDS = "prompt.json", "seeds.json"
_PICTURE = re.compile(r"(?P<seed>\d+)_(?P<side>[01])\.(jpg|jpeg|png|webp)", re.IGNORECASE)
_COLUMNS = ("original_image", "edit_prompt", "edited_image")
_GROUPS_IN_MEMORY = 2                                                    # row groups of Parquet files: the one in use, and the next


def open_pix2pix(path: str | Path, only: Collection[str] | None = None) -> TripletSource:
    """The triplets of a tree or of a folder of Parquet or tar files, in a fixed order.

    only: folders (or folder/SEED) to read; a tree is then not searched, which matters when it holds hundreds of thousands.
    Raises DataError for a folder that is none of them, and for a triplet that is not whole.
    """
    path = Path(path)
    return open_files(path) or read_tree(path, only)


def open_files(path: Path, beside: Path | None = None) -> TripletSource | None:
    """The triplets of a Parquet or tar file, or of a folder that holds some; None for another folder. Names of their pictures are relative
    to the folder `beside`, or to that of the files. Raises DataError for no folder."""
    return open_parquet(path, beside) or open_shards(path, beside)


def open_parquet(path: Path, beside: Path | None = None) -> ParquetSource | None:
    """The rows of a Parquet file, or of a folder that holds some; None for another folder. Raises DataError for no folder at all."""
    if path.is_file() and path.suffix == ".parquet":
        return ParquetSource([path], beside=beside)
    if path.is_file() and path.suffix == ".tar":
        return None
    if not path.is_dir():
        raise DataError(f"{path}: no such folder of triplets")
    files = sorted(path.glob("*.parquet")) or sorted(path.glob("data/*.parquet"))
    return ParquetSource(files, beside=beside) if files else None


def read_tree(root: Path, only: Collection[str] | None = None) -> TripletList:
    """All seed pairs of a tree: those in `seeds.json` where there is one, else all that are there."""
    triplets = []
    for triplet in tqdm(walk_tree(root, only), desc=f"reading {root.name}", unit="triplet", delay=2, disable=None):
        if isinstance(triplet, TripletFault):
            raise triplet.error
        triplets.append(triplet)
    return TripletList(triplets)


def walk_tree(root: Path, only: Collection[str] | None = None) -> Iterator[Triplet | TripletFault]:
    """The same one after another: what is not whole is a fault, and the next one follows."""
    wanted = _wanted(root, only)
    for folder, seeds in wanted.items():
        yield from _folder_triplets(root / folder, folder, seeds)
    if not wanted:
        raise DataError(f"{root}: holds no triplets (shard-xx/ID/ with SEED_0.jpg, SEED_1.jpg and {PROMPTS}; *.parquet or *.tar)")


def _wanted(root: Path, only: Collection[str] | None) -> dict[str, set[str] | None]:
    """Folder -> its seeds, None for all that are there."""
    if only is not None:
        wanted: dict[str, set[str] | None] = {}
        for name in only:
            folder, seed = (name, None) if (root / name).is_dir() else (name.rpartition("/")[0], name.rpartition("/")[2])
            inside = (root / folder).resolve().is_relative_to(root.resolve())
            if not inside or not folder or (seed is not None and not (root / folder / PROMPTS).is_file()):
                raise DataError(f"{root / name}: no such triplet folder")
            known = wanted.setdefault(folder, None if seed is None else set())
            if seed is not None and known is not None:
                known.add(seed)
        return wanted
    listing = root / SEEDS
    if listing.exists():
        content = read_json(listing)
        try:
            return {str(folder): {str(seed) for seed in seeds} for folder, seeds in content}
        except (TypeError, ValueError) as error:
            raise DataError(f"{listing}: must be a list of [folder, [seeds]]") from error
    folders = {path.parent for path in root.glob(f"*/*/{PROMPTS}")} | {path for path in root.glob("shard-*/*") if path.is_dir()}
    return {folder.relative_to(root).as_posix(): None for folder in sorted(folders)}


def _folder_triplets(folder: Path, name: str, seeds: set[str] | None) -> Iterator[Triplet | TripletFault]:
    try:
        found = {(match["seed"], int(match["side"])): path for path in folder.iterdir() if (match := _PICTURE.fullmatch(path.name))}
        there = {seed for seed, _ in found}
        if not there:
            raise DataError(f"{folder}: no pictures (SEED_0.jpg and SEED_1.jpg)")
        instructions = _instructions(folder / PROMPTS)
    except (OSError, DataError) as error:
        fault = DataError(f"{folder}: cannot be read: {error.strerror}") if isinstance(error, OSError) else error
        yield TripletFault(name, fault)
        return
    chosen = sorted(there if seeds is None else seeds, key=lambda text: (len(text), text))
    for seed in chosen:
        missing = [(side, role) for side, role in enumerate(SIDES) if (seed, side) not in found]
        if missing:
            side, role = missing[0]
            yield TripletFault(f"{name}/{seed}", DataError(f"{folder}: {seed}_{side}.jpg ({role}) is missing"))
        else:
            yield Triplet(f"{name}/{seed}", instructions, found[seed, 0], found[seed, 1], key=name if len(chosen) == 1 else "")


def _instructions(path: Path) -> tuple[str, ...]:
    content = read_json(path)
    edit: Any = content.get("edit") if isinstance(content, dict) else None
    edits = [edit] if isinstance(edit, str) else edit
    if not isinstance(edits, list) or not edits or not all(isinstance(text, str) and text.strip() for text in edits):
        raise DataError(f"{path}: has no instruction: 'edit' must be text or a list of texts, got {edit!r}")
    return tuple(" ".join(text.split()) for text in edits)


class ParquetSource(TripletSource):
    """Rows of Parquet files with the columns original_image, edit_prompt and edited_image, all or chosen ones.

    Rows are read a row group at a time, and the last groups stay in memory: who goes through `blocks` one after another reads each group
    once. Ids and instructions are had without pictures by `texts`.
    """

    def __init__(self, files: Sequence[Path], chosen: Sequence[int] | None = None, beside: Path | None = None) -> None:
        """chosen: numbers of the rows to take, counted through all files; None: all. beside: the folder that names of pictures are relative
        to; None: that of the files. Raises DataError for a file that is not right."""
        from pyarrow import ArrowInvalid, parquet

        self.files, self.beside = list(files), beside
        self.groups: list[tuple[Path, int, int]] = []             # file, row group, first row in the file
        self._starts: list[int] = [0]                             # first row of each group, counted through all files; then their number
        for file in self.files:
            try:
                opened = parquet.ParquetFile(file)
            except (OSError, ArrowInvalid) as error:
                raise DataError(f"{file}: not a Parquet file: {error}") from error
            missing = [name for name in _COLUMNS if name not in opened.schema_arrow.names]
            if missing:
                raise DataError(f"{file}: has no column {missing[0]!r}; its columns are {', '.join(opened.schema_arrow.names)}")
            first = 0
            for group in range(opened.num_row_groups):
                rows = opened.metadata.row_group(group).num_rows
                self.groups.append((file, group, first))
                self._starts.append(self._starts[-1] + rows)
                first += rows
        self._chosen = range(self._starts[-1]) if chosen is None else list(chosen)
        self._read: OrderedDict[int, Table] = OrderedDict()

    def choose(self, rows: Sequence[int]) -> ParquetSource:
        """The same files with some of these rows, numbered as here."""
        return ParquetSource(self.files, [self._chosen[row] for row in rows], self.beside)

    @property
    def blocks(self) -> list[list[int]]:
        """Numbers of the rows that lie together in a row group."""
        return blocks_of(self._chosen, self._starts)

    def texts(self) -> list[TripletText]:
        """Ids and instructions of all rows; the columns of pictures are not read. Raises DataError naming a row without an instruction."""
        texts: list[TripletText] = []
        group, instructions = -1, []
        for row in self._chosen:
            if (here := self._group_of(row)) != group:
                group, instructions = here, self._columns(here, ["edit_prompt"]).column(0).to_pylist()
            name = self._name(group, row)
            texts.append(TripletText(name, (_worded(name, instructions[row - self._starts[group]]),)))
        return texts

    def __len__(self) -> int:
        return len(self._chosen)

    def at(self, number: int) -> Triplet:
        row = self._chosen[number]
        group = self._group_of(row)
        name, table = self._name(group, row), self._pictures(group)
        original, instruction, edited = (table.column(column)[row - self._starts[group]].as_py() for column in _COLUMNS)
        instruction = _worded(name, instruction)
        for role, side in zip(SIDES, (original, edited), strict=True):
            if not isinstance(side, dict) or not side.get("bytes"):
                raise DataError(f"{name}: the {role} picture is missing")
        file, _, first = self.groups[group]
        place = row_name(file, first + row - self._starts[group], self.beside)
        return Triplet(name, (instruction,), original["bytes"], edited["bytes"], original_name=f"{place}/original",
                       edited_name=f"{place}/edited")

    def _group_of(self, row: int) -> int:
        return bisect_right(self._starts, row) - 1

    def _name(self, group: int, row: int) -> str:
        file, _, first = self.groups[group]
        return f"{file.name}#{first + row - self._starts[group]}"

    def _pictures(self, group: int) -> Table:
        """All columns of a row group, kept while it is one of the last that were asked for."""
        if group not in self._read:
            while len(self._read) >= _GROUPS_IN_MEMORY:
                self._read.popitem(last=False)
            self._read[group] = self._columns(group, list(_COLUMNS))
        self._read.move_to_end(group)
        return self._read[group]

    def _columns(self, group: int, names: list[str]) -> Table:
        from pyarrow import ArrowInvalid, parquet

        file, number, _ = self.groups[group]
        try:
            return parquet.ParquetFile(file).read_row_group(number, columns=names)
        except (OSError, ArrowInvalid) as error:
            raise DataError(f"{file}: row group {number} cannot be read: {error}") from error


def _worded(name: str, instruction: object) -> str:
    if not isinstance(instruction, str) or not instruction.strip():
        raise DataError(f"{name}: edit_prompt is empty")
    return " ".join(instruction.split())
