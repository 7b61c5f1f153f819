"""The judge over HTTP, against a server that gives every trouble a real one gives."""

import asyncio
import base64
import io
import os
import time

import numpy as np
import pytest
from PIL import Image

from mre.errors import ServiceError, SettingsError
from mre.judge.kinds import make_judge
from mre.judge.pictures import judged_size
from mre.judge.question_tokens import picture_tokens
from mre.judge.verdicts import Ask, Tally
from mre.paid.cache import AnswerCache
from tests.judge.conftest import all_heard, asks, judge_on, picture, verdicts_on
from tests.judge.fake_openai import KEY, FakeOpenAI


def test_one_edit_gets_three_verdicts_with_the_build_that_answered():
    with FakeOpenAI() as server:
        verdicts = verdicts_on(judge_on(server, "gpt-4o"), picture(1), picture(2), "make it red")
    assert [verdict.perspective for verdict in verdicts] == ["following", "preserving", "quality"]
    assert all(0 <= verdict.score <= 5 and verdict.accepted in (True, False) for verdict in verdicts)
    assert verdicts.judge_version == "gpt-4o-2024-08-06"
    assert verdicts.judge == "gpt-4o@fence"


def test_requests_carry_the_prompt_both_pictures_temperature_0_and_a_seed():
    with FakeOpenAI() as server:
        verdicts_on(judge_on(server, fence=False, seed=7), picture(1), picture(2), "make it: red", task="reward")
    assert len(server.bodies) == 3
    for body in server.bodies:
        assert (body["temperature"], body["seed"]) == (0.0, 7)
        assert body["max_tokens"] >= 300, "50 tokens cut replies in the released scripts"
        pictures = [part for part in body["messages"][1]["content"] if part["type"] == "image_url"]
        text = body["messages"][1]["content"][0]["text"]
        assert len(pictures) == (1 if "provided image based on its overall quality" in text else 2)
        assert ("Editing Instructions: make it: red" in text) == (len(pictures) == 2), "a colon must not cut the instruction"


def sent_pictures(body) -> list[Image.Image]:
    urls = [part["image_url"]["url"] for part in body["messages"][1]["content"] if part["type"] == "image_url"]
    assert all(url.startswith("data:image/png;base64,") for url in urls)
    return [Image.open(io.BytesIO(base64.b64decode(url.split(",")[1]))) for url in urls]


def test_pictures_arrive_pixel_for_pixel_when_they_have_the_stated_size():
    noise = [Image.fromarray(np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8)) for seed in (0, 1)]
    with FakeOpenAI() as server:
        verdicts_on(judge_on(server, picture_size=64), *noise, "x")
    shown = next(sent_pictures(body) for body in server.bodies if len(sent_pictures(body)) == 2)
    for sent, given in zip(shown, noise, strict=True):
        assert np.array_equal(np.asarray(sent), np.asarray(given))
        assert not sent.info


@pytest.mark.parametrize(("given", "sent"), [((640, 480), (683, 512)), ((480, 640), (512, 683)), ((512, 512), (512, 512)),
                                             ((64, 64), (512, 512)), ((5000, 1000), (2048, 410))])
def test_the_shorter_side_is_the_stated_size_and_the_aspect_stays(given, sent):
    assert judged_size(*given, 512) == sent


def test_original_and_edit_arrive_at_one_size():
    with FakeOpenAI() as server:
        verdicts_on(judge_on(server), picture(1, (96, 64)), picture(2, (192, 128)), "x")
    assert {image.size for body in server.bodies for image in sent_pictures(body)} == {(72, 48)}


def test_an_edit_of_another_aspect_is_not_stretched_to_the_originals():
    """The released evaluation crops to a multiple of 64 and stretches the edit back to the photo's aspect before it is judged."""
    with FakeOpenAI() as server:
        verdicts_on(judge_on(server), picture(1, (96, 48)), picture(2, (60, 60)), "x")
    assert {image.size for body in server.bodies for image in sent_pictures(body)} == {(96, 48), (48, 48)}


@pytest.mark.parametrize(("model", "tokens"), [("gpt-4o", 425), ("gpt-4.1-2025-04-14", 425), ("gpt-4o-mini", 14167), ("gpt-4.1-mini", 571)])
def test_a_pictures_tokens_follow_its_models_rule(model, tokens):
    """683 x 512: 2 tiles of 512 pixels, or 22 x 16 patches of 32 pixels at 1.62 tokens each."""
    assert picture_tokens(683, 512, model) == tokens
    assert picture_tokens(2048, 2048, "gpt-4.1-mini") == 2489, "as many patches as are ever counted"


