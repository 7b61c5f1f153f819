"""The file of answers that were paid for."""

import sqlite3
import threading

import pytest

from mre.errors import ServiceError
from mre.paid.cache import AnswerCache, StoredAnswer


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


def stored(raw: str) -> StoredAnswer:
    return StoredAnswer("judge", "model", "task", "perspective", raw, "", 1, 1, None, 1.0, "2026-01-01T00:00:00Z")


def test_a_request_is_noted_until_its_answer_is_kept_or_it_came_to_nothing(tmp_path):
    cache = AnswerCache(tmp_path / "answers.sqlite")
    cache.begin("kept")
    cache.begin("refused", "cut")
    cache.put("kept", stored("picture"))
    cache.came_to_nothing("refused")
    again = AnswerCache(tmp_path / "answers.sqlite")            # as after a kill
    assert [again.asked_at(key) is not None for key in ("kept", "refused", "cut")] == [False, False, True]
    again.begin("cut")
    again.put("cut", stored("picture"))
    assert again.asked_at("cut") is None


def test_a_cache_from_before_requests_were_noted_is_read(tmp_path):
    path = tmp_path / "answers.sqlite"
    cache = AnswerCache(path)
    cache.put("old", stored("picture"))
    cache.close()
    with sqlite3.connect(path) as before:
        before.execute("DROP TABLE under_way")
    cache = AnswerCache(path)
    assert cache.get("old") == stored("picture")
    assert cache.asked_at("old") is None
