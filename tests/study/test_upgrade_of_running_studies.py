"""A data folder of the first shape of the database, in the middle of running studies, is opened by this version: nothing is lost.

`running_0001.json.gz` holds the rows of a store that the version before wrote: four studies of five pairs, two annotators a pair.
`running` has a scored and two skipped screens of a001, two and one of a002, who is excluded, and a half-filled screen of a003; `paused`
has one person with 1 of 5 screens and, by the rule of then, a completion code; `closed` has a scored and a skipped screen.
"""

from __future__ import annotations

import base64
import gzip
import json
from pathlib import Path

import pytest
import sqlalchemy as sa

from mre.study import events, records, studies, visit
from mre.study.answers import Answer
from mre.study.coverage import coverage, skipped_pairs
from mre.study.design import BEFORE_RULES, StudyDesign
from mre.study.schema import events as event_rows
from mre.study.store import Store
from tests.study.before import fill_as_before
from tests.study.conftest import Clock, database_of_its_own
from tests.study.test_participation import SCORES, Person, check_pairs

SAVED = Path(__file__).parent / "running_0001.json.gz"


def saved() -> dict:
    return json.loads(gzip.decompress(SAVED.read_bytes()))


@pytest.fixture(params=["sqlite", "postgresql"])
def upgraded(request, tmp_path):
    """The old rows, and the store as this version opens it."""
    rows, clock = saved()["tables"], Clock()
    clock.now = max(row["at"] for row in rows["events"]) + 1000

    if request.param == "sqlite":
        (tmp_path / "data").mkdir()
        fill_as_before(f"sqlite:///{tmp_path / 'data' / 'studies.db'}", rows)
        store = Store.open(tmp_path / "data", clock=clock)
        yield rows, store
        store.close()
        return
    with database_of_its_own(request.getfixturevalue("postgres")) as url:
        fill_as_before(url, rows)
        store = Store(url, clock=clock)
        yield rows, store
        store.close()


def rows_now(store: Store, table: str) -> list[dict]:
    with store.read() as connection:
        return [dict(row) for row in connection.execute(sa.text(f"select * from {table}")).mappings()]


def test_every_row_is_still_there_and_only_skipped_screens_have_given_their_slots_away(upgraded):
    rows, store = upgraded
    closed = next(row["id"] for row in rows["studies"] if row["name"] == "closed")
    for table, before in rows.items():
        if table == "store_settings":
            continue                                                # where the secret lives is tested elsewhere
        now = rows_now(store, table)
        for row in before:
            if table == "assignments" and row["state"] == "skipped" and row["kind"] == "main" and row["study_id"] != closed:
                row = row | {"slot": None}
            assert any(all(_same(found[key], value) for key, value in row.items()) for found in now), (table, row)
    skipped = [row for row in rows["assignments"] if row["state"] == "skipped" and row["kind"] == "main" and row["study_id"] != closed]
    new = [row for row in rows_now(store, "assignments") if row["id"] not in {row["id"] for row in rows["assignments"]}]
    assert len(skipped) == 3
    assert sorted((row["pair_id"], row["slot"], row["side_order"], row["shuffle_key"]) for row in new) == sorted(
        (row["pair_id"], row["slot"], row["side_order"], row["shuffle_key"]) for row in skipped)
    assert all(row["state"] == "open" for row in new)


def _same(found: object, value: object) -> bool:
    return base64.b64encode(found).decode() == value["bytes"] if isinstance(value, dict) else found == value


def test_the_log_of_each_study_that_still_collects_tells_what_changed(upgraded):
    _rows, store = upgraded
    for name, again in (("running", 3), ("paused", 0), ("closed", None), ("draft", None)):
        study = records.find_study(store, name)
        with store.read() as connection:
            assert events.verify(connection, study.id) == []
            told = connection.execute(sa.select(event_rows.c.details).where(
                event_rows.c.study_id == study.id, event_rows.c.actor == "upgrade")).scalars().all()
        assert [json.loads(text)["offered again"] for text in told if "offered again" in text] == ([] if again is None else [again])
        assert study.before_rules == (name != "draft")


def test_people_go_on_where_they_were_under_the_rules_they_were_told(upgraded):
    _rows, store = upgraded
    known = saved()["visits"]
    person = visit.visitor(store, known["tokens"]["c"])
    shown = visit.work(store, person)["current"]
    assert (shown["screen"], shown["scores"]) == (known["shown"], [[1, 2, None], [None, None, None]])
    visit.answer(store, person, shown["screen"], Answer("sent-after-the-upgrade", 0, SCORES))
    design = records.find_study(store, "running").design
    assert {name: getattr(design, name) for name in BEFORE_RULES} == BEFORE_RULES
    skipper = visit.visitor(store, known["tokens"]["a"])            # two of the three so far
    while shown := (work := visit.work(store, skipper))["current"]:
        visit.answer(store, skipper, shown["screen"], Answer("k" + shown["screen"][:30], 0, skip_reason="unclear"))
    assert work["ended"] is None
    assert work["completion_code"]                                  # skipped screens earned it then


def test_skipped_pairs_are_scored_after_all_and_the_study_completes(upgraded):
    _rows, store = upgraded
    study = records.find_study(store, "running")
    found = coverage(store, "running")
    assert (found.pairs, found.skipped, found.slots_done + found.slots_held + found.slots_open) == (5, 3, 10)
    assert sum(pair.skips for pair in skipped_pairs(store, "running")) == 3
    store.clock.pass_seconds(31 * 60)
    for _ in range(4):
        Person(store, study).do()
    found = coverage(store, "running")
    assert (found.pairs_complete, found.slots_done, found.slots_open, found.slots_held) == (5, 10, 0, 0)
    check_pairs(store, study)


def test_a_code_that_was_given_stays_and_a_draft_begins_under_the_rules_of_today(upgraded):
    _rows, store = upgraded
    study = records.find_study(store, "paused")
    codes = [row["completion_code"] for row in rows_now(store, "annotators") if row["study_id"] == study.id]
    assert codes == [saved()["visits"]["code"]]
    for name in ("draft", studies.revise(store, "running").name):
        design = records.find_study(store, name).design
        assert all(getattr(design, rule) == getattr(StudyDesign(), rule) for rule in BEFORE_RULES), name
