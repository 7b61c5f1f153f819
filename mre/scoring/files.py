"""Files of a judge's scores that only grow by whole edits: RewardEdit's working form (JSONL) and judge scores (CSV).

A run that was killed leaves at most one unfinished edit at the end, which is taken back when the file is opened again.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, Protocol

from mre.errors import DataError
from mre.files import JUDGE_SCORES, csv_lines, restored
from mre.rewards import PERSPECTIVES

if TYPE_CHECKING:
    from mre.judge.verdicts import Verdicts

SCORES = (*JUDGE_SCORES, "deviation")


class Named(Protocol):
    """An edit as a file of scores names it."""

    @property
    def id(self) -> str: ...
    @property
    def instruction(self) -> str: ...
    @property
    def original_name(self) -> str: ...
    @property
    def edited_name(self) -> str: ...
    @property
    def key(self) -> str: ...


@dataclass(frozen=True)
class ScoredEdit:
    """An edit to be scored, as its manifest names it: `item` and `method` for judge scores, `id` for RewardEdit's form."""

    id: str
    item: str
    method: str
    instruction: str
    original_name: str = ""
    edited_name: str = ""
    key: str = ""               # what the released form of RewardEdit calls a triplet; empty: its id


class _Record(NamedTuple):
    name: str
    judge: str
    version: str
    end: int                    # bytes of the file up to here


class ScoreFile:
    """One file of scores by one judge. `done`: names of the edits that it holds. Faults go to FILE.failed.jsonl, anew in each run.

    Raises DataError where the file is something else, or holds another judge's scores; it is left as it is then. `version`: the build that
    its scores must come from; None: any, as a model on a server may change its own. `perspectives`: those of each edit.
    """

    def __init__(self, path: Path, judge: str, version: str | None = None, perspectives: Sequence[str] = PERSPECTIVES) -> None:
        self.path, self.judge, self.version, self.perspectives = path, judge, version, perspectives
        self.failures = path.with_suffix(".failed.jsonl")
        if path.is_dir():
            raise DataError(f"{path}: is a folder; --out names a file")
        self.done, _ = self._read()

    def _read(self) -> tuple[set[str], int]:
        """Names of the edits in the file, and how many of its bytes hold whole ones."""
        done: set[str] = set()
        whole = 0
        if not self.path.exists():
            return done, whole
        with self.path.open("rb") as file:
            for record in self._records(file):
                if record.judge and record.judge != self.judge:
                    raise DataError(f"{self.path}: {record.name}: was judged by {record.judge!r}, not by {self.judge!r}; "
                                    "name another --out")
                if record.version and self.version and record.version != self.version:
                    raise DataError(f"{self.path}: {record.name}: was judged by build {record.version!r} of {self.judge}, which is "
                                    f"{self.version!r} now; name another --out")
                if record.name:
                    done.add(record.name)
                whole = record.end
        return done, whole

    def _records(self, file: BinaryIO) -> Iterator[_Record]:
        """Every whole edit of the file; a head gives one without a name."""
        raise NotImplementedError

    def _head(self) -> str:
        return ""

    def name(self, edit: Named) -> str:
        """What the file calls an edit."""
        return edit.id

    def text(self, edit: Named, verdicts: Verdicts) -> str:
        """The lines of one edit."""
        raise NotImplementedError

    def __enter__(self) -> ScoreFile:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        try:
            self._file = self.path.open("ab", buffering=0)
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written ({error.strerror})") from error
        _lock(self._file, self.path)
        self.done, whole = self._read()
        self._file.truncate(whole)
        if not whole:
            self._file.write(self._head().encode())
        self._failed = self.failures.open("w", encoding="utf-8", newline="\n")
        return self

    def __exit__(self, *_) -> None:
        self._file.close()
        self._failed.close()
        if not self.failures.stat().st_size:
            self.failures.unlink()

    def add(self, edit: Named, verdicts: Verdicts) -> None:
        """One whole edit. What was written survives a killed process."""
        content = memoryview(self.text(edit, verdicts).encode())
        try:
            while content:
                content = content[self._file.write(content) or 0:]
        except OSError as error:
            raise DataError(f"{self.path}: cannot be written ({error.strerror})") from error
        self.done.add(self.name(edit))

    def add_failure(self, name: str, errors: Mapping[str, str], raw: Mapping[str, str]) -> None:
        """An edit without scores, with what is known of why."""
        self._failed.write(json.dumps({"id": name, "errors": errors, "raw": raw}, ensure_ascii=False) + "\n")
        self._failed.flush()


