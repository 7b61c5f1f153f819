"""What is written to files and read from them: whole-or-absent files, spreadsheet-safe cells, tables as CSV, Markdown and LaTeX, rows of
CSV and JSONL, JSON, the bytes of a PNG.

CSV here is UTF-8 with LF, commas, `"` around a cell that holds a comma, a quote or a line break, `.` decimals, and an empty cell for what
is missing; text that a spreadsheet would run is made harmless. It reads back exactly with `csv`, pandas and R on every Python.
"""

from __future__ import annotations

import csv
import io
import json
import math
import os
import re
import secrets
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from numbers import Integral, Real
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO

from mre.errors import DataError
from mre.text import fault_of_values, storable

if TYPE_CHECKING:
    from PIL import Image
    from PIL.PngImagePlugin import PngInfo

EDITS_REQUIRED = ("item", "edit_type", "instruction", "original", "method", "edited")
EDIT_CACHE = Path("data") / "server-edits.sqlite"         # where the programs keep what editors on servers were paid for
EDITS = (*EDITS_REQUIRED, "seed", "model", "seconds")           # edits.csv: paths are relative to its folder
JUDGE_SCORES = ("item", "method", "judge", "judge_version", "repeat", "perspective", "score", "accepted", "text", "raw", "seconds",
                "cost_usd")

MAX_COLUMNS = 2_000
MAX_LINE_CHARS = 4_000_000
JSON_LINES = (".jsonl", ".ndjson")
csv.field_size_limit(max(csv.field_size_limit(), MAX_LINE_CHARS))      # 131 072 by default: less than a judge may write

# ------------------------------------------------------------------------------------------------------------ whole files

@contextmanager
def written_whole(path: Path, encoding: str | None = "utf-8") -> Iterator[IO]:
    """An open file that takes its name only once it is complete: a run that is cut leaves no half of it. `encoding` None is for bytes; text
    keeps its line ends. Folders above it are made. Raises DataError where it cannot be written."""
    partial = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(3)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") if encoding is None else partial.open("w", encoding=encoding, newline="") as file:
            yield file
        partial.replace(path)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes | str) -> None:
    """A file that is either all there or not there. Raises DataError where it cannot be written."""
    with written_whole(path, None) as file:
        file.write(content.encode() if isinstance(content, str) else content)


QUICK = 1                    # compression of a PNG that somebody waits for: a photo takes a seventh of the time, and a sixth more bytes


def png_bytes(image: Image.Image, compress_level: int = 6, info: PngInfo | None = None) -> bytes:
    """A lossless PNG of the RGB pixels, with nothing of where they came from; `info` is put in. Same in, same bytes out."""
    from PIL import Image

    plain = Image.frombytes("RGB", image.size, image.convert("RGB").tobytes())
    buffer = io.BytesIO()
    plain.save(buffer, "PNG", compress_level=compress_level, pnginfo=info)
    return buffer.getvalue()


def read_json(path: Path, object_pairs_hook: Callable[[list], Any] | None = None) -> Any:
    """The value in a JSON file, UTF-8 with or without a byte-order mark. Raises DataError that names the file."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"), object_pairs_hook=object_pairs_hook)
    except FileNotFoundError as error:
        raise DataError(f"{path.parent}: {path.name} is missing") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error})") from error


# ------------------------------------------------------------------------------------------------------------------- text

_FORMULA = re.compile("'*(?:[\t\r\n]|[\\s\ufeff]*[=+\\-@＝＋－＠])")     # spreadsheets run the wide forms in some locales


def safe(text: str) -> str:
    """The text with `'` in front where a spreadsheet would take it for a formula. `restored` undoes it, whatever the text was."""
    return "'" + text if _FORMULA.match(text) else text


def restored(text: str) -> str:
    """The text that `safe` was given."""
    return text[1:] if text.startswith("'") and _FORMULA.match(text) else text


# ------------------------------------------------------------------------------------------------------------ writing CSV

class _Echo:
    """What a csv.writer writes to, so that `writerow` gives its text back."""

    write = staticmethod(str)


# Before Python 3.13 a csv.writer puts quotes around a cell with a line break only when its own line end has that character.
_quoted: Callable[[Iterable[object]], str] = csv.writer(_Echo(), lineterminator="\r\n").writerow


def csv_line(cells: Iterable[object]) -> str:
    """Cells as they are, quoted where they must be, without a line end."""
    return _quoted(cells)[:-2]


def csv_text(columns: Sequence[object], rows: Iterable[Iterable[object]], floats: str = ".10g") -> str:
    """A whole CSV: text made safe, floats in the given form, true and false as yes and no, None and NaN as an empty cell."""
    return "".join(csv_lines(columns, rows, floats))


def csv_lines(columns: Sequence[object], rows: Iterable[Iterable[object]], floats: str = ".10g") -> Iterator[str]:
    """The same line by line; without columns only the rows."""
    if columns:
        yield csv_line(_cell(name, floats) for name in columns) + "\n"
    for row in rows:
        yield csv_line([_cell(cell, floats) for cell in row]) + "\n"


def _cell(value: object, floats: str) -> str:
    if isinstance(value, str):
        return safe(storable(value))
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Real) and not isinstance(value, Integral):
        return "" if math.isnan(value) else format(float(value), floats)
    return str(value)


# ----------------------------------------------------------------------------------------------------- Markdown and LaTeX

_MARKDOWN = re.compile(r"[\\|`*~]|<(?=[A-Za-z/!?])|\](?=[(\[:])|(?<!\w)_|_(?!\w)")
_LATEX = {"\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
          "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
          '"': r"\textquotedbl{}", "–": "--", "−": "$-$", "±": r"$\pm$"}


class Tex(str):
    """Text that is LaTeX already."""


def markdown_escaped(text: str) -> str:
    """The text on one line, shown by Markdown as it is."""
    return _MARKDOWN.sub(r"\\\g<0>", " ".join(text.split()))


def latex_escaped(text: str) -> str:
    """The text on one line, with LaTeX's own characters made harmless."""
    return text if isinstance(text, Tex) else "".join(_LATEX.get(character, character) for character in " ".join(text.split()))


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table of text."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "".join("| " + " | ".join(cell if number == 1 else markdown_escaped(cell) for cell in line) + " |\n"
                   for number, line in enumerate(lines))


