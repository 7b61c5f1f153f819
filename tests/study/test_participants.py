"""Who took part and who is paid: a list with codes and ids, ids that the database alone does not give away, files that services take."""

from __future__ import annotations

import csv
import io
import sqlite3
from decimal import Decimal
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from fastapi import FastAPI

from mre.__main__ import main
from mre.errors import StudyError
from mre.study import events, recruiting, studies, visit
from mre.study.participants import COLUMNS, Pay, forget_ids, participants, participants_csv, payments
from mre.study.recruiting import RecruitingIds
from mre.study.schema import annotators
from mre.study.store import DATABASE_NAME, Store
from tests.study.conftest import Clock
from tests.study.test_pages import Browser
from tests.study.test_participation import Person, started
from ui.study.pages.routes import add_routes

PROLIFIC = {"PROLIFIC_PID": "5f0a1b2c3d4e5f6a7b8c9d0e", "SESSION_ID": "64aa", "STUDY_ID": "63bb"}
MTURK = {"workerId": "A1B2C3D4E5F6G7", "assignmentId": "3XYZ", "hitId": "30HIT"}


class Recruit(Person):
    """Somebody who comes from a recruiting service."""

    def __init__(self, store, study, parameters: dict[str, str]) -> None:
        self.store, self.keys = store, 0
        token, found = visit.enter(store, study.public_id, "en", recruiting.identity(parameters), recruiting.given_ids(parameters))
        visit.consent(store, found)
        self.annotator = visit.visitor(store, token)
        self.label = self.annotator.label


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


@pytest.fixture
def paid(store, tmp_path):
    """A study of 12 pairs, each scored by five, with one person each who finished, was stopped, was excluded, withdrew, and has begun."""
    study = started(store, tmp_path, items=12, per_pair=5, keep_recruiting_id=True, completion_share=0.9)
    people = {name: Recruit(store, study, {"PROLIFIC_PID": f"{name}-id", "SESSION_ID": f"turn-{name}"})
              for name in ("finished", "stopped", "excluded", "withdrawn", "begun")}
    people["finished"].do(1, skip="broken")
    people["finished"].do()
    people["stopped"].do(seconds=0.5)
    people["excluded"].do(3)
    people["withdrawn"].do(2)
    people["begun"].do(2)
    studies.exclude(store, "s", people["excluded"].label, "same score\nfor everything")
    visit.withdraw(store, people["withdrawn"].annotator)
    return SimpleNamespace(store=store, study=study, **people)


def test_the_list_of_participants_tells_state_code_id_and_work(paid):
    rows = {row["participant_id"]: row for row in table(participants_csv(paid.store, "s"))}
    assert tuple(rows["finished-id"]) == COLUMNS
    code = paid.finished.work()["completion_code"]
    told = rows["finished-id"]
    assert (told["state"], told["completion_code"], told["scored"], told["skipped"], told["median_seconds"]) == (
        "completed", code, "11", "1", "20.000")
    assert (told["service"], told["turn_id"], told["annotator"]) == ("prolific", "turn-finished", paid.finished.label)
    assert (rows["stopped-id"]["state"], rows["stopped-id"]["reason"], rows["stopped-id"]["completion_code"]) == (
        "stopped", "pace: median of 0.5 s a screen", "")
    assert (rows["excluded-id"]["state"], rows["excluded-id"]["reason"]) == ("excluded", "same score for everything")
    assert (rows["begun-id"]["state"], rows["begun-id"]["completed_at"]) == ("working", "")
    assert rows["begun-id"]["last_answer_at"] > rows["begun-id"]["consented_at"] > ""
    gone = next(row for row in rows.values() if row["state"] == "withdrawn")
    assert (gone["participant_id"], gone["completion_code"], gone["scored"]) == ("", "", "0")


