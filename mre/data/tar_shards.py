"""Triplets in tar files, as WebDataset has them: a sample is what shares its name up to the first dot. No torch here.

    000000017.json            {"edit": "make it winter", "id": "shard-00/0000001/11"}
    000000017.original.jpg
    000000017.edited.jpg

Other people's shards may call the pictures `source` and `target`, `input` and `output`, or `0` and `1`, hold the instruction as
`instruction` or `edit_prompt`, or as a `.txt` of its own, and leave out the id. A tar file is read where a sample lies in it, so that
training starts anywhere in it; what is compressed cannot be, and is refused.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from PIL import Image
from tqdm.auto import tqdm

from mre.data.triplets import SIDES, PictureSource, Triplet, TripletSource, TripletText, blocks_of, row_name
from mre.errors import DataError
from mre.files import png_bytes, read_json, write_whole, written_whole

PER_SHARD = 1000
ABOUT = "shards.json"       # beside shards that are written here: what they hold
_SIDE = {"original": "original", "source": "original", "input": "original", "0": "original",
         "edited": "edited", "target": "edited", "output": "edited", "1": "edited"}
_PICTURES = ("jpg", "jpeg", "png", "webp")
_INSTRUCTION = ("edit", "instruction", "edit_prompt", "edit_instruction")
_MOST_TEXT = 1 << 20        # bytes of a sample's JSON or text


@dataclass
class _Sample:
    """Where a sample's parts lie in its tar file: offset and size in bytes."""

    name: str
    text: TripletText | None = None
    key: str = ""
    sides: dict[str, tuple[int, int]] = field(default_factory=dict)


def shards_of(path: Path) -> list[Path]:
    """The tar files that a path means: itself, or those of a folder (or of its folder `data`), in order of their names."""
    if path.is_file():
        return [path] if path.suffix == ".tar" else []
    return sorted(path.glob("*.tar")) or sorted(path.glob("data/*.tar"))


def open_shards(path: Path, beside: Path | None = None) -> TarSource | None:
    """The triplets of a tar file, or of a folder that holds some; None for anything else. `beside`: as of TarSource.

    Raises DataError for a file that is not whole.
    """
    files = shards_of(path)
    if not files and path.is_dir() and (packed := sorted(path.glob("*.tar.*"))):
        raise DataError(f"{packed[0]}: is compressed, so that no sample can be found in it; unpack it to a .tar")
    return TarSource(files, beside) if files else None


class TarSource(TripletSource):
    """The samples of tar files. Opening reads every sample's place and words, and no picture."""

    def __init__(self, files: Sequence[Path], beside: Path | None = None) -> None:
        """beside: the folder that names of pictures are relative to; None: that of the files.

        Raises DataError for a file that is cut or no tar file, and for a sample without its pictures or its instruction.
        """
        self.files, self.beside = list(files), beside
        self._samples: list[_Sample] = []
        self._starts: list[int] = []            # the first sample of each file
        for file in tqdm(self.files, desc=f"reading {self.files[0].parent.name}", unit="file", delay=2, disable=None):
            self._starts.append(len(self._samples))
            self._samples += _read_index(file)
        if not self._samples:
            raise DataError(f"{self.files[0]}: holds no samples")
        self._chosen: Sequence[int] = range(len(self._samples))

    def choose(self, numbers: Sequence[int]) -> TarSource:
        """The same files with some of these samples, numbered as here."""
        chosen = object.__new__(TarSource)
        chosen.files, chosen.beside, chosen._samples, chosen._starts = self.files, self.beside, self._samples, self._starts
        chosen._chosen = [self._chosen[number] for number in numbers]
        return chosen

    @property
    def blocks(self) -> list[list[int]]:
        """Numbers of the samples that lie together in a file."""
        return blocks_of(self._chosen, self._starts)

    def texts(self) -> list[TripletText]:
        return [text for sample in self._chosen if (text := self._samples[sample].text)]

    def __len__(self) -> int:
        return len(self._chosen)

    def at(self, number: int) -> Triplet:
        place = self._chosen[number]
        file, sample = self.files[self._file_of(place)], self._samples[place]
        assert sample.text is not None, "the index holds no sample without its words"
        name = row_name(file, place - self._starts[self._file_of(place)], self.beside)
        try:
            with file.open("rb") as opened:
                original, edited = (_part(opened, *sample.sides[side]) for side in SIDES)
        except OSError as error:
            raise DataError(f"{file}: cannot be read: {error.strerror}") from error
        return Triplet(sample.text.id, sample.text.instructions, original, edited, key=sample.key, original_name=f"{name}/original",
                       edited_name=f"{name}/edited")

    def _file_of(self, sample: int) -> int:
        return bisect_right(self._starts, sample) - 1


def _part(file: Any, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)


