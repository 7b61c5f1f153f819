"""The Batch API: the same answers at half the price, and never paid twice."""

import pytest

from mre.errors import ServiceError
from mre.judge import batches
from tests.judge.conftest import all_heard, asks, judge_on
from tests.judge.fake_openai import FakeOpenAI

PRICES = {"price_input": 2.0, "price_output": 8.0}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(batches, "POLL_SECONDS", 0.01)


def test_a_batch_brings_the_same_verdicts_as_asking_one_by_one(tmp_path):
    with FakeOpenAI() as server:
        _, live = all_heard(judge_on(server, cache=tmp_path / "a.sqlite"), asks(6), "reward")
        tally, batched = all_heard(judge_on(server, cache=tmp_path / "b.sqlite", batches=True, **PRICES), asks(6), "reward")
    assert [(item, verdicts.scores) for item, verdicts in batched] == [(item, verdicts.scores) for item, verdicts in live]
    assert tally.calls == 18
    assert tally.cost_usd == pytest.approx(18 * (1000 * 2.0 + 20 * 8.0) / 1e6)


def test_only_what_the_cache_lacks_goes_into_a_batch(tmp_path):
    cache = tmp_path / "answers.sqlite"
    with FakeOpenAI() as server:
        all_heard(judge_on(server, cache=cache), asks(2))
        tally, _ = all_heard(judge_on(server, cache=cache, batches=True), asks(5))
        again, _ = all_heard(judge_on(server, cache=cache, batches=True), asks(5))
        assert (tally.calls, again.calls) == (9, 0)
        assert len(server.batches) == 1
        assert not server.ledger()["answered_twice"]


def test_large_jobs_are_split_within_the_servers_limits(tmp_path, monkeypatch):
    monkeypatch.setattr(batches, "MOST_REQUESTS", 7)
    with FakeOpenAI() as server:
        _, heard = all_heard(judge_on(server, cache=tmp_path / "answers.sqlite", batches=True), asks(6))
        assert sorted(server.files[batch["input_file_id"]].count(b"\n") for batch in server.batches.values()) == [4, 7, 7]
    assert not any(verdicts.errors for _, verdicts in heard)


@pytest.mark.parametrize("cut_at", ["create", "retrieve"])
def test_a_run_cut_while_its_batch_is_out_waits_for_it_and_sends_nothing_again(tmp_path, monkeypatch, cut_at):
    cache = tmp_path / "answers.sqlite"
    with FakeOpenAI() as server:
        judge = judge_on(server, cache=cache, batches=True)
        cut_run(monkeypatch, judge, cut_at)
        with pytest.raises(KeyboardInterrupt):
            all_heard(judge, asks(3))
        monkeypatch.undo()
        monkeypatch.setattr(batches, "POLL_SECONDS", 0.01)
        monkeypatch.setenv("OPENAI_API_KEY", judge.endpoint.api_key)
        _, heard = all_heard(judge_on(server, cache=cache, batches=True), asks(3))
        assert len(server.batches) == 1
    assert len(heard) == 3
    assert not any(verdicts.errors for _, verdicts in heard)


def cut_run(monkeypatch, judge, method: str) -> None:
    """Let the server do its work, then die before the answer to it is read."""
    from openai.resources.batches import AsyncBatches
    real = getattr(AsyncBatches, method)

    async def and_die(self, *args, **kwargs):
        await real(self, *args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(AsyncBatches, method, and_die)


def test_requests_that_failed_in_a_batch_are_failures_and_are_asked_again_next_time(tmp_path):
    cache = tmp_path / "answers.sqlite"
    with FakeOpenAI(rates={"500": 0.4, "unreadable": 0.2}) as server:
        tally, heard = all_heard(judge_on(server, cache=cache, batches=True), asks(8))
        assert 0 < tally.failed < 24
        assert len(heard) == 8
        server.plan.rates = {}
        again, _ = all_heard(judge_on(server, cache=cache, batches=True, retry_failed=True), asks(8))
        assert again.failed == 0
        assert again.calls == tally.failed


def test_a_budget_holds_for_batches_too(tmp_path):
    cache = tmp_path / "answers.sqlite"
    with FakeOpenAI() as server:
        tally, _ = all_heard(judge_on(server, cache=cache, batches=True, max_requests=7), asks(5))
        assert sum(server.asked.values()) == 7
    assert "budget" in tally.stopped


def test_a_wrong_key_is_one_clear_line(monkeypatch, tmp_path):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-wrong-key-9876543210")
    with FakeOpenAI() as server, pytest.raises(ServiceError, match="refused the key") as error:
        all_heard(judge_on(server, cache=tmp_path / "answers.sqlite", batches=True), asks(1))
    assert "wrong-key" not in str(error.value)


def test_triplets_that_are_read_lazily_go_through_a_batch_and_a_fault_is_told_once(tmp_path):
    from mre.data.triplets import Triplet, TripletList
    from mre.errors import DataError
    from mre.scoring.reward_making import make_rewards
    from tests.judge.conftest import picture

    class Rows(TripletList):
        def __getitem__(self, index):
            if index == 1:
                raise DataError("part.parquet#1: the edited picture is missing")
            return super().__getitem__(index)

    with FakeOpenAI() as server:
        rows = Rows(Triplet(f"row{index}", (f"make it {index}",), lambda: picture(1), lambda index=index: picture(index + 2))
                    for index in range(4))
        made = make_rewards(rows, judge_on(server, cache=tmp_path / "a.sqlite", batches=True), tmp_path / "out.jsonl")
    assert made.failed == {"triplet 1": "part.parquet#1: the edited picture is missing"}
    assert made.tally.edits == 3
    assert (tmp_path / "out.failed.jsonl").read_text().count("\n") == 1
