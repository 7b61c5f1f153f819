"""Every paid answer, kept in one SQLite file the moment it arrives, so that no run pays for it again; and every request that is under way.

A client cannot know whether a server finished, and charged for, a request whose answer never arrived: the connection broke, or the program
was killed. So a note of each request is on the disk before it goes out, and gone when its answer is kept; what is noted still was perhaps
paid.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sqlite3
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from mre.errors import ServiceError
from mre.private import private_file, tighten
from mre.sqlite import switch_to_wal

APPLICATION_ID = 0x4D52454A          # "MREJ"
VERSION = 1
_UNDER_WAY = "CREATE TABLE IF NOT EXISTS under_way (key TEXT PRIMARY KEY, asked_at TEXT NOT NULL) WITHOUT ROWID"   # absent in older files
LOCK_SECONDS = 30         # how long to wait for another process that holds the file
_SCHEMA = f"""
CREATE TABLE answers (
    key TEXT PRIMARY KEY, judge TEXT NOT NULL, model TEXT NOT NULL, task TEXT NOT NULL, perspective TEXT NOT NULL,
    raw TEXT NOT NULL, build TEXT NOT NULL, error TEXT, input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL,
    cost_usd REAL, seconds REAL NOT NULL, answered_at TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE batches (
    digest TEXT PRIMARY KEY, batch_id TEXT, keys INTEGER NOT NULL, state TEXT NOT NULL, sent_at TEXT NOT NULL) WITHOUT ROWID;
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {VERSION};
"""


@dataclass(frozen=True)
class StoredAnswer:
    """One reply as it came, with what it cost. `error` is set when the reply was not a verdict: it was paid for all the same."""

    judge: str
    model: str
    task: str
    perspective: str
    raw: str
    build: str
    input_tokens: int
    output_tokens: int
    cost_usd: float | None
    seconds: float
    answered_at: str
    error: str | None = None


_COLUMNS = tuple(field.name for field in fields(StoredAnswer))


def answer_key(**parts: object) -> str:
    """The address of an answer: a digest of everything that could change it."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


class AnswerCache:
    """Answers by key. `path` None keeps them in memory, for one question asked once.

    Raises ServiceError for a file that is not an answer cache, or is of another version.
    """

    def __init__(self, path: str | Path | None) -> None:
        self.path = Path(path) if path is not None else None
        self._lock = threading.Lock()
        try:
            if self.path is not None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                private_file(self.path)             # -wal and -shm get its rights
            self._db = sqlite3.connect(str(self.path or ":memory:"), check_same_thread=False, isolation_level=None, timeout=LOCK_SECONDS)
            self._prepare()
            if self.path is not None:
                tighten(self.path)
        except (sqlite3.Error, OSError) as error:
            raise ServiceError(f"answer cache {self.path}: {error}") from error

    def _prepare(self) -> None:
        if not self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            switch_to_wal(self._db, LOCK_SECONDS)
            self._db.execute("BEGIN EXCLUSIVE")
            if not self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:     # nobody else was quicker
                for statement in _SCHEMA.strip().split(";\n"):
                    self._db.execute(statement)
            self._db.execute("COMMIT")
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if self._db.execute("PRAGMA application_id").fetchone()[0] != APPLICATION_ID:
            raise ServiceError(f"answer cache {self.path}: this is another program's database; name a new file")
        if version != VERSION:
            raise ServiceError(f"answer cache {self.path}: written by version {version}, this program reads version {VERSION}; "
                             "name a new file")
        self._db.execute(_UNDER_WAY)
        self._db.execute("PRAGMA synchronous = NORMAL")          # safe against a killed process; a power cut may cost the last answers

    def get(self, key: str) -> StoredAnswer | None:
        """The answer at `key`."""
        with self._lock:
            row = self._db.execute(f"SELECT {', '.join(_COLUMNS)} FROM answers WHERE key = ?", (key,)).fetchone()
        return StoredAnswer(*row) if row else None

    def put(self, key: str, answer: StoredAnswer) -> None:
        """Keep an answer. On return it survives the process."""
        values = asdict(answer)
        marks = ", ".join("?" * (len(_COLUMNS) + 1))
        with self._whole():
            self._db.execute(f"INSERT OR REPLACE INTO answers (key, {', '.join(_COLUMNS)}) VALUES ({marks})",
                             (key, *(values[name] for name in _COLUMNS)))
            self._db.execute("DELETE FROM under_way WHERE key = ?", (key,))

    @contextlib.contextmanager
    def _whole(self) -> Iterator[None]:
        """All that is written within it, or nothing."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")

    # -- requests that are under way

    def begin(self, *keys: str) -> None:
        """Note that requests for these answers go out now. On return the notes survive a power cut."""
        with self._lock:
            self._db.execute("PRAGMA synchronous = FULL")
            try:
                marks = ", ".join(["(?, ?)"] * len(keys))
                self._db.execute(f"INSERT OR REPLACE INTO under_way VALUES {marks}", [part for key in keys for part in (key, utc_now())])
            finally:
                self._db.execute("PRAGMA synchronous = NORMAL")

    def came_to_nothing(self, key: str) -> None:
        """Take the note away: the request is over, and nothing was made of it."""
        with self._lock:
            self._db.execute("DELETE FROM under_way WHERE key = ?", (key,))

    def asked_at(self, key: str) -> str | None:
        """When an answer was asked for that has not been kept; None where it was not, or came to nothing."""
        with self._lock:
            row = self._db.execute("SELECT asked_at FROM under_way WHERE key = ?", (key,)).fetchone()
        return row[0] if row else None

    def __contains__(self, key: str) -> bool:
        with self._lock:
            return self._db.execute("SELECT 1 FROM answers WHERE key = ?", (key,)).fetchone() is not None

    def __len__(self) -> int:
        with self._lock:
            return self._db.execute("SELECT count(*) FROM answers").fetchone()[0]

    def forget_failures(self) -> int:
        """Drop the replies that were no verdicts, so that they are asked again. Returns how many."""
        with self._lock:
            return self._db.execute("DELETE FROM answers WHERE error IS NOT NULL").rowcount

    def spent(self) -> float:
        """What all kept answers cost together, as far as prices were known, in USD."""
        with self._lock:
            return self._db.execute("SELECT coalesce(sum(cost_usd), 0) FROM answers").fetchone()[0]

    def note_batch(self, digest: str, batch_id: str | None, keys: int, state: str) -> None:
        """Remember a batch handed to the server, so that a cut run waits for it instead of sending it again."""
        with self._lock:
            self._db.execute("INSERT OR REPLACE INTO batches VALUES (?, ?, ?, ?, ?)", (digest, batch_id, keys, state, utc_now()))

    def batches(self, state: str) -> list[tuple[str, str | None, int]]:
        """(digest, batch id, requests) of the batches in a state."""
        with self._lock:
            return self._db.execute("SELECT digest, batch_id, keys FROM batches WHERE state = ? ORDER BY sent_at", (state,)).fetchall()

    @contextlib.contextmanager
    def only_run(self) -> Iterator[None]:
        """Hold the file for one long run: two at once would pay for the same answers. Released by the system when the process dies."""
        try:
            import fcntl
        except ImportError:          # no such locks on Windows; the rule is the user's there
            yield
            return
        if self.path is None:
            yield
            return
        with open(self.path.with_name(self.path.name + ".lock"), "w") as handle:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise ServiceError(f"answer cache {self.path}: another run is using it") from error
            yield

    def close(self) -> None:
        self._db.close()


def utc_now() -> str:
    """The time, as ISO 8601 in UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
