"""Answers that were asked for and never came: noted before, told of after, and paid for once more only where that is agreed to."""

import sqlite3

import pytest

from mre.__main__ import main
from mre.errors import JudgeError, ServiceError
from mre.files import EDITS, csv_text
from mre.judge import batches
from mre.judge.kinds import make_judge
from mre.judge.verdicts import Ask
from mre.paid.cache import AnswerCache
from tests.judge.conftest import all_heard, asks, judge_on, picture, verdicts_on
from tests.judge.fake_openai import FakeOpenAI


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "answers.sqlite"


class LookingOpenAI(FakeOpenAI):
    """Looks into the client's file whenever a request arrives."""

    def __init__(self, cache, **options):
        super().__init__(**options)
        self.cache, self.noted = cache, []

    async def _answer(self, writer, headers, body, number):
        with sqlite3.connect(self.cache) as db:
            notes = {key for key, in db.execute("SELECT key FROM under_way")}
        self.noted.append(any(headers["idempotency-key"].startswith(key[:48]) for key in notes))
        return await super()._answer(writer, headers, body, number)


def notes(cache) -> int:
    with sqlite3.connect(cache) as db:
        return db.execute("SELECT count(*) FROM under_way").fetchone()[0]


def test_a_note_of_each_request_is_in_the_file_when_it_arrives_and_gone_when_its_answer_is_kept(cache):
    with LookingOpenAI(cache, script=["429", "500", "garbage", "unreadable"], retry_after="0.01") as server:
        tally, _ = all_heard(judge_on(server, cache=cache), asks(3))
    assert server.noted == [True] * 13
    assert (tally.failed, notes(cache)) == (0, 0)


def test_an_answer_that_is_cut_off_is_told_of_then_and_by_the_next_run_and_asked_for_again_where_that_is_agreed_to(cache):
    with FakeOpenAI(script=["cut"]) as server:
        tally, heard = all_heard(judge_on(server, cache=cache, concurrency=1), asks(2))
        lost, = heard[0][1].errors.values()
        assert lost.startswith("perhaps paid: no answer from 127.0.0.1")
        assert lost.endswith("; --ask-again asks again")
        assert (tally.perhaps_paid, tally.failed, server.requests) == (1, 1, 6)
        assert "1 failed (1 of them perhaps paid: --ask-again asks again)" in str(tally)
        assert not heard[1][1].errors

        again = judge_on(server, cache=cache)
        forecast = again.forecast(asks(2), "evaluate")
        assert (forecast.requests, forecast.cached, forecast.perhaps_paid) == (0, 5, 1)
        assert "1 perhaps paid and not asked for again without --ask-again" in str(forecast)
        tally, heard = all_heard(again, asks(2))
        told, = heard[0][1].errors.values()
        assert told.startswith("perhaps paid: 127.0.0.1")
        assert "was asked for this at 20" in told
        assert (tally.perhaps_paid, tally.calls, server.requests) == (1, 0, 6)

        tally, _ = all_heard(judge_on(server, cache=cache, ask_again=True), asks(2))
        assert (tally.calls, tally.failed, server.requests) == (1, 0, 7)
        assert all_heard(judge_on(server, cache=cache), asks(2))[0].cached == 6


@pytest.mark.parametrize("charged_once", ["by its name", "since it costs nothing"])
def test_a_server_that_charges_nothing_for_a_second_request_is_sent_one_at_once(cache, charged_once):
    with FakeOpenAI(script=["cut", "cut"]) as server:
        if charged_once == "by its name":
            judge = make_judge(f"gpt-4o@{server.url}?idempotent=1", cache=cache, picture_size=48)
        else:
            judge = judge_on(server, cache=cache, price_input=0, price_output=0)
        verdicts = verdicts_on(judge, picture(1), picture(2), "x")
        assert (verdicts.errors, server.requests) == ({}, 5)
        assert judge.name == "gpt-4o@fence" if charged_once == "by its name" else judge.name
    with pytest.raises(JudgeError, match="the one option of an address is idempotent=1"):
        make_judge("gpt-4o@http://127.0.0.1:9/v1?cheap=1")


