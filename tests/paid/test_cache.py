"""The file of answers that were paid for."""

import sqlite3
import threading

import pytest

from mre.errors import ServiceError
from mre.paid.cache import AnswerCache


@pytest.mark.parametrize(("make", "said"), [
    (lambda path: path.write_bytes(b"this is no database" * 100), "not a database"),
    (lambda path: sqlite3.connect(path).execute("CREATE TABLE x (y)").connection.commit(), "another program"),
    (lambda path: (AnswerCache(path).close(), sqlite3.connect(path).execute("PRAGMA user_version = 0")), "version 0")])
def test_a_cache_that_is_none_or_of_another_version_is_refused(tmp_path, make, said):
    path = tmp_path / "answers.sqlite"
    make(path)
    with pytest.raises(ServiceError, match=said):
        AnswerCache(path)


@pytest.mark.parametrize("statements", range(3))
def test_a_cache_that_another_process_makes_at_the_same_moment_is_opened(tmp_path, monkeypatch, statements):
    """The other one is there after so many statements of this one, all before it holds the file for itself."""
    path, connect, done = tmp_path / "answers.sqlite", sqlite3.connect, []

    class Overtaken(sqlite3.Connection):
        def execute(self, *statement):
            if len(done) == statements:
                monkeypatch.setattr(sqlite3, "connect", connect)
                AnswerCache(path).close()
            done.append(statement)
            return super().execute(*statement)

    monkeypatch.setattr(sqlite3, "connect", lambda *args, **settings: connect(*args, **settings, factory=Overtaken))
    cache = AnswerCache(path)
    assert len(done) > statements
    assert len(cache) == 0


def test_a_cache_that_another_process_is_just_making_is_waited_for(tmp_path):
    other = sqlite3.connect(tmp_path / "answers.sqlite", isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    release = threading.Timer(0.5, other.execute, ["COMMIT"])
    release.start()
    assert len(AnswerCache(tmp_path / "answers.sqlite")) == 0
    release.join()


def test_two_long_runs_do_not_share_a_cache(tmp_path):
    cache = AnswerCache(tmp_path / "answers.sqlite")
    with cache.only_run(), pytest.raises(ServiceError, match="another run"), AnswerCache(tmp_path / "answers.sqlite").only_run():
        pass
    with cache.only_run():
        pass