def test_a_second_run_costs_nothing(tmp_path):
    cache = tmp_path / "answers.sqlite"
    with FakeOpenAI() as server:
        first, said = all_heard(judge_on(server, cache=cache), asks(5))
        second, again = all_heard(judge_on(server, cache=cache), asks(5))
        assert (first.calls, second.calls, second.cached) == (15, 0, 15)
        assert server.requests == 15
    assert [verdicts.scores for _, verdicts in said] == [verdicts.scores for _, verdicts in again]


@pytest.mark.parametrize("change", [{"seed": 1}, {"temperature": 0.5}, {"picture_size": 40}, {"fence": False}, {"max_reply_tokens": 200}])
def test_another_setting_is_another_question(tmp_path, change):
    cache = tmp_path / "answers.sqlite"
    with FakeOpenAI() as server:
        all_heard(judge_on(server, cache=cache), asks(1))
        tally, _ = all_heard(judge_on(server, cache=cache, **change), asks(1))
    assert tally.calls > 0


def test_repeats_tasks_pictures_and_instructions_are_questions_of_their_own(tmp_path):
    cache = tmp_path / "answers.sqlite"
    with FakeOpenAI() as server:
        judge = judge_on(server, cache=cache)
        first = Ask("a", "make it red", picture(1), picture(2))
        assert all_heard(judge, [first])[0].calls == 3
        assert all_heard(judge, [first], "reward")[0].calls == 3
        assert all_heard(judge, [Ask("a", "make it red", picture(1), picture(2), repeat=1)])[0].calls == 3
        assert all_heard(judge, [Ask("a", "make it red", picture(1), picture(3))])[0].calls == 3
        assert all_heard(judge, [Ask("a", "make it blue", picture(1), picture(2))])[0].calls == 2, "quality does not read the instruction"


def test_throttling_errors_nonsense_and_where_that_is_agreed_to_lost_connections_are_asked_again():
    script = ["429", "500", "cut", "garbage", "not-json", "no-choices", "unreadable", "refusal"]
    with FakeOpenAI(script=script) as server:
        tally, heard = all_heard(judge_on(server, ask_again=True), asks(4))
        assert tally.failed == 0
        assert sum(server.answered.values()) >= 12
    assert tally.retries == len(script)
    assert [item for item, _ in heard] == [ask.item for ask in asks(4)]


def test_retry_after_is_obeyed_by_the_whole_run():
    with FakeOpenAI(script=["429"], retry_after="0.6") as server:
        started = time.perf_counter()
        all_heard(judge_on(server, concurrency=1), asks(2))
        assert time.perf_counter() - started >= 0.6


def test_a_reply_that_stays_unreadable_is_a_failure_that_keeps_it_and_is_not_paid_for_twice(tmp_path):
    cache = tmp_path / "answers.sqlite"
    with FakeOpenAI(rates={"unreadable": 1.0}) as server:
        tally, heard = all_heard(judge_on(server, cache=cache), asks(1))
        assert tally.failed == 3
        assert all("quite good, yes" in verdict.raw and "no verdict" in verdict.error and verdict.score is None for verdict in heard[0][1])
        asked = server.requests
        again, _ = all_heard(judge_on(server, cache=cache), asks(1))
        assert (again.calls, again.failed, server.requests) == (0, 3, asked)
        server.plan.rates = {}
        once_more, _ = all_heard(judge_on(server, cache=cache, retry_failed=True), asks(1))
        assert (once_more.calls, once_more.failed) == (3, 0)


def test_a_refusal_is_a_failure_and_the_run_goes_on():
    with FakeOpenAI(script=["refusal"]) as server:
        tally, heard = all_heard(judge_on(server, concurrency=1, max_asked=1), asks(2))
    assert tally.failed == 1
    assert "refused" in heard[0][1].errors["following"]
    assert not heard[1][1].errors


def test_an_edit_that_the_server_rejects_fails_alone():
    with FakeOpenAI(script=[None, None, None, "400"]) as server:
        tally, heard = all_heard(judge_on(server, concurrency=1), asks(3))
    assert (tally.edits, tally.failed) == (3, 1)
    assert "Your image was rejected" in "".join(heard[1][1].errors.values())