def test_a_visitor_who_was_told_and_judges_again_is_answered(cache):
    with FakeOpenAI(script=["cut"]) as server:
        judge = judge_on(server, cache=cache, concurrency=1, limits_last=True, forgets_reported=True)
        asked = Ask("the edit", "x", picture(1), picture(2))
        _, heard = all_heard(judge, [asked])
        assert [error.partition(";")[2] for error in heard[0][1].errors.values()] == [" judge again to ask again"]
        _, heard = all_heard(judge, [asked])
        assert (heard[0][1].errors, server.requests) == ({}, 4)


def test_a_wrong_key_leaves_nothing_that_was_perhaps_paid(cache, monkeypatch):
    from tests.judge.fake_openai import KEY
    with FakeOpenAI(latency=0.02) as server:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong")
        with pytest.raises(ServiceError, match="refused the key"):
            all_heard(judge_on(server, cache=cache), asks(20))
        assert notes(cache) == 0
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        assert all_heard(judge_on(server, cache=cache), asks(20))[0].failed == 0


def test_where_asking_on_is_useless_what_is_out_is_waited_for_and_kept(cache):
    with FakeOpenAI(gather=8, script=[*[None] * 4, "quota"]) as server, pytest.raises(ServiceError, match="quota"):
        all_heard(judge_on(server, cache=cache), asks(20))
    kept = AnswerCache(cache)
    assert len(kept) == sum(server.paid.values()) >= 7
    assert notes(cache) == 0


def test_answers_that_never_come_count_in_the_budget_and_end_a_run(cache):
    with FakeOpenAI(rates={"cut": 1.0}) as server:
        judge = judge_on(server, cache=cache, concurrency=2, price_input=2.5, price_output=10.0, budget=10.0, limits_last=True)
        with pytest.raises(ServiceError, match="8 questions in a row went unanswered and are perhaps paid, the last: no answer from"):
            all_heard(judge, asks(20))
        assert 8 <= server.requests <= 10
        assert notes(cache) == server.requests
        assert judge.lasting_budget.usd > server.requests * judge.settings.max_reply_tokens * 10.0 / 1e6


def test_a_batch_leaves_out_what_was_perhaps_paid(cache, monkeypatch):
    monkeypatch.setattr(batches, "POLL_SECONDS", 0.01)
    with FakeOpenAI(script=["cut"]) as server:
        all_heard(judge_on(server, cache=cache, concurrency=1), asks(1))
        tally, heard = all_heard(judge_on(server, cache=cache, batches=True), asks(2))
        assert (tally.calls, tally.failed) == (3, 1)
        assert "was asked for this at" in "".join(heard[0][1].errors.values())
        tally, _ = all_heard(judge_on(server, cache=cache, batches=True, ask_again=True), asks(2))
        assert (tally.calls, tally.failed) == (1, 0)


def test_the_commands_list_what_was_perhaps_paid_and_take_the_flag(tmp_path, cache, capsys):
    for name in ("before", "after"):
        picture(9 if name == "after" else 1).save(tmp_path / f"{name}.png")
    (tmp_path / "edits.csv").write_text(csv_text(EDITS, [("i", "local", "make it red", "before.png", "a", "after.png", 0, "m", 0.1)]))
    with FakeOpenAI(script=["cut"]) as server:
        where = ["--judge", "gpt-4o", "--base-url", server.url, "--cache", str(cache), "--picture-size", "48"]
        command = ["score", str(tmp_path), "--out", str(tmp_path / "scores.csv"), *where, "--workers", "1", "--yes"]
        assert main(command) == 1
        assert "1 failed (1 of them perhaps paid: --ask-again asks again)" in capsys.readouterr().err
        assert main(command) == 1
        assert "was asked for this at" in (tmp_path / "scores.failed.jsonl").read_text()
        assert server.requests == 3
        shown = ["judge", str(tmp_path / "before.png"), str(tmp_path / "after.png"), "make it red", "--task", "evaluate", *where]
        assert main(shown) == 1
        assert "was asked for this at" in capsys.readouterr().err
        assert main([*shown, "--ask-again"]) == 0
        assert main(command) == 0
        assert server.requests == 4