def test_payment_files_are_in_the_forms_that_services_take(paid):
    assert payments(paid.store, "s", "prolific") == ("finished-id\n", 1)
    assert payments(paid.store, "s", "prolific", Pay(Decimal("4.5"), Decimal("0.055"))) == ("finished-id,5.11\n", 1)      # 4.5 + 11 * 0.055
    everybody, approved = payments(paid.store, "s", "csv", Pay(Decimal(3)))
    rows = {row["participant_id"]: row for row in table(everybody)}
    assert approved == 1
    assert set(rows) == {"finished-id", "stopped-id", "excluded-id", "begun-id"}            # who has withdrawn left no id
    assert (rows["finished-id"]["decision"], rows["finished-id"]["amount"]) == ("approve", "3.00")
    assert {(row["decision"], row["amount"]) for name, row in rows.items() if name != "finished-id"} == {("", "")}
    assert rows["begun-id"]["reason"] == "no completion code yet"
    text, _approved = payments(paid.store, "s", "csv", Pay(reject_excluded=True))
    assert {row["participant_id"]: row["decision"] for row in table(text)}["excluded-id"] == "reject"
    with pytest.raises(StudyError, match="nobody in study s has an id of mturk"):
        payments(paid.store, "s", "mturk")
    for bad in (Decimal("-1"), Decimal("nan"), Decimal("inf")):
        with pytest.raises(StudyError, match="amount must be a number"):
            Pay(bad)


def test_mturk_gets_its_batch_columns_back(store, tmp_path):
    study = started(store, tmp_path, items=2, per_pair=2, keep_recruiting_id=True)
    Recruit(store, study, MTURK).do()
    lazy = Recruit(store, study, MTURK | {"workerId": "AZ", "assignmentId": "3Q"})
    lazy.do(1)
    studies.exclude(store, "s", lazy.label, "=1+1")
    text, approved = payments(store, "s", "mturk", Pay(reject_excluded=True))
    assert (text.splitlines(), approved) == (["HITId,AssignmentId,WorkerId,Approve,Reject", "30HIT,3XYZ,A1B2C3D4E5F6G7,X,",
                                              "30HIT,3Q,AZ,,'=1+1"], 1)
    with pytest.raises(StudyError, match="no amounts"):
        payments(store, "s", "mturk", Pay(Decimal(1)))


def test_ids_are_kept_only_where_the_study_says_so_and_each_person_is_known_again(store, tmp_path):
    study = started(store, tmp_path)
    first, again = Recruit(store, study, PROLIFIC), Recruit(store, study, PROLIFIC)
    assert first.label == again.label
    assert [(found.ids, found.ids_lost) for found in participants(store, "s")] == [(None, False)]


def test_the_database_alone_does_not_give_ids_away(tmp_path):
    store = Store.open(tmp_path / "data", clock=Clock())
    study = started(store, tmp_path, keep_recruiting_id=True)
    person, other = Recruit(store, study, PROLIFIC), Recruit(store, study, MTURK)
    assert participants(store, "s")[0].ids == RecruitingIds("prolific", *PROLIFIC.values())
    store.engine.dispose()
    with sqlite3.connect(tmp_path / "data" / DATABASE_NAME) as raw:
        raw.execute("pragma wal_checkpoint(truncate)")
        seals = [row[0] for row in raw.execute("select recruiting_ids from annotators order by label")]
    for path in (tmp_path / "data").rglob("*"):
        assert not path.is_file() or b"5f0a1b2c3d4e5f6a7b8c9d0e" not in path.read_bytes(), path
    assert all(len(seal) > 40 for seal in seals)
    with store.write() as connection:                       # one person's ids under another's name are nobody's
        connection.execute(annotators.update().where(annotators.c.label == other.label).values(recruiting_ids=seals[0]))
    found = {one.label: one for one in participants(store, "s")}
    assert (found[other.label].ids, found[other.label].ids_lost) == (None, True)
    store.rotate_keys()                                     # of signing; ids are not under it
    assert {one.label: one for one in participants(store, "s")}[person.label].ids
    store.rotate_keys(lost=True)
    assert all(one.ids is None and one.ids_lost for one in participants(store, "s"))
    store.close()


