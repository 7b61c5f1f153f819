"""Where studies live: SQLite in one file by default, PostgreSQL by URL. Opening a store brings its tables up to date.

Every change runs in one transaction (`Store.write`), whole or absent. On SQLite it takes the write lock at its start, in WAL mode with
`synchronous=FULL`: once a change is acknowledged, neither kill -9 nor a power cut takes it back. On PostgreSQL, changes of one study
queue up behind a lock on the study's row, and a commit is on disk before it is acknowledged, whatever the server's default.
"""

from __future__ import annotations

import copy
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy import Connection, event
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError, SQLAlchemyError, TimeoutError

from mre.errors import SettingsError, StudyError
from mre.private import private_file, private_folder, tighten
from mre.sqlite import switch_to_wal
from mre.study import keys
from mre.text import fault_of_text

DATABASE_NAME = "studies.db"
MIGRATIONS = Path(__file__).parent / "migrations"
OURS = (f"{DATABASE_NAME}*", "judge-answers.sqlite*", keys.FILES)          # what lies in a data folder
BUSY_SECONDS = 10.0
KEYS_SECONDS = 5.0          # so soon, a running server takes up keys that another process has changed


class StoreUnavailable(StudyError):
    """The database cannot be written or reached just now. Nothing was saved, nothing is lost; the same call may be made again."""


class UnstorableText(StudyError):
    """Text with a NUL character or half of a character, which not every database can hold. Refused by all, so that all are alike."""


def newest_revision() -> str:
    """Of the tables, as the names of the migrations say."""
    return max(path.stem for path in (MIGRATIONS / "versions").glob("[0-9]*.py")).split("_")[0]


def now_ms() -> int:
    return time.time_ns() // 1_000_000