class RewardFile(ScoreFile):
    """RewardEdit's working form: one JSON object a line, the perspectives that the judge knows, a deviation where it gives one."""

    def _records(self, file: BinaryIO) -> Iterator[_Record]:
        end = 0
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                row = json.loads(line)
                name, judge, version = row["id"], row["judge"], row.get("judge_version", "")
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise DataError(f"{self.path}: line {number}: not a reward; name another --out") from error
            end += len(line)
            yield _Record(str(name), str(judge), str(version), end)

    def text(self, edit: Named, verdicts: Verdicts) -> str:
        row: dict[str, object] = {"id": edit.id, "instruction": edit.instruction, "original": edit.original_name,
                                  "edited": edit.edited_name, "judge": verdicts.judge, "judge_version": verdicts.judge_version}
        for verdict in verdicts:
            known = {} if verdict.deviation is None else {"deviation": round(verdict.deviation, 4)}
            row[verdict.perspective] = {"score": verdict.score, "text": verdict.text or "None", **known}
        row |= {"raw": {verdict.perspective: verdict.raw for verdict in verdicts}, "seconds": round(verdicts.seconds, 3)}
        if edit.key and edit.key != edit.id:
            row["key"] = edit.key
        return json.dumps(row, ensure_ascii=False) + "\n"


class JudgeScores(ScoreFile):
    """Judge scores as `compare` reads them: one line for each perspective of an edit, `deviation` last."""

    def _head(self) -> str:
        return "".join(csv_lines(SCORES, ()))

    def _records(self, file: BinaryIO) -> Iterator[_Record]:
        """An edit is whole when the next line belongs to another, or when it has a line for each perspective."""
        rows = _csv_rows(file)
        try:
            head, end = next(rows, (None, 0))
            if head is None:
                return
            if head != list(SCORES):
                raise DataError(f"{self.path}: holds no judge scores with the columns {', '.join(SCORES)}; name another --out")
            yield _Record("", "", "", end)
            edit: list[list[str]] = []
            for cells, here in rows:
                if len(cells) != len(SCORES):
                    raise DataError(f"{self.path}: {cells[0]}: {len(cells)} cells under {len(SCORES)} columns; name another --out")
                if edit and edit[0][:2] != cells[:2]:
                    yield self._record(edit, end)
                    edit = []
                edit.append(cells)
                end = here
            if edit and len(edit) == len(self.perspectives):
                yield self._record(edit, end)
        except (UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"{self.path}: holds no judge scores ({error}); name another --out") from error

    def _record(self, edit: list[list[str]], end: int) -> _Record:
        item, method, judge, version = edit[0][:4]
        return _Record(_edit_name(item, method), judge, version, end)

    def name(self, edit: Named) -> str:
        assert isinstance(edit, ScoredEdit)
        return _edit_name(edit.item, edit.method)

    def text(self, edit: Named, verdicts: Verdicts) -> str:
        assert isinstance(edit, ScoredEdit)
        rows = ((edit.item, edit.method, verdicts.judge, one.judge_version, 0, one.perspective, one.score, one.accepted, one.text, one.raw,
                 round(one.seconds, 3), one.cost_usd, one.deviation) for one in verdicts)
        return "".join(csv_lines((), rows))


def _edit_name(item: str, method: str) -> str:
    return f"{method}/{item}"


def _csv_rows(file: BinaryIO) -> Iterator[tuple[list[str], int]]:
    """Cells of each whole row, and the bytes up to its end: a cell may hold line ends between quotes."""
    pending, end = b"", 0
    for line in file:
        pending += line
        if pending.count(b'"') % 2 or not pending.endswith(b"\n"):
            continue
        end += len(pending)
        yield [restored(cell) for cell in next(csv.reader(pending.decode("utf-8").splitlines(keepends=True), strict=True))], end
        pending = b""


def _lock(file: BinaryIO, path: Path) -> None:
    """Hold a file for one run; released by the system when the process dies. Raises DataError where another run holds it."""
    try:
        import fcntl
    except ImportError:          # no such locks on Windows; the rule is the user's there
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        raise DataError(f"{path}: another run is writing it") from error