def test_a_broken_picture_fails_alone_and_is_named(tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG no")
    questions = [*asks(1), Ask("torn", "x", picture(1), broken), Ask("gone", "x", tmp_path / "none.png", picture(2)), *asks(2)[1:]]
    with FakeOpenAI() as server:
        tally, heard = all_heard(judge_on(server), questions)
    assert (tally.edits, tally.failed) == (4, 6)
    assert "torn: edited" in heard[1][1].errors["quality"]
    assert "gone: original" in heard[2][1].errors["quality"]


def test_requests_in_flight_reach_the_chosen_number_and_never_pass_it():
    with FakeOpenAI(gather=16) as server:
        all_heard(judge_on(server, concurrency=16), asks(40))
        assert server.most_in_flight == 16


def test_requests_that_would_leave_together_leave_one_after_another(monkeypatch):
    """In step they come back together and wait for each other at every turn: a busy machine lost a sixth of its throughput to that."""
    from mre.judge import openai_run
    slept = []

    async def note(seconds):
        slept.append(round(seconds, 2))

    async def four_at_once():
        run = openai_run.JudgeRun(make_judge("gpt-4o", concurrency=64), "evaluate", print, Tally())
        run.usual_seconds = 1.28
        monkeypatch.setattr(openai_run.asyncio, "sleep", note)
        for _ in range(4):
            await run.turn()

    asyncio.run(four_at_once())
    assert slept == [0.01, 0.02, 0.03], "half of a reply's time for as many as may be in flight"


def test_verdicts_are_reported_once_each_and_in_order_whatever_arrives_first():
    with FakeOpenAI(rates={"429": 0.2, "500": 0.1}, retry_after="0.02") as server:
        tally, heard = all_heard(judge_on(server), asks(30))
    assert [item for item, _ in heard] == [f"item-{index:04d}" for index in range(30)]
    assert tally.failed == 0


@pytest.mark.parametrize(("limits", "most"), [({"max_requests": 7}, 7), ({"max_tokens": 9000}, 8), ({"budget": 0.02}, 7)])
def test_a_budget_stops_cleanly_and_the_next_run_goes_on(tmp_path, limits, most):
    cache = tmp_path / "answers.sqlite"
    with FakeOpenAI() as server:
        prices = {"price_input": 2.5, "price_output": 10.0}
        tally, heard = all_heard(judge_on(server, cache=cache, **prices, **limits), asks(10))
        assert "budget" in tally.stopped
        assert 0 < server.requests <= most
        assert all(not verdicts.errors for _, verdicts in heard), "an edit answered by halves is not reported"
        spent = server.requests
        rest, complete = all_heard(judge_on(server, cache=cache, **prices), asks(10))
        assert rest.calls == 30 - spent
        assert len(complete) == 10
        assert not server.ledger()["answered_twice"]


def test_a_budget_holds_where_a_server_does_not_say_what_was_used():
    with FakeOpenAI(usage=None) as server:
        tally, _ = all_heard(judge_on(server, max_tokens=9000), asks(10))
        assert "budget" in tally.stopped
        assert 0 < server.requests <= 9


def test_a_budget_of_0_takes_answers_from_the_cache_and_asks_nothing(tmp_path):
    cache = tmp_path / "answers.sqlite"
    with FakeOpenAI() as server:
        all_heard(judge_on(server, cache=cache), asks(1))
        tally, heard = all_heard(judge_on(server, cache=cache, budget=0.0), asks(2))
        assert server.requests == 3
    assert "the budget of 0 USD is used up" in tally.stopped
    assert len(heard) == 1


def test_a_budget_in_money_needs_a_price():
    with FakeOpenAI() as server, pytest.raises(SettingsError, match="price-input"):
        judge_on(server, "open-model", budget=1.0)


def test_the_forecast_counts_what_is_missing_and_what_is_spent_is_within_it(tmp_path):
    cache = tmp_path / "answers.sqlite"
    with FakeOpenAI() as server:
        judge = judge_on(server, cache=cache, price_input=2.5, price_output=10.0)
        all_heard(judge, asks(2))
        forecast = judge.forecast(asks(5), "evaluate")
        assert (forecast.edits, forecast.requests, forecast.cached) == (5, 9, 6)
        tally, _ = all_heard(judge, asks(5))
        assert tally.calls == 9
        assert tally.cost_usd == pytest.approx(9 * (1000 * 2.5 + 20 * 10.0) / 1e6)


def test_the_price_of_an_unknown_model_is_said_to_be_unknown():
    with FakeOpenAI() as server:
        judge = judge_on(server, "open-model")
        assert "unknown" in str(judge.forecast(asks(1), "evaluate"))
        assert "price unknown" in str(all_heard(judge, asks(1))[0])


@pytest.mark.parametrize(("model", "plan", "said"), [
    ("gpt-9", {}, "knows no model 'gpt-9'"),
    ("text-model", {}, "does the model take pictures"),
    ("gpt-4o", {"script": ["quota"] * 9}, "quota is used up"),
    ("gpt-4o-2024-08-06", {"build": "gpt-4o-2024-05-13"}, "answered as 'gpt-4o-2024-05-13'")])
def test_where_asking_on_is_useless_the_run_ends_with_one_clear_line(model, plan, said):
    with FakeOpenAI(**plan) as server:
        with pytest.raises(ServiceError, match=said) as error:
            all_heard(judge_on(server, model), asks(20))
        assert "\n" not in str(error.value)
        assert server.requests <= 16, "it does not go on paying"


def test_a_build_that_changes_midway_stops_the_run_and_keeps_what_was_paid(tmp_path):
    cache = AnswerCache(tmp_path / "answers.sqlite")
    with FakeOpenAI(script=[None] * 5 + ["other-build"]) as server:
        judge = judge_on(server, concurrency=1, cache=tmp_path / "answers.sqlite")
        with pytest.raises(ServiceError, match="gpt-4o-2024-05-13"):
            all_heard(judge, asks(10))
        assert len(cache) == server.requests == 6


def test_an_undated_model_records_every_build_that_answered():
    with FakeOpenAI(script=[None, "other-build"]) as server:
        tally, _ = all_heard(judge_on(server, "gpt-4o"), asks(2))
    assert tally.builds == {"gpt-4o-2024-08-06": 5, "gpt-4o-2024-05-13": 1}


def test_no_network_is_said_in_one_line_and_soon():
    started = time.perf_counter()
    judge = make_judge("gpt-4o", base_url="http://127.0.0.1:9/v1")
    with pytest.raises(ServiceError, match=r"no answer from 127\.0\.0\.1:9"):
        verdicts_on(judge, picture(1), picture(2), "x")
    assert time.perf_counter() - started < 20


def test_without_a_key_the_judge_says_where_it_looks(monkeypatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ServiceError, match="OPENAI_API_KEY"):
        make_judge("gpt-4o")


def test_azure_is_reached_by_deployment_with_its_own_key_and_version(monkeypatch):
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", KEY)
    with FakeOpenAI(models=("my-deployment",)) as server:
        judge = make_judge("azure:my-deployment", base_url=server.url.removesuffix("/v1"), api_version="2024-10-21", picture_size=48)
        verdicts = verdicts_on(judge, picture(1), picture(2), "x")
        assert server.headers[0]["api-key"] == KEY
    assert verdicts.judge_version == "gpt-4o-2024-08-06"
    with pytest.raises(ServiceError, match="api-version"):
        make_judge("azure:my-deployment", base_url="http://x")


@pytest.mark.parametrize("url", ["ftp://x/v1", "localhost:8000", "http://user:secret@host/v1", "http://host/v1?key=secret",
                                 "http://host:secret/v1", "http://[::1/v1", "http://host:70000/v1"])
def test_addresses_that_are_none_or_carry_secrets_are_refused_without_repeating_them(url):
    with pytest.raises(SettingsError) as error:
        make_judge("gpt-4o", base_url=url)
    assert "secret" not in str(error.value)


def test_a_wrong_key_is_refused_in_one_line_that_does_not_show_it(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-key-9876543210")
    with FakeOpenAI() as server, pytest.raises(ServiceError, match="refused the key") as error:
        verdicts_on(judge_on(server), picture(1), picture(2), "x")
    assert "wrong-key" not in str(error.value)
    assert "sk-w" not in str(error.value), "not even starred out, as the server repeats it"


def test_the_key_is_in_no_byte_that_a_run_leaves_behind(tmp_path, capfd, monkeypatch, caplog):
    monkeypatch.setenv("OPENAI_LOG", "debug")
    with FakeOpenAI(rates={"echo-key": 0.5, "500": 0.2, "400": 0.1, "unreadable": 0.1}) as server, caplog.at_level("DEBUG"):
        judge = judge_on(server, cache=tmp_path / "answers.sqlite")
        tally, heard = all_heard(judge, asks(20))
    judge.cache.close()
    left = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    shown = repr((tally, heard, judge.__dict__, judge.endpoint)) + caplog.text + "".join(capfd.readouterr())
    assert "[key]" in shown, "the server did repeat the key"
    assert KEY not in shown
    assert KEY.encode() not in left


def test_the_judge_module_loads_no_torch():
    import subprocess
    import sys
    code = "import sys, mre.judge.openai_judge, mre.judge.oracle, mre.judge.flags; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": "."})


def test_a_run_killed_again_and_again_pays_for_no_answer_twice_unasked_and_says_what_it_may_have_paid():
    from tests.bench.judge_load import kills

    found = kills(3, 100, 8, 0.05, quiet=True)
    assert found["kills"] >= 1
    assert found["paid_twice_unasked"] == 0
    assert found["were_paid"] <= found["perhaps_paid"] <= found["kills"] * 8, "only what was in flight when it died"
    assert found["kept_before"] + found["perhaps_paid"] == found["answers_kept"] == found["questions"] == 300
    assert found["paid_twice_as_asked"] == found["were_paid"]