class Store:
    """An open study database. One per process; safe to use from many threads."""

    def __init__(self, url: str | sa.URL, data: Path | None = None, clock: Callable[[], int] = now_ms) -> None:
        """`data`: the folder of what does not lie in the database (`mre.study.keys`).

        Raises SettingsError for a URL of a database we do not speak, StoreUnavailable when it cannot be opened.
        """
        try:
            self.url = sa.make_url(url)
        except SQLAlchemyError as error:
            raise SettingsError(f"database must be a URL such as postgresql+psycopg://user@host/name, got {_shown(url)}") from error
        backend = self.url.get_backend_name()
        if backend not in ("sqlite", "postgresql"):
            raise SettingsError(f"database must be sqlite or postgresql, got {backend}")
        if backend == "postgresql":
            self.url = self.url.set(drivername="postgresql+psycopg")
        self.clock = clock
        self.data = data
        self.is_sqlite = backend == "sqlite"
        if self.is_sqlite and self.url.database:
            try:
                private_file(Path(self.url.database))           # -wal and -shm get its rights
            except OSError as error:
                raise StoreUnavailable(f"{self.url.database}: cannot make this file ({error.strerror})") from error
        self._turn = threading.RLock()          # SQLite has one writer; a fair queue here beats its polling
        self.engine = self._make_engine()
        self._keys: tuple[float, keys.Keys] | None = None
        self._migrate()
        if self.is_sqlite and self.url.database:
            tighten(Path(self.url.database))
        keys.move_out(self)
        with suppress(SettingsError):           # whoever needs the keys is told; an export does not
            self._present_keys()

    @classmethod
    def open(cls, data: Path | str, database: str | None = None, clock: Callable[[], int] = now_ms) -> Store:
        """The store under the folder `data`, or the one at the URL `database`."""
        folder = Path(data)
        try:
            if not database or folder.is_dir():
                private_folder(folder, OURS)
        except OSError as error:
            raise StoreUnavailable(f"{folder}: cannot make this folder ({error.strerror})") from error
        return cls(database or sa.URL.create("sqlite", database=str(folder / DATABASE_NAME)), folder, clock)

    def sibling(self, clock: Callable[[], int]) -> Store:
        """The same database with another clock, for simulated annotators whose time is not ours."""
        other = copy.copy(self)
        other.clock = clock
        return other

    def close(self) -> None:
        self.engine.dispose()

    # ------------------------------------------------------------------------------------------------------- transactions

    @contextmanager
    def write(self, check_references: bool = True) -> Iterator[Connection]:
        """One transaction that changes things: all of it, or none. Raises StoreUnavailable when the database cannot.

        Without `check_references` SQLite does not look for rows that refer to those deleted, for which it would read whole tables.
        """
        with (self._turn if self.is_sqlite else nullcontext(), self._named_errors(),
              self.engine.connect().execution_options(mre_write=True) as connection,
              nullcontext() if check_references or not self.is_sqlite else _references_unchecked(connection), connection.begin()):
            yield connection

    def new_ids(self, connection: Connection, table: sa.Table, count: int) -> list[int]:
        """Ids for rows that this transaction is about to add."""
        if self.is_sqlite:                      # nobody else writes meanwhile
            last = connection.execute(sa.select(sa.func.max(table.c.id))).scalar() or 0
            return list(range(last + 1, last + count + 1))
        sequence = sa.func.pg_get_serial_sequence(table.name, "id")
        return list(connection.execute(sa.select(sa.func.nextval(sequence)).select_from(sa.func.generate_series(1, count))).scalars())

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A consistent view that changes nothing."""
        with self._named_errors(), self.engine.connect() as connection, connection.begin():
            yield connection

    def lock(self, connection: Connection, table: sa.Table, row_id: int) -> None:
        """Queue up behind every other change that locks this row (SQLite: the transaction already does)."""
        if not self.is_sqlite:
            connection.execute(sa.select(table.c.id).where(table.c.id == row_id).with_for_update())

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except IntegrityError as error:
            raise StudyError(f"refused by the database: {_first_line(error)}") from error
        except (OperationalError, TimeoutError, InterfaceError) as error:
            raise StoreUnavailable(_plain_reason(error)) from error
        except DBAPIError as error:
            if error.connection_invalidated:
                raise StoreUnavailable(_plain_reason(error)) from error
            raise

    # ------------------------------------------------------------------------------------------------------------ opening

    def _make_engine(self) -> sa.Engine:
        engine = self._sqlite_engine() if self.is_sqlite else self._postgresql_engine()

        @event.listens_for(engine, "before_cursor_execute")
        def _refuse_unstorable(_connection, _cursor, _statement, parameters, _context, many) -> None:
            for row in parameters if many else (parameters,):
                for value in row.values() if isinstance(row, dict) else row:
                    if isinstance(value, str) and (fault := fault_of_text(value)):
                        raise UnstorableText(f"text holds {fault}, which cannot be stored")

        return engine

    def _postgresql_engine(self) -> sa.Engine:
        return sa.create_engine(self.url, pool_pre_ping=True, pool_size=10, max_overflow=20, pool_timeout=BUSY_SECONDS,
                                connect_args={"connect_timeout": int(BUSY_SECONDS), "options": "-c synchronous_commit=on"})

    def _sqlite_engine(self) -> sa.Engine:
        engine = sa.create_engine(self.url, connect_args={"timeout": BUSY_SECONDS}, pool_size=10, max_overflow=40,
                                  pool_timeout=BUSY_SECONDS)

        @event.listens_for(engine, "connect")
        def _settle(connection, _record) -> None:
            connection.isolation_level = None        # we say BEGIN ourselves, see below
            switch_to_wal(connection, BUSY_SECONDS)
            for setting in ("synchronous=FULL", "foreign_keys=ON", "cache_size=-32000", "temp_store=MEMORY"):
                connection.execute(f"PRAGMA {setting}")

        @event.listens_for(engine, "begin")
        def _begin(connection) -> None:
            connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("mre_write") else "BEGIN")

        return engine

    def _migrate(self) -> None:
        """Bring the tables up to date; several processes may try at once."""
        if self._is_current():
            return
        from alembic import command
        from alembic.config import Config
        from alembic.script.revision import ResolutionError
        from alembic.util import CommandError

        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        try:
            with self.write() as connection:
                if not self.is_sqlite:
                    connection.execute(sa.text("select pg_advisory_xact_lock(24111304713)"))
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
        except (CommandError, ResolutionError) as error:
            raise StudyError(f"{_shown(self.url)}: made by a newer version of this program ({error})") from error
        except DBAPIError as error:
            raise StudyError(f"{_shown(self.url)}: not a study database ({_first_line(error)})") from error

    def _is_current(self) -> bool:
        """Whether the tables are those of this version. Then alembic and its scripts, which take a while to load, are not asked."""
        try:
            with self.engine.connect() as connection:
                found = sa.inspect(connection).has_table("alembic_version") and connection.execute(
                    sa.text("select version_num from alembic_version")).scalars().all()
        except DBAPIError:                      # alembic says what is wrong
            return False
        return found == [newest_revision()]

    # --------------------------------------------------------------------------------------------------------------- keys

    @property
    def secret(self) -> str:
        """What signs invitations; another one after `study rotate-secret`. Raises SettingsError when it is not here."""
        return self._present_keys().signing

    @property
    def pseudonym_key(self) -> str:
        """What digests of outside ids and personal codes are made with; it stays. Raises SettingsError when it is not here."""
        return (self._keys[1] if self._keys else self._present_keys()).pseudonyms

    def rotate_keys(self, *, lost: bool = False) -> None:
        """See `keys.rotate`."""
        keys.rotate(self, lost=lost)
        self._keys = None

    def _present_keys(self) -> keys.Keys:
        if self._keys is None or self._keys[0] < time.monotonic():
            self._keys = time.monotonic() + KEYS_SECONDS, keys.load(self)
        return self._keys[1]

    # ------------------------------------------------------------------------------------------------------------- backup

    def backup(self, target: Path) -> None:
        """A copy of the whole SQLite store as it is now, taken while people go on working."""
        if not self.is_sqlite:
            raise StudyError("backup copies the SQLite store; for PostgreSQL use pg_dump")
        if target.exists():
            raise StudyError(f"{target}: exists already")
        try:
            private_file(target)
            with self.engine.connect() as connection:
                raw = _driver(connection)
                raw.execute("VACUUM INTO ?", (str(target),))
        except Exception as error:
            with suppress(OSError):
                target.unlink(missing_ok=True)          # a part of a copy is none, and would be in the next one's way
            raise StoreUnavailable(f"{target}: cannot be written ({_first_line(error)})") from error


@contextmanager
def _references_unchecked(connection: Connection) -> Iterator[None]:
    raw = _driver(connection)                           # SQLite takes this setting outside of transactions alone
    raw.execute("PRAGMA foreign_keys=OFF")
    try:
        yield
    finally:
        raw.execute("PRAGMA foreign_keys=ON")


def _driver(connection: Connection) -> sqlite3.Connection:
    """SQLite's own connection behind one of SQLAlchemy's."""
    raw = connection.connection.dbapi_connection
    assert isinstance(raw, sqlite3.Connection), "the connection is open, and of SQLite"
    return raw


def _shown(url: object) -> str:
    """A database URL without its password."""
    return url.render_as_string(hide_password=True) if isinstance(url, sa.URL) else repr(str(url).split("@")[-1])


def _first_line(error: BaseException) -> str:
    return str(getattr(error, "orig", None) or error).strip().splitlines()[0]


def _plain_reason(error: BaseException) -> str:
    reason = _first_line(error)
    for sign, meaning in (("locked", "the study database is busy"), ("timeout", "the study database is busy"),
                          ("full", "the disk is full"), ("disk I/O", "the disk does not answer"),
                          ("readonly", "the study database is read-only"), ("unable to open", "the study database cannot be opened")):
        if sign in reason:
            return f"{meaning}: nothing was saved, please try again ({reason})"
    return f"the study database cannot be reached: nothing was saved, please try again ({reason})"
