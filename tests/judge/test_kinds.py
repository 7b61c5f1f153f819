"""The door for judges: what a name means, answers kept for any judge, perspectives that a judge lacks."""

import pytest
from PIL import Image

from mre.errors import JudgeError
from mre.judge import kinds
from mre.judge.kept import KeptAnswers
from mre.judge.kinds import kind_of, make_judge
from mre.judge.verdicts import Ask, Verdict, one_by_one, score_one
from mre.paid.cache import AnswerCache
from tests.judge.conftest import all_heard, asks, judge_on
from tests.judge.fake_openai import FakeOpenAI


class Three:
    """Answers 3, with some doubt; counts what it was asked."""

    name, version, perspectives = "three", "1", ("following", "quality")

    def __init__(self) -> None:
        self.asked: list[str] = []

    def score_all(self, asks, task, on_verdicts):
        return one_by_one(self, asks, task, on_verdicts, self.score)

    def score(self, ask):
        self.asked.append(ask.item)
        if callable(ask.edited):
            ask.edited()
        return [Verdict(name, 3.0, deviation=0.5, text="dull") for name in self.perspectives]


@pytest.fixture
def three(monkeypatch):
    """The judge as a kind of its own."""
    judge = Three()
    kind = kinds.JudgeKind("three", lambda name: name == "three", lambda name, options: KeptAnswers(judge, AnswerCache(options.cache)))
    monkeypatch.setattr(kinds, "KINDS", [kind, *kinds.KINDS])
    return judge


def test_a_new_judge_is_one_entry_and_its_answers_are_kept(three, tmp_path):
    first, heard = all_heard(make_judge("three", cache=tmp_path / "kept.sqlite"), asks(4), "reward")
    assert [item for item, _ in heard] == [ask.item for ask in asks(4)]
    assert {(verdict.score, verdict.deviation) for _, verdicts in heard for verdict in verdicts} == {(3.0, 0.5)}
    again, heard_again = all_heard(make_judge("three", cache=tmp_path / "kept.sqlite"), [*asks(6)], "reward")
    assert three.asked == [ask.item for ask in asks(6)]                     # the first four were not asked again
    assert [item for item, _ in heard_again] == [ask.item for ask in asks(6)]
    assert [verdicts.scores for _, verdicts in heard_again[:4]] == [verdicts.scores for _, verdicts in heard]
    assert (first.edits, first.cached, again.edits, again.cached) == (4, 0, 6, 8)
    all_heard(make_judge("three", cache=tmp_path / "kept.sqlite"), asks(1), "evaluate")
    assert len(three.asked) == 7                                            # another task is another question


def test_kept_and_new_answers_are_reported_in_the_order_of_the_edits(three, tmp_path):
    judge = make_judge("three", cache=tmp_path / "kept.sqlite")
    all_heard(judge, asks(8)[::2])
    _, heard = all_heard(judge, asks(8))
    assert [item for item, _ in heard] == [ask.item for ask in asks(8)]
    assert [all(verdict.cached for verdict in verdicts) for _, verdicts in heard] == [True, False] * 4


def test_a_picture_that_cannot_be_read_fails_its_edit_and_is_asked_again(three, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"\x89PNG")

    def reads():
        from mre.imaging import open_image
        return open_image(broken)

    edits = [asks(1)[0], Ask("broken", "x", Image.new("RGB", (8, 8)), reads), asks(2)[1]]
    judge = make_judge("three", cache=tmp_path / "kept.sqlite")
    for _ in range(2):
        tally, heard = all_heard(judge, edits)
        assert [bool(verdicts.errors) for _, verdicts in heard] == [False, True, False]
        assert tally.failed == 2
    assert three.asked.count("broken") == 2


def test_a_perspective_that_a_judge_lacks_is_absent_and_never_guessed(three):
    verdicts = score_one(make_judge("three"), asks(1)[0], "reward")
    assert verdicts.scores == (3.0, None, 3.0)
    with pytest.raises(JudgeError, match="three does not score preserving"):
        verdicts.reward()


@pytest.mark.parametrize("name", ["rewards"])
def test_rewards_need_all_three_perspectives(three, name, tmp_path, capsys):
    from mre.__main__ import main

    assert main([name, "scenes:2", "--judge", "three", "--out", str(tmp_path / "r.jsonl"), "--cache", str(tmp_path / "c.sqlite")]) == 1
    assert "three does not score preserving" in capsys.readouterr().err
    assert not (tmp_path / "r.jsonl").exists()


def test_names_mean_kinds():
    assert [kind_of(name).form.split()[0] for name in ("oracle", "azure:mine", "qwen@http://127.0.0.1:8000/v1", "gpt-4o")] \
        == ["oracle", "azure:DEPLOYMENT", "MODEL@URL", "a"]
    assert kind_of("oracle").scenes_only
    with pytest.raises(JudgeError, match="the judge has no name; give oracle"):
        make_judge(" ")


def test_a_model_at_an_address_is_asked_there():
    with FakeOpenAI() as server:
        verdicts = score_one(make_judge(f"gpt-4o@{server.url}", picture_size=48), asks(1)[0], "evaluate")
        assert verdicts.scores == score_one(judge_on(server, "gpt-4o"), asks(1)[0], "evaluate").scores
    with pytest.raises(JudgeError, match="--base-url names another address"):
        make_judge("gpt-4o@http://a/v1", base_url="http://b/v1")
