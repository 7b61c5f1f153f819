"""What holds people's answers and secrets is readable by its owner alone, from its first byte on."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import pytest

from mre.paid.cache import AnswerCache
from mre.study.store import Store
from tests.processes import run_program


@pytest.fixture(autouse=True)
def careless_umask():
    """A process that would let everybody read and write what it makes."""
    before = os.umask(0)
    yield
    os.umask(before)


def rights(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder.parent)): oct(path.stat().st_mode & 0o777) for path in [folder, *folder.rglob("*")]}


def test_a_new_data_folder_is_its_owners_alone_with_all_that_is_in_it(tmp_path):
    store = Store.open(tmp_path / "data")
    cache = AnswerCache(tmp_path / "data" / "judge-answers.sqlite")       # held: of one that is let go, files vanish meanwhile
    with store.write():
        found = rights(tmp_path / "data")
    assert cache.get("nothing") is None
    assert {"data/studies.db", "data/studies.db-wal", "data/studies.db-shm", "data/judge-answers.sqlite"} <= set(found)
    assert found.pop("data") == "0o700"
    assert set(found.values()) == {"0o600"}
    store.backup(tmp_path / "copy.db")
    assert (tmp_path / "copy.db").stat().st_mode & 0o777 == 0o600


def test_a_folder_that_others_could_read_is_taken_from_them_and_the_log_says_so(tmp_path, caplog):
    Store.open(tmp_path / "data").close()
    for path in [tmp_path / "data", *(tmp_path / "data").iterdir()]:
        path.chmod(0o777 if path.is_dir() else 0o644)
    with caplog.at_level(logging.WARNING, "mre.private"):
        Store.open(tmp_path / "data").close()
    assert {mode for name, mode in rights(tmp_path / "data").items() if name != "data"} == {"0o600"}
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    told = [record.message for record in caplog.records]
    assert "studies.db" in told[0]
    assert "look into this folder" in told[1]
    caplog.clear()
    Store.open(tmp_path / "data").close()
    assert not caplog.records


def test_a_folder_that_holds_other_things_or_is_shared_on_purpose_keeps_its_rights(tmp_path, caplog):
    mixed, shared = tmp_path / "mixed", tmp_path / "shared"
    for folder, mode in ((mixed, 0o755), (shared, 0o2770)):
        folder.mkdir()
        folder.chmod(mode)
    (mixed / "thesis.txt").write_text("mine")
    with caplog.at_level(logging.WARNING, "mre.private"):
        Store.open(mixed).close()
    assert "other things" in caplog.text
    Store.open(shared).close()
    assert rights(mixed) == {"mixed": "0o755", "mixed/thesis.txt": "0o666", "mixed/studies.db": "0o600"} | {
        name: "0o600" for name in rights(mixed) if "study-keys" in name}
    assert shared.stat().st_mode & 0o7777 == 0o2770
    assert (shared / "studies.db").stat().st_mode & 0o777 == 0o660


def test_what_the_study_command_writes_is_private(tmp_path):
    for words in (["demo"], ["export", "demo", "--out", tmp_path / "out" / "ratings.csv"]):
        run_program("-m", "mre", "study", *words, "--data", tmp_path / "data")
    assert set(rights(tmp_path / "out").values()) == {"0o700", "0o600"}
    assert set(rights(tmp_path / "data").values()) == {"0o700", "0o600"}
