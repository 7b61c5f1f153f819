"""Reading people's ratings and judges' scores from the files that studies, benchmarks and other people's tools write.

What comes out is long: one row per score, `score` on 0..1 of its own scale, `native` as the file has it. What cannot be used is set aside
with a notice, one line that names file and row; what is left goes on. A file that holds nothing usable raises DataError.

Scale, in this order: the columns `scale_min` (0 when absent) and `scale_max`; 0 to 5 for judge scores of our own form (with
`judge_version`); else from the largest and smallest number of the file: up to 1 -> 0-1, up to 5 -> 0-5, up to 7 and none below 1 -> 1-7,
up to 10 -> 0-10.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd

from mre.errors import DataError
from mre.files import TableFault, read_csv_cells, restored
from mre.rewards import PERSPECTIVES
from mre.study.cells import SIMULATED

COLUMN_PERSPECTIVES = (*PERSPECTIVES, "naturalness", "artifacts")       # known as column names; rows may name any perspective
ALIASES = {"item_id": "item", "rater": "annotator", "annotator_id": "annotator", "study_id": "study", "source_image": "image",
           "image_id": "image", "rationale": "text", "reason": "text"}
NOT_ANNOTATORS = {"item", "method", "perspective", "study", "edit_type", "instruction", "image", "original", "scale_min", "scale_max",
                  "comment", "judge", "judge_version", "repeat", "task"}
KNOWN_COLUMNS = {*NOT_ANNOTATORS, *COLUMN_PERSPECTIVES, "annotator", "score", "screen", "shown_as", "revision", "is_repeat", "is_check",
                 "skip_reason", "accepted", "text", "raw", "seconds", "cost_usd", "deviation", "first_shown_at", "submitted_at",
                 "active_seconds", "order_seed", "app_version", "excluded", "row"}
SCALES = ((0.0, 1.0), (0.0, 5.0), (1.0, 7.0), (0.0, 10.0))
HUMAN_KEY = ["study", "item", "method", "annotator", "perspective", "screen", "is_repeat"]
JUDGE_KEY = ["item", "method", "judge", "repeat", "perspective"]
EXPECTED_HUMAN = "item, method, annotator, perspective, score; or item, method, annotator and a column per perspective; or item, method, " \
                 "perspective and a column per annotator"
EXPECTED_JUDGE = "item, method, judge, perspective, score"
CELL = re.compile(r"\[?\s*([-+]?\d*\.?\d+)\s*,\s*([-+]?\d*\.?\d+)\s*\]?")           # ImagenHub: "[0.5, 1]" is SC and PQ
Source = str | Path | bytes | pd.DataFrame


@dataclass(frozen=True)
class Ratings:
    """Scores of one side. `frame` has `item, method, perspective, score, native, row` and, where known, `edit_type, instruction, image`;
    people's have `annotator, comment`, judges' `judge, repeat, accepted, text, seconds, cost_usd`."""

    frame: pd.DataFrame
    name: str
    scale: str                          # in words, how the numbers were read
    notices: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)        # rows read, missing, superseded, checks, repeats, excluded


def read_human(sources: Source | Sequence[Source], names: Sequence[str] | None = None) -> Ratings:
    """People's ratings from one or more files (a folder stands for its CSV and TSV files) or from an export already in memory. Simulated
    annotators of a study's export are kept, and named in a notice; those of several studies are told apart."""
    found = _read(sources, names, _human_rows, HUMAN_KEY, "annotator", EXPECTED_HUMAN)
    people = sorted(map(str, found.frame["annotator"].unique()))
    simulated = [name for name in people if SIMULATED.fullmatch(name)]
    if simulated:
        told = f"{found.name}: {len(simulated)} of {len(people)} annotators are simulated ({simulated[0]} to {simulated[-1]}), no people"
        found = replace(found, notices=(told, *found.notices))
    return _by_study(found)


def _by_study(found: Ratings) -> Ratings:
    """The annotators of several studies under names of their own: a pseudonym such as a001 is another person in each study."""
    frame = found.frame
    if "study" not in frame or frame["study"].nunique() < 2:
        return found
    names = frame["annotator"].astype(str)
    names = names.where(frame["study"] == "", names + " of " + frame["study"])
    told = f"{found.name}: {frame['study'].nunique()} studies; an annotator of one is taken for nobody of another"
    return replace(found, frame=frame.assign(annotator=names.astype("category")), notices=(told, *found.notices))


def read_judge(sources: Source | Sequence[Source], names: Sequence[str] | None = None) -> Ratings:
    """Judges' scores from one or more files or frames."""
    return _read(sources, names, _judge_rows, JUDGE_KEY, "judge", EXPECTED_JUDGE)


