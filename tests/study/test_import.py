"""Imports: any file in little memory and short transactions, there whole or not at all, whatever becomes of the process."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
import tracemalloc

import pytest
import sqlalchemy as sa

from mre.errors import MreError, StudyError
from mre.study import events, importer, records
from mre.study.export import LONG, export_file
from mre.study.importer import ImportStopped, drop_unfinished, import_file
from mre.study.intake import StudyFaults
from mre.study.schema import metadata, ratings
from mre.study.store import Store
from tests.conftest import ROOT

TABLES = [table for name, table in metadata.tables.items() if "study_id" in table.c]


def row(annotator="a001", screen=1, shown_as=1, method="m1", perspective="following", score="3", **other) -> str:
    cells = {"study": "s", "item": f"item-{screen}", "edit_type": "local", "instruction": "make it red", "annotator": annotator,
             "screen": screen, "shown_as": shown_as, "method": method, "perspective": perspective, "score": score, "scale_min": 0,
             "scale_max": 5, "revision": 1, "is_repeat": 0, "is_check": 0, "submitted_at": "2026-11-21T03:40:00.123Z", "order_seed": 7,
             "app_version": "0.1.0", "excluded": 0} | other
    return ",".join(str(cells.get(name, "")) for name in LONG) + "\n"


def screen(annotator: str, number: int, **other) -> str:
    return "".join(row(annotator, number, side, f"m{side}", perspective, (number + side) % 6, **other)
                   for side in (1, 2) for perspective in ("following", "preserving", "quality"))


SMALL_STEPS = {"BATCH": 60, "LOOK_EVERY": 100}        # in which a small file needs as many transactions and looks as a large one


@pytest.fixture
def file(tmp_path, monkeypatch):
    """An export of three annotators and 140 screens each: several transactions."""
    for name, value in SMALL_STEPS.items():
        monkeypatch.setattr(importer, name, value)
    path = tmp_path / "s.csv"
    path.write_text(",".join(LONG) + "\n" + "".join(screen(f"a{person:03d}", number, excluded=int(person == 2)) for person in (1, 2, 3)
                                                    for number in range(1, 141)))
    return path


def counts(store) -> dict[str, int]:
    with store.read() as connection:
        return {table.name: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one() for table in TABLES}


def test_rows_may_come_in_any_order(store, file, tmp_path, monkeypatch):
    head, *rows = file.read_text().splitlines(keepends=True)
    random.Random(0).shuffle(rows)
    (tmp_path / "shuffled.csv").write_text(head + "".join(rows))
    monkeypatch.setattr("mre.study.staged_answers.MOST_OPEN", 50)       # most answers go to disk and come back
    import_file(store, "s", tmp_path / "shuffled.csv")
    export_file(store, "s", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == file.read_text()
    with store.read() as connection:
        assert events.verify(connection, records.find_study(store, "s").id) == []


def test_a_rating_changed_after_an_import_is_noticed(store, file):
    study = import_file(store, "s", file)
    with store.write() as connection:
        connection.execute(ratings.update().where(ratings.c.study_id == study.id, ratings.c.shown_as == 1, ratings.c.quality == 4)
                           .values(quality=5))
    with store.read() as connection:
        assert events.verify(connection, study.id) == ["the ratings are not those that were imported"]


def test_until_its_end_an_import_is_seen_by_nobody_and_others_write_meanwhile(store, file, tmp_path):
    looks = []

    def look(what, done, total):
        if what == "writing" and store.is_sqlite:                       # on PostgreSQL it is one transaction, seen by nobody anyway
            looks.append((done, total))
            assert records.all_studies(store) == []
            with pytest.raises(StudyError, match="there is none yet"):
                records.find_study(store, "s")
            with Store(store.url).write() as connection:                # another process would wait for no more than one batch
                connection.execute(sa.text("update studies set started_at = 1 where name = 'nobody'"))

    import_file(store, "s", file, on_progress=look)
    assert [study.name for study in records.all_studies(store)] == ["s"]
    assert records.find_study(store, "s").state == "closed"
    assert not store.is_sqlite or (len(looks) > 5 and looks[-1] == (420, 420))


@pytest.mark.parametrize("after", [0, 1, 3, 6, 9])
def test_an_import_that_is_stopped_leaves_nothing(store, file, monkeypatch, after):
    import_file(store, "earlier", file)
    before = counts(store)
    looks = iter(range(100))
    with pytest.raises(ImportStopped):
        import_file(store, "s", file, should_stop=lambda: next(looks) > after)
    assert counts(store) == before
    assert [study.name for study in records.all_studies(store)] == ["earlier"]
    import_file(store, "s", file)


def test_a_name_taken_meanwhile_is_refused_and_leaves_nothing(store, file):
    import_file(store, "earlier", file)

    def take(what, done, total):
        if what == "checking":
            import_file(store, "s", file)
            taken.update(counts(store))

    taken: dict[str, int] = {}
    with pytest.raises(StudyError, match="a study called 's' is there already"):
        import_file(store, "s", file, on_progress=take)
    assert counts(store) == taken


def test_a_killed_import_is_seen_by_nobody_and_its_remains_go(tmp_path, file):
    store = Store.open(tmp_path / "data")
    import_file(store, "earlier", file)
    before = counts(store)
    code = (f"from pathlib import Path; from mre.study import importer; from mre.study.store import Store; importer.REST = 50; "
            f"importer.BATCH = {SMALL_STEPS['BATCH']}\n"
            f"importer.import_file(Store.open(Path({str(tmp_path / 'data')!r})), 's', Path({str(file)!r}), "
            f"on_progress=lambda what, done, total: print(what, flush=True))")
    killed = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    while killed.stdout.readline() != "writing\n":
        pass
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert counts(store)["ratings"] > before["ratings"]
    assert [study.name for study in records.all_studies(store)] == ["earlier"]
    import_file(store, "s", file)                           # the name is free at once
    store.clock = lambda: time.time_ns() // 1_000_000 + importer.STALE_MS + 1
    drop_unfinished(store)
    with store.read() as connection:
        assert connection.execute(sa.text("select count(*) from studies")).scalar() == 2
        assert connection.execute(sa.text("pragma foreign_key_check")).all() == []
        assert connection.execute(sa.text("pragma foreign_keys")).scalar() == 1
    assert counts(store)["ratings"] == 2 * before["ratings"]
    store.close()


def test_an_import_that_stood_still_for_too_long_ends_with_a_word_and_nothing(store, file):
    if not store.is_sqlite:
        pytest.skip("one transaction there")

    def fall_asleep(what, done, total):
        if what == "writing" and not slept:
            slept.append(True)
            store.clock.pass_seconds(importer.STALE_MS / 1000 + 1)
            drop_unfinished(store)

    slept: list[bool] = []
    with pytest.raises(StudyError, match="stood still for too long"):
        import_file(store, "s", file, on_progress=fall_asleep)
    assert not any(counts(store).values())


def test_memory_does_not_grow_with_the_file(tmp_path):
    def peak(people: int) -> int:
        path = tmp_path / f"{people}.csv"
        path.write_text(",".join(LONG) + "\n" + "".join(screen(f"a{person:03d}", number, comment="x" * 200) for person in range(people)
                                                        for number in range(1, 201)))
        store = Store.open(tmp_path / f"data{people}")
        tracemalloc.start()
        import_file(store, "s", path)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        store.close()
        return used

    few, many = peak(3), peak(12)
    assert many < few + 2_000_000


@pytest.mark.parametrize(("rows", "told"), [
    (row(screen="1e300"), "screen must be a whole number from 1, got '1e300'"),
    (row(revision="inf"), "revision must be a whole number from 1, got 'inf'"),
    (row(item="x" * 201), "item has 201 characters, at most 200 can be kept"),
    (row(submitted_at="0001-01-01T00:00:00Z"), "submitted_at must lie between 1970 and 9999"),
    (row(excluded=0) + row(perspective="quality", excluded=1), "annotator 'a001' is excluded in some rows and not in others"),
    (row() + row(perspective="quality", order_seed=8), "order_seed differs from the rows above"),
    (row() + row(perspective="quality", item="other"), "says something else than at row 2"),
    (screen("a001", 1) + screen("a001", 1, revision=2, item="other"), "screen 1 shows something else than in an earlier revision"),
    (screen("a001", 1) + screen("a001", 2, item="item-1"), "the annotator has the same pair on screens 1 and 2"),
    (screen("a001", 1).replace(",m2,", ",m1,"), "the two shown images must be of two methods"),
    (screen("a001", 1, is_check=1), "a check shows one edit twice"),
    (screen("a001", 1, is_check=1).replace(",m2,", ",m1,"), "a study compares two methods or more, got m1")])
def test_a_file_that_does_not_hold_together_is_refused_with_its_row(store, tmp_path, rows, told):
    (tmp_path / "bad.csv").write_text(",".join(LONG) + "\n" + rows)
    with pytest.raises(StudyFaults) as caught:
        import_file(store, "s", tmp_path / "bad.csv")
    assert told in "\n".join(caught.value.faults)
    assert not any(counts(store).values())


@pytest.mark.parametrize(("text", "told"), [
    ("", "empty"), (",".join(LONG) + "\n", "no rows below the header"), ("a,b\n1,2\n", "no column item")])
def test_a_file_that_is_no_export_is_refused(store, tmp_path, text, told):
    (tmp_path / "bad.csv").write_text(text)
    with pytest.raises(MreError, match=told):
        import_file(store, "s", tmp_path / "bad.csv")