def _read_index(file: Path) -> list[_Sample]:
    samples: list[_Sample] = []
    name = ""
    try:
        end = file.stat().st_size
        with tarfile.open(file, "r:") as opened:
            for member in opened:
                if not member.isfile():
                    continue
                if member.offset_data + member.size > end:
                    raise DataError(f"{file}: is cut: {member.name} goes on beyond its end")
                folder, _, base = member.name.rpartition("/")
                stem, _, kind = base.partition(".")
                if stem and (name := f"{folder}/{stem}" if folder else stem) != (samples[-1].name if samples else ""):
                    samples.append(_Sample(name))
                if stem:
                    _take(samples[-1], kind.lower(), member, opened, file)
    except (tarfile.TarError, EOFError) as error:
        raise DataError(f"{file}: not a whole tar file: {error}") from error
    except OSError as error:
        raise DataError(f"{file}: cannot be read: {error.strerror or error}") from error
    for sample in samples:
        missing = [side for side in SIDES if side not in sample.sides]
        if missing:
            raise DataError(f"{file}: {sample.name}: the {missing[0]} picture is missing")
        if sample.text is None:
            raise DataError(f"{file}: {sample.name}: has no instruction ({sample.name}.json with 'edit', or {sample.name}.txt)")
    return samples


def _take(sample: _Sample, kind: str, member: tarfile.TarInfo, opened: tarfile.TarFile, file: Path) -> None:
    side, _, ending = kind.rpartition(".")
    if ending in _PICTURES and side in _SIDE:
        if _SIDE[side] in sample.sides:
            raise DataError(f"{file}: {sample.name}: has two pictures that are the {_SIDE[side]} one")
        sample.sides[_SIDE[side]] = member.offset_data, member.size
    elif kind in ("json", "txt"):
        if member.size > _MOST_TEXT:
            raise DataError(f"{file}: {member.name}: is larger than {_MOST_TEXT} bytes")
        content = opened.extractfile(member)
        _read_words(sample, kind, b"" if content is None else content.read(), f"{file}: {member.name}", file)


def _read_words(sample: _Sample, kind: str, content: bytes, where: str, file: Path) -> None:
    try:
        said: Any = json.loads(content) if kind == "json" else {"edit": content.decode()}
    except ValueError as error:
        raise DataError(f"{where}: is not {'JSON' if kind == 'json' else 'text in UTF-8'}") from error
    if not isinstance(said, dict):
        raise DataError(f"{where}: must hold an object")
    found = next((said[key] for key in _INSTRUCTION if key in said), None)
    if found is None:
        return                                   # the words may be in the other file
    worded = [found] if isinstance(found, str) else found
    if not isinstance(worded, list) or not worded or not all(isinstance(text, str) and text.strip() for text in worded):
        raise DataError(f"{where}: has no instruction: it must be text or a list of texts, got {found!r}")
    name = said.get("id")
    sample.text = TripletText(name if isinstance(name, str) and name else f"{file.stem}/{sample.name}",
                              tuple(" ".join(text.split()) for text in worded))
    sample.key = key if isinstance(key := said.get("key"), str) else ""


# -- writing ----------------------------------------------------------------------------------------------------------------------

def write_shards(triplets: TripletSource, folder: Path, per_shard: int = PER_SHARD) -> Iterator[Path]:
    """Write triplets as tar files of so many samples and yield each when it is whole; the same triplets always give the same bytes. Files
    that are there already, of the same triplets, are left as they are.

    Raises DataError, naming the triplet, for one whose pictures cannot be read or differ in shape; for a folder that holds others.
    """
    _claim(triplets, folder, per_shard)
    for number, first in enumerate(range(0, len(triplets), per_shard)):
        path = folder / f"{number:06d}.tar"
        if not path.exists():
            with written_whole(path, None) as file, tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as shard:
                for place in range(first, min(first + per_shard, len(triplets))):
                    _add(shard, f"{place:09d}", triplets[place])
        yield path


def _claim(triplets: TripletSource, folder: Path, per_shard: int) -> None:
    """Say what the folder's shards hold, or check that it is these triplets."""
    words = hashlib.sha256()
    for text in triplets.texts():
        words.update(json.dumps([text.id, text.instructions]).encode())
    about = {"triplets": len(triplets), "per_shard": per_shard, "sha256": words.hexdigest()}
    path = folder / ABOUT
    if path.exists():
        if read_json(path) != about:
            raise DataError(f"{folder}: holds shards of other triplets, or of another size; take another folder")
    elif shards_of(folder):
        raise DataError(f"{folder}: holds tar files that were not written here; take another folder")
    else:
        write_whole(path, json.dumps(about, indent=1) + "\n")


def _add(shard: tarfile.TarFile, name: str, triplet: Triplet) -> None:
    triplet.open()                               # both can be read, and fit
    words = {"id": triplet.id, "edit": list(triplet.instructions), **({"key": triplet.key} if triplet.key else {})}
    parts = {"json": json.dumps(words, ensure_ascii=False).encode()}
    for side in SIDES:
        content = _bytes_of(getattr(triplet, side))
        parts[f"{side}.{_ending(content)}"] = content
    for kind, content in parts.items():
        member = tarfile.TarInfo(f"{name}.{kind}")
        member.size = len(content)
        shard.addfile(member, io.BytesIO(content))


def _bytes_of(picture: PictureSource) -> bytes:
    """A picture's file as it is; one that is drawn, as PNG."""
    if isinstance(picture, bytes):
        return picture
    return picture.read_bytes() if isinstance(picture, Path) else png_bytes(picture())


def _ending(content: bytes) -> str:
    with Image.open(io.BytesIO(content)) as image:
        return {"JPEG": "jpg", "WEBP": "webp"}.get(image.format or "", "png")