def read_edits(path: Path | None, beside: Path | None = None) -> pd.DataFrame | None:
    """The edits.csv of a benchmark folder (`item, edit_type, instruction, original, method, edited, ...`), or None where there is none:
    `path`, or the one in the folder of `beside`."""
    if path is None:
        path = beside.parent / "edits.csv" if beside is not None else None
        if path is None or not path.is_file():
            return None
    if not path.is_file():
        raise DataError(f"{path}: no such file")
    desk = _Desk(path.name, [], {"rows": 0})
    table = desk.table(path)
    desk.need(table, ("item", "method", "original", "edited"), "item, edit_type, instruction, original, method, edited")
    return table


def _read(sources, names, rows_of, key: list[str], who: str, expected: str) -> Ratings:
    files = _files(sources, names)
    parts, notices, scales = [], [], []
    counts: dict[str, int] = dict.fromkeys(("rows", "missing", "superseded", "checks", "repeats", "excluded"), 0)
    for name, source in files:
        desk = _Desk(name, notices, counts)
        table = desk.table(source)
        part = rows_of(desk, table, expected)
        part, scale = desk.scaled(part)
        parts.append(part)
        scales.append(scale)
    frame = pd.concat(parts, ignore_index=True)
    title = files[0][0] if len(files) == 1 else f"{len(files)} files ({files[0][0]}, ...)"
    key = [column for column in key if column in frame]
    frame = _without_duplicates(frame.fillna(dict.fromkeys(key, "")), key, title, notices)        # a file may lack what another has
    if not len(frame):
        raise DataError(f"{title}: no usable score" + (f"; first: {notices[0]}" if notices else ""))
    frame = frame.drop(columns="file")
    for column in ("item", "method", "perspective", who):
        frame[column] = frame[column].astype("category")
    return Ratings(frame, title, "; ".join(dict.fromkeys(scales)), tuple(notices), counts)


def _files(sources, names) -> list[tuple[str, Source]]:
    if isinstance(sources, (str, Path, bytes, pd.DataFrame)):
        sources = [sources]
    files = []
    for i, source in enumerate(sources):
        given = names[i] if names else None
        if isinstance(source, (str, Path)):
            path = Path(source)
            if path.is_dir():
                inside = sorted(child for child in path.iterdir() if child.suffix.lower() in (".csv", ".tsv"))
                if not inside:
                    raise DataError(f"{path}: a folder without CSV or TSV files")
                files += [(child.name, child) for child in inside]
                continue
            if not path.is_file():
                raise DataError(f"{path}: no such file")
            files.append((given or path.name, path))
        else:
            files.append((given or "the scores", source))
    if not files:
        raise DataError("no file was given")
    return files


