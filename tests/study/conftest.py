"""Studies of small drawn pictures, on SQLite and on a real PostgreSQL server that the test run starts."""

from __future__ import annotations

import csv
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import sqlalchemy as sa
import uvicorn
from fastapi import FastAPI
from PIL import Image

from mre.rewards import EDIT_TYPES
from mre.study import assignment, records, studies
from mre.study.design import StudyDesign
from mre.study.schema import metadata
from mre.study.store import DATABASE_NAME, Store
from tests.conftest import need

NO_RULES = {"max_skip_share": 1.0, "max_failed_checks": 0, "min_median_seconds": 0.0}       # of a design in which nothing ends a visit


class Clock:
    """Time that only passes when told to."""

    def __init__(self) -> None:
        self.now = 1_700_000_000_000

    def __call__(self) -> int:
        return self.now

    def pass_seconds(self, seconds: float) -> None:
        self.now += int(seconds * 1000)


def draw_edits(out: Path, items: int = 6, methods: tuple[str, ...] = ("tiny", "tiny-baseline"), size: tuple[int, int] = (48, 32)) -> Path:
    """A folder of edits as `bench` writes it: `OUT/METHOD/ITEM.png` and `OUT/edits.csv`; every picture differs."""
    rng = np.random.default_rng(7)
    rows = []
    (out / "photos").mkdir(parents=True, exist_ok=True)
    for number in range(items):
        name = f"item-{number:03d}"
        Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(out / "photos" / f"{name}.png")
        for method in methods:
            (out / method).mkdir(exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)).save(out / method / f"{name}.png")
            rows.append({"item": name, "edit_type": EDIT_TYPES[number % 7], "instruction": f"make change {number}", "method": method,
                         "original": f"photos/{name}.png", "edited": f"{method}/{name}.png"})
    with (out / "edits.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["item", "edit_type", "instruction", "original", "method", "edited"])
        writer.writeheader()
        writer.writerows(rows)
    return out


@pytest.fixture
def known_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """Studies that start get one and the same secret, so that what is drawn from it is the same in every run."""
    monkeypatch.setattr(assignment, "new_secret", lambda: f"order-{5:032x}")


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a PostgreSQL server of this test run's own."""
    with running_postgres() as server:
        yield server.url


class running_postgres:
    """A PostgreSQL server in a folder of its own; `restart` stops it hard and starts it again."""

    def __init__(self) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parent.parent.name))
        initdb = str(found[-1]) if found else shutil.which("initdb")
        need(initdb is not None, "a PostgreSQL server (initdb)")
        self.bin = Path(initdb).parent
        self.folder = Path(tempfile.mkdtemp(prefix="mre-postgres-", dir="/tmp"))
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"postgresql://mre@127.0.0.1:{self.port}/postgres"

    def _run(self, *command: str) -> None:
        as_user = ["runuser", "-u", "postgres", "--"] if os.getuid() == 0 else []       # the server refuses to run as root
        subprocess.run([*as_user, *command], check=True, capture_output=True, cwd=self.folder)

    def start(self) -> None:
        options = f"-p {self.port} -k {self.folder} -c listen_addresses=127.0.0.1 -c fsync=off -c synchronous_commit=off"
        self._run(str(self.bin / "pg_ctl"), "-D", str(self.folder / "data"), "-w", "-t", "180", "-l", str(self.folder / "log"),
                  "-o", options, "start")

    def stop(self) -> None:
        self._run(str(self.bin / "pg_ctl"), "-D", str(self.folder / "data"), "-m", "immediate", "stop")

    def __enter__(self) -> running_postgres:
        if os.getuid() == 0:
            shutil.chown(self.folder, "postgres")
        self._run(str(self.bin / "initdb"), "-D", str(self.folder / "data"), "-U", "mre", "-A", "trust", "-E", "UTF8", "--locale=C")
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file with the tables of this version and nothing in them, to copy: making them takes longer than most tests."""
    folder = tmp_path_factory.mktemp("empty")
    made = Store.open(folder)
    with made.write() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())
    made.close()
    return folder / DATABASE_NAME


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Store]:
    """An empty store on each database."""
    if request.param == "sqlite":
        (tmp_path / "data").mkdir(mode=0o700)
        shutil.copy(request.getfixturevalue("empty_database"), tmp_path / "data")
        opened = Store.open(tmp_path / "data", clock=clock)
        yield opened
        opened.close()
        return
    opened = Store.open(tmp_path / "data", request.getfixturevalue("postgres"), clock=clock)
    with opened.write() as connection:
        connection.execute(sa.text("truncate " + ", ".join(metadata.tables) + " restart identity cascade"))
    opened.close()
    opened = Store.open(tmp_path / "data", opened.url, clock=clock)         # makes its own keys again
    yield opened
    opened.close()


@contextmanager
def database_of_its_own(postgres: str) -> Iterator[str]:
    """URL of a new database on the server, dropped afterwards."""
    url, name = sa.make_url(postgres), f"test_{os.urandom(6).hex()}"
    admin = sa.create_engine(url.set(drivername="postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(sa.text(f"create database {name}"))
    yield url.set(database=name).render_as_string(hide_password=False)
    with admin.connect() as connection:
        connection.execute(sa.text(f"drop database {name} with (force)"))
    admin.dispose()


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """The application on a free port of this machine, as its address."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error", lifespan="on", proxy_headers=False))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 180           # of patience with a busy machine
    while not server.started:
        assert time.monotonic() < deadline, "the server does not start"
        time.sleep(0.02)
    yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    server.force_exit = True
    thread.join(10)


@pytest.fixture
def edits(tmp_path: Path) -> Path:
    return draw_edits(tmp_path / "edits")


@pytest.fixture
def study(store: Store, edits: Path) -> records.Study:
    """A running study of six pairs, two annotators each, without repeats or checks."""
    studies.create_from_edits(store, "demo", [edits], StudyDesign(per_pair=2, repeats=0, checks=0, seed=5))
    return studies.start(store, "demo")