def latex_table(columns: Sequence[str], rows: Iterable[Sequence[str] | None], caption: str, alignment: str,
                notes: Sequence[str] = ()) -> str:
    """A LaTeX table of text that needs no package; a row that is None is a rule. `alignment` has a letter for each column."""
    lines = [r"\begin{table}", r"\centering", rf"\caption{{{latex_escaped(caption)}}}", rf"\begin{{tabular}}{{{alignment}}}", r"\hline"]
    lines += [r"\hline" if row is None else " & ".join(map(latex_escaped, row)) + r" \\" for row in (columns, None, *rows)]
    lines += [r"\hline", r"\end{tabular}", *(rf"\par {latex_escaped(note)}" for note in notes), r"\end{table}"]
    return "\n".join(lines) + "\n"


# ---------------------------------------------------------------------------------------------------------------- reading

class TableFault(DataError):
    """A table that cannot be read: `file`, `line` as a text editor counts, `reason`."""

    def __init__(self, file: str, line: int, reason: str) -> None:
        self.file, self.line, self.reason = file, line, reason
        super().__init__(f"{file}: row {line}: {reason}" if line else f"{file}: {reason}")


def read_table(source: Path | bytes | BinaryIO, name: str | None = None,
               needed: Sequence[str] = ()) -> Iterator[tuple[int, dict[str, str]]]:
    """Rows of a CSV or, by the file's ending, of a JSONL, streamed: the line that each begins at, and its cells by column.

    CSV: UTF-8 with or without a byte-order mark, or UTF-16; commas, semicolons or tabs; text as it was before it was made safe. A row may
    lack its last cells. JSONL: every value as text, null and what is not there as empty.
    Raises TableFault with the line: a file that cannot be read, no header, a column that is `needed` and not there, a row with more cells.
    """
    name = name or str(source if isinstance(source, Path) else "the table")
    if name.lower().endswith(JSON_LINES):
        return _with_columns(_json_rows(source, name), name, needed)
    return ((line, dict(zip(header, [restored(cell) if cell[:1] == "'" else cell for cell in cells], strict=True)))
            for header, line, cells in _csv_rows(source, name, needed))