class _Desk:
    """One file being read: says what is wrong with which row, and goes on."""

    def __init__(self, name: str, notices: list[str], counts: dict[str, int]) -> None:
        self.name, self.notices, self.counts = name, notices, counts

    def say(self, rows: Iterable[int], what: str) -> None:
        """One line for all rows with the same fault."""
        rows = list(rows)
        self.notices.append(f"{self.name} row {rows[0]}" + (f" and {len(rows) - 1} more" if len(rows) > 1 else "") + f": {what}")

    def table(self, source: Source) -> pd.DataFrame:
        """All cells as text, empty = missing, with the file's row number (the header is row 1)."""
        if isinstance(source, pd.DataFrame):
            table, lines = source.astype(object).where(source.notna(), "").astype(str), range(2, len(source) + 2)
        else:
            table, lines = self._cells(source if isinstance(source, bytes) else Path(source).read_bytes())
        if not _is_imagenhub(table):
            names = [str(column).strip() for column in table.columns]
            table.columns = [ALIASES.get(name.lower(), name.lower() if name.lower() in KNOWN_COLUMNS else name) for name in names]
        if table.columns.has_duplicates:
            twice = table.columns[table.columns.duplicated()][0]
            raise DataError(f"{self.name} row 1: two columns are called {twice}")
        if not len(table):
            raise DataError(f"{self.name}: no row below the header")
        if "perspective" in table:
            table["perspective"] = table["perspective"].str.lower()
        for column in table.columns:
            cells = table[column]
            if (quoted := cells.str.startswith("'")).any():
                cells = cells.where(~quoted, cells[quoted].map(restored))
            table[column] = cells.str.strip()
        table["row"] = list(lines)
        self.counts["rows"] += len(table)
        return table

    def _cells(self, data: bytes) -> tuple[pd.DataFrame, list[int]]:
        """A CSV's cells, and the line that each row begins at."""
        if data[:2] in (b"\xff\xfe", b"\xfe\xff") or (data and data[:200].count(0) > len(data[:200]) // 4):
            raise DataError(f"{self.name} row 1: the file is UTF-16; save it as UTF-8")
        if not data.removeprefix(b"\xef\xbb\xbf").strip():
            raise DataError(f"{self.name}: the file is empty")
        header = data.removeprefix(b"\xef\xbb\xbf").split(b"\n", 1)[0].decode("utf-8", "replace").rstrip("\r")
        separator = max(",;\t|", key=header.count) if re.search(r"[,;\t|]", header) else ","
        if separator != "," and not (separator == "\t" and header.lower().startswith("uid")):
            shown = {"\t": "tabs", ";": '";"', "|": '"|"'}[separator]
            raise DataError(f'{self.name} row 1: columns are separated by {shown}, not by ","; save it as a comma-separated file')
        try:
            (_, header), *rows = read_csv_cells(data, self.name, separator)
        except TableFault as error:
            raise DataError(f"{self.name} row {error.line}: {error.reason}") from error
        for line, row in rows:
            if len(row) != len(header):
                raise DataError(f"{self.name} row {line}: {len(row)} columns, the header has {len(header)}")
        return pd.DataFrame([row for _, row in rows], columns=header, dtype=str), [line for line, _ in rows]

    def need(self, table: pd.DataFrame, columns: Iterable[str], expected: str) -> None:
        missing = [column for column in columns if column not in table]
        if missing:
            held = ", ".join(str(column) for column in table.columns if column != "row")
            raise DataError(f"{self.name} row 1: no column {missing[0]} among {held}; expected {expected}")

    def named(self, table: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
        """Without the rows that lack a name in one of `columns`."""
        for column in columns:
            empty = table[column] == ""
            if empty.any():
                self.say(table.loc[empty, "row"], f"{column} is empty; left out")
                table = table[~empty]
        return table

    def say_unread(self, table: pd.DataFrame) -> None:
        """In a table with a column per perspective, an unknown column may be a perspective whose name we do not know."""
        unread = [str(column) for column in table if column not in KNOWN_COLUMNS]
        if unread:
            self.say([1], f"columns that are not read: {', '.join(unread)}; perspectives as columns are {', '.join(COLUMN_PERSPECTIVES)}, "
                          "others need rows with perspective and score")

    def numbers(self, cells: pd.Series, rows: pd.Series, what: str) -> pd.Series:
        """Cells as finite numbers; empty ones and (with a notice) all others are missing."""
        numbers = pd.to_numeric(cells.where(cells != ""), errors="coerce").astype(float)
        numbers = numbers.where(np.isfinite(numbers))
        wrong = numbers.isna() & (cells != "")
        if wrong.any():
            self.say(rows[wrong], f"{what} must be a number, got {cells[wrong].iloc[0][:40]!r}; left out")
        return numbers

    def scaled(self, rows: pd.DataFrame) -> tuple[pd.DataFrame, str]:
        """Adds `score` on 0..1; says how the scale was found. Rows off the scale are left out, rows without a score counted."""
        wrong = rows.pop("unreadable") if "unreadable" in rows else False
        missing = rows["native"].isna() & ~wrong
        self.counts["missing"] += int(missing.sum())
        rows = rows[rows["native"].notna()]
        if not len(rows):
            return rows.assign(score=pd.Series(dtype=float)), "no score"
        rows, rule = self._with_limits(rows)
        off = ~rows["native"].between(rows["low"], rows["high"])
        if off.any():
            first = rows[off].iloc[0]
            self.say(rows.loc[off, "row"], f"score {first['native']:g} is outside {first['low']:g} to {first['high']:g}; left out")
            rows = rows[~off]
        rows = rows.assign(score=(rows["native"] - rows["low"]) / (rows["high"] - rows["low"]), file=self.name)
        return rows.drop(columns=[c for c in ("scale_min", "scale_max") if c in rows]), f"{self.name}: {rule}"

    def _with_limits(self, rows: pd.DataFrame) -> tuple[pd.DataFrame, str]:
        if "scale_max" in rows:
            high = self.numbers(rows["scale_max"], rows["row"], "scale_max")
            low = self.numbers(rows["scale_min"], rows["row"], "scale_min").fillna(0) if "scale_min" in rows else 0.0
            rows = rows.assign(low=low, high=high)
            broken = ~(rows["high"] > rows["low"])
            if broken.any():
                self.say(rows.loc[broken, "row"], "scale_max must be a number above scale_min; left out")
                rows = rows[~broken]
            scales = rows.groupby(["low", "high"]).size()
            if len(scales) > 1:
                listed = ", ".join(f"{count} on {low:g}-{high:g}" for (low, high), count in zip(scales.index, scales, strict=True))
                other = rows[(rows["low"] != rows["low"].iloc[0]) | (rows["high"] != rows["high"].iloc[0])]
                self.say(other["row"].iloc[:1], f"mixed scales ({listed}); each score is read on its own")
            return rows, "scale as the file says, " + ", ".join(f"{low:g}-{high:g}" for low, high in scales.index)
        if "judge_version" in rows:
            return rows.assign(low=0.0, high=5.0), "scale 0-5, as in all judge scores of this form"
        low, high = scale_of(rows["native"])
        rows = rows.assign(low=low, high=high)
        ranges = rows.groupby("perspective", observed=True)["native"].agg(["min", "max"])
        apart = {scale_of(pd.Series(values)) for values in ranges.to_numpy()}
        if len(apart) > 1 and (0.0, 1.0) not in apart:
            listed = ", ".join(f"{name} {small:g} to {large:g}" for name, small, large in ranges.itertuples())
            self.say([1], f"no scale_max column, and perspectives differ in range ({listed}): all read as {low:g}-{high:g}")
        return rows, f"no scale_max column; scores from {rows['native'].min():g} to {rows['native'].max():g} read as {low:g}-{high:g}"


def scale_of(scores: pd.Series) -> tuple[float, float]:
    """The scale that numbers without a stated one are taken to be on."""
    smallest, largest = scores.min(), scores.max()
    for low, high in SCALES:
        if largest <= high and (low == 0 or smallest >= low):
            return low, high
    return SCALES[-1]


# One shape per form of file --------------------------------------------------------------------------------------------------------------


def _human_rows(desk: _Desk, table: pd.DataFrame, expected: str) -> pd.DataFrame:
    """Long rows with `native` from any of the forms people's ratings come in."""
    if _is_imagenhub(table):
        return _imagenhub_rows(desk, table)
    desk.need(table, ("item", "method"), expected)
    table = desk.named(table, ("item", "method"))
    wide = [name for name in COLUMN_PERSPECTIVES if name in table]
    if {"perspective", "score"} <= set(table):
        desk.need(table, ("annotator",), expected)
        rows = desk.named(table, ("annotator", "perspective"))
    elif "perspective" not in table and wide:
        desk.need(table, ("annotator",), expected)
        desk.say_unread(table)
        rows = desk.named(table, ("annotator",)).melt([c for c in table if c not in wide], wide, "perspective", "score")
    elif "perspective" in table:
        annotators = [column for column in table if column not in NOT_ANNOTATORS | {"row"}]
        if not annotators:
            raise DataError(f"{desk.name} row 1: neither a column score nor a column per annotator; expected {expected}")
        rows = desk.named(table, ("perspective",)).melt([c for c in table if c not in annotators], annotators, "annotator", "score")
    else:
        desk.need(table, ("perspective", "score"), expected)
    rows = rows.sort_values("row", kind="stable").reset_index(drop=True)
    rows = rows.assign(native=desk.numbers(rows["score"], rows["row"], "score"))
    rows["unreadable"] = rows["native"].isna() & (rows["score"] != "")
    return _without_checks(desk, rows.drop(columns="score"))


def _without_checks(desk: _Desk, rows: pd.DataFrame) -> pd.DataFrame:
    """Attention checks, repeated screens and excluded annotators are no part of the means; of several revisions the last one counts."""
    for column, count, what in (("is_check", "checks", "attention checks"), ("is_repeat", "repeats", "repeated screens"),
                                ("excluded", "excluded", "annotators who are excluded")):
        if column in rows:
            flagged = rows[column].str.lower().isin(("1", "true", "yes"))
            desk.counts[count] += int(flagged.sum())
            if flagged.any():
                desk.notices.append(f"{desk.name}: {int(flagged.sum())} scores of {what} are not part of the comparison")
            rows = rows[~flagged]
    if "revision" in rows:
        order = pd.to_numeric(rows["revision"], errors="coerce").fillna(0)
        key = [rows[column] for column in HUMAN_KEY if column in rows]
        superseded = order < order.groupby(key).transform("max")
        desk.counts["superseded"] += int(superseded.sum())
        if superseded.any():
            desk.notices.append(f"{desk.name}: {int(superseded.sum())} scores were revised later; the last revision counts")
        rows = rows[~superseded]
    return rows


def _is_imagenhub(table: pd.DataFrame) -> bool:
    return str(table.columns[0]).strip().lower() == "uid"


def _imagenhub_rows(desk: _Desk, table: pd.DataFrame) -> pd.DataFrame:
    """One file per annotator, a column per method, `[SC, PQ]` in each cell. The cells are parsed as two numbers, never evaluated."""
    uid = table.columns[0]
    methods = [column for column in table.columns[1:] if column != "row"]
    if not methods:
        raise DataError(f"{desk.name} row 1: no column per method after {uid}")
    cells = table.melt([uid, "row"], methods, "method", "cell").sort_values("row", kind="stable")
    cells["item"] = cells[uid].str.replace(r"\.(jpe?g|png|webp)$", "", regex=True)
    parsed = cells["cell"].map(lambda cell: CELL.fullmatch(str(cell)))
    wrong = parsed.isna() & (cells["cell"] != "")
    if wrong.any():
        first = cells.loc[wrong, "cell"].iloc[0][:40]
        desk.say(cells.loc[wrong, "row"], f"a cell must be two numbers such as [0.5, 1], got {first!r}; left out")
    cells, parsed = cells[~wrong], parsed[~wrong]
    annotator = Path(desk.name).stem
    parts = [cells[["item", "method", "row"]].assign(annotator=annotator, perspective=perspective, scale_max="1",
                                                     native=[float(match[i]) if match else np.nan for match in parsed])
             for i, perspective in ((1, "following"), (2, "quality"))]
    return pd.concat(parts).sort_values("row", kind="stable").reset_index(drop=True)


def _judge_rows(desk: _Desk, table: pd.DataFrame, expected: str) -> pd.DataFrame:
    desk.need(table, ("item", "method"), expected)
    table = desk.named(table, ("item", "method"))
    wide = [name for name in COLUMN_PERSPECTIVES if name in table]
    if "judge" not in table:
        table = table.assign(judge=Path(desk.name).stem)
        desk.notices.append(f"{desk.name} row 1: no column judge; the judge is called {Path(desk.name).stem}")
    table["judge"] = table["judge"].where(table["judge"] != "", "unnamed")
    if "perspective" not in table and wide:
        desk.say_unread(table)
        table = table.melt([c for c in table if c not in wide], wide, "perspective", "score")
    desk.need(table, ("perspective", "score"), expected)
    rows = desk.named(table, ("perspective",)).sort_values("row", kind="stable").reset_index(drop=True)
    rows = rows.assign(native=desk.numbers(rows["score"], rows["row"], "score"))
    rows["unreadable"] = rows["native"].isna() & (rows["score"] != "")
    if "repeat" not in rows:
        rows["repeat"] = "1"
    for column in ("seconds", "cost_usd"):
        if column in rows:
            rows[column] = desk.numbers(rows[column], rows["row"], column)
    return _told_apart(rows.drop(columns="score"))


def _told_apart(rows: pd.DataFrame) -> pd.DataFrame:
    """One name per judge that could differ: tasks of one judge, and versions that scored the same perspective, become judges of their
    own. (A version may differ from perspective to perspective, since each has its own prompt.)"""
    for column in ("task", "judge_version"):
        if column in rows and len(rows):
            versions = rows.groupby(["judge", "perspective"])[column].transform("nunique")
            several = versions.groupby(rows["judge"]).transform("max") > 1
            rows["judge"] = rows["judge"].where(~several, rows["judge"] + " " + rows[column])
    return rows


def _without_duplicates(frame: pd.DataFrame, key: list[str], name: str, notices: list[str]) -> pd.DataFrame:
    """Of rows with one key and one score the first is kept; with different scores nobody can tell which is right, and all are set aside."""
    twice = frame.duplicated(key, keep=False)
    if not twice.any():
        return frame
    several = frame[twice].groupby(key, observed=True)["score"].transform("nunique") > 1
    conflicting = several.reindex(frame.index, fill_value=False)
    for rows, what in ((frame[conflicting], "different scores; all of them left out"),
                       (frame[twice & ~conflicting & frame.duplicated(key)], "the same score; the first is kept")):
        if len(rows):
            first = rows.iloc[0]
            shown = ", ".join(str(first[column]) for column in key if column in ("item", "method", "annotator", "judge", "perspective"))
            file = first["file"]
            notices.append(f"{file} row {first['row']}" + (f" and {len(rows) - 1} more" if len(rows) > 1 else "")
                           + f": {shown} occurs more than once, with {what}")
    return frame[~conflicting & ~frame.duplicated(key)]