def test_ids_go_on_withdrawal_and_on_command(store, tmp_path):
    study = started(store, tmp_path, keep_recruiting_id=True)
    people = [Recruit(store, study, {"participantId": f"P{number}"}) for number in range(3)]
    visit.withdraw(store, people[0].annotator)
    assert [one.ids.participant if one.ids else None for one in participants(store, "s")] == [None, "P1", "P2"]
    assert forget_ids(store, "s", people[1].label) == 1
    assert forget_ids(store, "s") == 1
    with pytest.raises(StudyError, match="no annotator 'nobody'"):
        forget_ids(store, "s", "nobody")
    with store.read() as connection:
        assert connection.execute(sa.select(annotators.c.recruiting_ids)).scalars().all() == [None] * 3
        assert events.verify(connection, study.id) == []
    assert Recruit(store, study, {"participantId": "P2"}).label == people[2].label          # still known, by the digest
    assert not any(one.ids for one in participants(store, "s"))                             # and not kept again


@pytest.mark.parametrize("value", ["", "a" * 201, "=cmd", "a,b", "a\nb", "a b", "é", 5, None, ["x"], "<script>"])
def test_what_is_no_plain_id_is_not_kept(value):
    assert recruiting.given_ids({"PROLIFIC_PID": value}) is None
    assert recruiting.given_ids({"workerId": "A1", "assignmentId": value}) == RecruitingIds("mturk", "A1")


def test_ids_come_from_the_address_with_consent_alone(store, tmp_path):
    study = started(store, tmp_path, keep_recruiting_id=True)
    app = FastAPI()
    add_routes(app, SimpleNamespace(store=store))
    browser = Browser(app, study.public_id)
    told = browser.call("hello", ids=PROLIFIC)
    assert told["study"]["rules"]["keep_recruiting_id"] is True
    browser.call("enter", 403, language="en", ids=PROLIFIC)
    assert participants(store, "s") == []
    browser.join(ids=PROLIFIC)
    assert participants(store, "s")[0].ids.participant == PROLIFIC["PROLIFIC_PID"]
    assert PROLIFIC["PROLIFIC_PID"] not in str(browser.call("work"))


def test_the_commands_list_pay_and_let_go_on(tmp_path, capsys):
    store = Store.open(tmp_path / "data", clock=Clock())
    study = started(store, tmp_path, items=12, per_pair=2, keep_recruiting_id=True)
    finished, hasty = Recruit(store, study, PROLIFIC), Recruit(store, study, {"PROLIFIC_PID": "hasty"})
    finished.do()
    hasty.do(seconds=1)

    def study_command(*words: str) -> str:
        assert not main(["study", *words, "--data", str(tmp_path / "data")])
        return capsys.readouterr().out

    listed = study_command("participants", "s").splitlines()
    assert listed[1].split()[:5] == [finished.label, "completed", finished.work()["completion_code"], PROLIFIC["PROLIFIC_PID"], "12"]
    assert "pace: median of 1.0 s" in listed[2]
    study_command("participants", "s", "--out", str(tmp_path / "people.csv"))
    assert (tmp_path / "people.csv").stat().st_mode & 0o077 == 0
    study_command("payments", "s", "--out", str(tmp_path / "pay.txt"), "--form", "prolific", "--amount", "2.50")
    assert (tmp_path / "pay.txt").read_text() == f"{PROLIFIC['PROLIFIC_PID']},2.50\n"
    assert study_command("continue", "s", hasty.label) == f"{hasty.label} may go on\n"
    assert hasty.work()["current"]
    assert "excluded; 12 pairs are offered again" in study_command("exclude", "s", finished.label, "--reason", "test", "--recollect")
    assert "s: 0 of 12 pairs complete, 2 scores each" in study_command("status", "s")
    assert "12 of their scored pairs count" in study_command("include", "s", finished.label)
    assert "2 annotators deleted" in study_command("forget-ids", "s")
    assert main(["study", "payments", "s", "--out", str(tmp_path / "x"), "--amount", "much", "--data", str(tmp_path / "data")]) == 1
    assert not (tmp_path / "x").exists()
    store.close()