def read_filled_table(path: Path, needed: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """`read_table` with cells stripped. Raises TableFault, also for an empty cell in a column that is `needed`."""
    for line, row in read_table(path, needed=needed):
        cells = {name: value.strip() for name, value in row.items()}
        if empty := [name for name in needed if not cells[name]]:
            raise TableFault(str(path), line, f"{empty[0]} is empty")
        yield line, cells


def read_csv_cells(source: Path | bytes | BinaryIO, name: str, delimiter: str | None = None) -> Iterator[tuple[int, list[str]]]:
    """The cells of each line of a CSV that has any, the header's first, with the line that it begins at: as they are in the file."""
    with _opened(source, name) as file:
        lines = _text_lines(file, name)
        first = next(lines, "")
        reader = csv.reader(_chained(first, lines), delimiter=delimiter or max(",;\t", key=first.count), strict=True)
        line = 1
        try:
            for cells in reader:
                if any(cells):
                    if len(cells) > MAX_COLUMNS:
                        raise TableFault(name, line, f"{len(cells)} columns, at most {MAX_COLUMNS} are read")
                    yield line, cells
                line = reader.line_num + 1
        except csv.Error as error:
            raise TableFault(name, line, f"not CSV ({error})") from error


def _csv_rows(source: Path | bytes | BinaryIO, name: str, needed: Sequence[str]) -> Iterator[tuple[list[str], int, list[str]]]:
    rows = read_csv_cells(source, name)
    _line, first = next(rows, (0, []))
    header = [cell.strip() for cell in first]
    if not any(header):
        raise TableFault(name, 0, "empty")
    column, count = Counter(header).most_common(1)[0]
    if count > 1:
        raise TableFault(name, 0, f"column {column!r} is there twice")
    _need(header, needed, name)
    for line, cells in rows:
        if len(cells) > len(header):
            raise TableFault(name, line, f"{len(cells)} cells under {len(header)} columns")
        yield header, line, cells + [""] * (len(header) - len(cells))


def _json_rows(source: Path | bytes | BinaryIO, name: str) -> Iterator[tuple[int, dict[str, str]]]:
    for line, row in read_json_lines(source, name):
        if not isinstance(row, dict):
            raise TableFault(name, line, "must be an object with the columns as keys")
        yield line, {key: "" if value is None else str(value) for key, value in row.items()}


def read_json_lines(source: Path | bytes | BinaryIO, name: str | None = None) -> Iterator[tuple[int, Any]]:
    """The values of a JSONL with their lines. Raises TableFault for a line that is not JSON, or holds text that cannot be kept."""
    name = name or str(source)
    with _opened(source, name) as file:
        for line, text in enumerate(_text_lines(file, name), 1):
            if not text.strip():
                continue
            try:
                value = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise TableFault(name, line, f"not JSON ({error})") from error
            if "\\u" in text and (fault := fault_of_values(value)):
                raise TableFault(name, line, f"holds {fault}")
            yield line, value


def _with_columns(rows: Iterator[tuple[int, dict[str, str]]], name: str, needed: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    columns: dict[str, str] = {}
    for line, row in rows:
        if not columns:
            _need(row, needed, name)
            columns = dict.fromkeys(row, "")
        yield line, columns | row


def _need(columns: Iterable[str], needed: Sequence[str], name: str) -> None:
    columns = list(columns)
    if missing := [column for column in needed if column not in columns]:
        shown = ", ".join(columns[:30]) + (", ..." if len(columns) > 30 else "")
        raise TableFault(name, 0, f"has no column {', '.join(missing)}; its columns are {shown or 'none'}")


def _opened(source: Path | bytes | BinaryIO, name: str):
    if not isinstance(source, Path):
        return nullcontext(io.BytesIO(source) if isinstance(source, bytes) else source)
    try:
        return source.open("rb")
    except OSError as error:
        raise TableFault(name, 0, f"cannot be read ({error.strerror})") from error


def _text_lines(file: BinaryIO, name: str) -> Iterator[str]:
    """Lines of text without a byte-order mark, with their own line ends. Bounded: no line is taken in whole before it is measured."""
    wide = file.read(2) in (b"\xff\xfe", b"\xfe\xff")
    file.seek(0)
    text = io.TextIOWrapper(file, "utf-16" if wide else "utf-8-sig", newline="")
    number = 1
    try:
        while line := text.readline(MAX_LINE_CHARS + 1):
            if len(line) > MAX_LINE_CHARS:
                raise TableFault(name, number, f"longer than {MAX_LINE_CHARS // 10**6} million characters")
            if "\0" in line:
                raise TableFault(name, number, "holds a NUL character")
            yield line
            number += 1
    except UnicodeDecodeError as error:
        if wide:
            raise TableFault(name, number, "not UTF-16 text; save it as UTF-8") from error
        raise TableFault(name, _undecodable_line(file) or number, "not UTF-8 text; save it as UTF-8") from error
    except OSError as error:
        raise TableFault(name, 0, f"cannot be read ({error.strerror})") from error


def _undecodable_line(file: BinaryIO) -> int | None:
    file.seek(0)
    number = 1
    while line := file.readline(4 * MAX_LINE_CHARS):
        try:
            line.decode()
        except UnicodeDecodeError:
            return number
        number += 1
    return None


def _chained(first: str, rest: Iterator[str]) -> Iterator[str]:
    yield first
    yield from rest
