"""Judge my edit: asked scores beside given ones, and one clear line for everything that keeps a judge from answering."""

import logging
from types import SimpleNamespace

import pytest
from PIL import Image

from app import flag_parser
from mre.editors.settings import EditSettings
from mre.judge.kinds import make_judge
from mre.judge.verdicts import Ask, score_one
from mre.recipes import Recipe, png_bytes
from mre.rewards import Reward
from mre.sweep import Sweep
from tests.judge.fake_openai import KEY, FakeOpenAI
from tests.judge.tiny_judges import write_judge
from ui.edit import judge as edit_judge
from ui.edit.views import keep_edit, measure
from ui.edit.visit import EditVisit, Entry, SweepCells
from ui.studio import Studio, StudioSettings

REQUEST = SimpleNamespace(headers={}, session_hash="visit-1")
CHINESE = SimpleNamespace(headers={"accept-language": "zh-CN"}, session_hash="visit-1")
WRONG_KEY = "sk-planted-999888777666555444"


def entry_of(photo, picture, pictures) -> Entry:
    """An edit for which 5, 4 and 3 were asked, by a model that reads scores."""
    reward = Reward(5, 4, 3)
    recipe = Recipe("make it blue", reward, 0, 4, 1.0, 1.0, "default")
    return Entry(photo, picture, picture.token, measure(*pictures), "a.png", recipe, "tiny", 0.1,
                 rewarded=True, seeded=True, asked=EditSettings("make it blue", reward), source=photo.token)


def visit_with_an_edit(studio, colour="blue") -> EditVisit:
    visit = EditVisit(studio.shelf)
    pictures = [Image.new("RGB", (40, 40), one) for one in ("red", colour)]
    photo, picture = (keep_edit(studio.shelf, one, png_bytes(one), "a.png", visit.id) for one in pictures)
    visit.add(entry_of(photo, picture, pictures))
    return visit


def judged(tmp_path, judge) -> str:
    """What the panel shows at the end."""
    studio = Studio(StudioSettings(models=("tiny-untrained",), data=tmp_path, judge=judge))
    return list(edit_judge.on_one(studio)(visit_with_an_edit(studio), REQUEST))[-1]


def test_a_photo_is_plainly_not_judged_where_no_judge_is_configured(tmp_path):
    assert "No judge is configured" in judged(tmp_path, None)


def test_a_trained_judge_scores_any_photo_offline_and_says_how_sure_it_is(tmp_path):
    folder = write_judge(tmp_path / "mine")
    shown = judged(tmp_path, str(folder))
    verdicts = score_one(make_judge(str(folder)), Ask("e", "make it blue", *(Image.new("RGB", (40, 40), one) for one in ("red", "blue"))),
                         "reward")
    for asked, verdict in zip((5, 4, 3), verdicts, strict=True):
        assert f"<td>{asked}</td><td><span class='nowrap'>{verdict.score:.1f} ± {verdict.deviation:.1f}</span></td></tr>" in shown
    assert "± is one standard deviation" in shown
    assert "Defect" not in shown, "it does not say what is wrong"


def test_a_judge_that_was_trained_in_this_studio_scores_the_edit_by_its_name_and_is_offered_to_researchers_alone(tmp_path, monkeypatch):
    write_judge(tmp_path / "judges" / "pilot-judge")
    studio = Studio(StudioSettings(models=("tiny-untrained",), data=tmp_path, judge=None))
    visit = visit_with_an_edit(studio)
    assert [value for _, value in edit_judge.on_open(studio)(visit, REQUEST).choices] == ["", "tiny-judge", "pilot-judge"]
    edit_judge.on_choose(studio)(visit, "pilot-judge", REQUEST)
    shown = list(edit_judge.on_one(studio)(visit, REQUEST))[-1]
    assert "Scored by pilot-judge" in shown
    edit_judge.on_choose(studio)(visit, "../judges/pilot-judge", REQUEST)
    assert "No judge is configured" in list(edit_judge.on_one(studio)(visit, REQUEST))[-1]
    monkeypatch.setattr(studio.access, "enabled", True)
    monkeypatch.setattr(studio.access, "role", lambda request: "visitor")
    assert not edit_judge.on_open(studio)(visit, REQUEST).visible
    assert edit_judge.on_choose(studio)(visit, "pilot-judge", REQUEST).judge == ""


def test_the_embedded_judge_is_the_one_unless_the_host_names_another_or_nobody():
    assert StudioSettings().judge == "tiny-judge"
    assert flag_parser().parse_args([]).judge == "tiny-judge"
    assert "nobody" in flag_parser().format_help()


def test_asked_scores_stand_beside_given_ones(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with FakeOpenAI(reply="{'score': 2, 'bad': 'It is <b>blue</b>.'}") as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        shown = judged(tmp_path, "gpt-4o")
    for asked in (5, 4, 3):
        assert f"<td>{asked}</td><td>2</td><td>It is &lt;b&gt;blue&lt;/b&gt;.</td>" in shown
    assert "gpt-4o@fence gpt-4o-2024-08-06" in shown


def test_a_judge_that_knows_one_perspective_fills_its_row_and_its_line(tmp_path):
    from tests.metrics.drawn import cuts, with_patch

    studio = Studio(StudioSettings(models=("tiny-untrained",), data=tmp_path, judge="measured"))
    visit = EditVisit(studio.shelf)
    original, moved = cuts(1, 3.0, 4.0)
    pictures = original, with_patch(moved, 2, (100, 60, 180, 130))
    photo, picture = (keep_edit(studio.shelf, one, png_bytes(one), "a.png", visit.id) for one in pictures)
    visit.add(entry_of(photo, picture, pictures))
    shown = list(edit_judge.on_one(studio)(visit, REQUEST))[-1]
    assert shown.count("<th scope='row'>") == 1
    assert "everything moved by 5.0 pixels" in shown
    assert "<td>4</td>" in shown, "what was asked of preserving"
    visit.sweep = SweepCells(Sweep((), ()), {(0, 0, 0): visit.shown})
    said, plot = list(edit_judge.on_sweep(studio)(visit, REQUEST))[-1]
    assert "Scored by measured" in said
    assert plot.count("<polyline") == 1


def test_visitors_together_ask_the_judge_no_more_than_the_host_allows_and_kept_answers_stay_free(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with FakeOpenAI(reply="{'score': 2, 'bad': 'blue'}") as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        studio = Studio(StudioSettings(models=("tiny-untrained",), data=tmp_path, judge="gpt-4o", judge_requests=6))
        visits = [visit_with_an_edit(studio, colour) for colour in ("blue", "blue", "green", "white", "green")]
        shown = [list(edit_judge.on_one(studio)(visit, REQUEST))[-1] for visit in visits]
        assert [("<td>2</td>" in one) for one in shown] == [True, True, True, False, True], "only the fourth needs the judge beyond six"
        assert "budget for its judge is exhausted" in shown[3]
        assert "--judge-requests" not in shown[3]
        assert "the budget of 6 requests is used up" in caplog.text
        assert server.ledger()["requests"] == 6


def test_a_sweep_that_meets_the_limit_shows_what_was_answered(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with FakeOpenAI(reply="{'score': 2, 'bad': 'blue'}") as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        studio = Studio(StudioSettings(models=("tiny-untrained",), data=tmp_path, judge="gpt-4o", judge_requests=6))
        visit = visit_with_an_edit(studio, "blue")
        for colour in ("green", "white"):
            other = visit_with_an_edit(studio, colour)
            visit.add(other.shown)
        visit.sweep = SweepCells(Sweep((), ()), {(place, 0, 0): entry for place, entry in enumerate(visit.entries)})
        said, plot = list(edit_judge.on_sweep(studio)(visit, REQUEST))[-1]
    assert "budget for its judge is exhausted" in said
    assert "2 of 3 cells judged" in said
    assert plot.count("<circle") > 3, "the answered cells are in the plot"


@pytest.fixture
def swept(tmp_path, monkeypatch):
    """A studio with a paid judge, and a visit whose sweep has three cells."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    studio = Studio(StudioSettings(models=("tiny-untrained",), data=tmp_path, judge="gpt-4o"))
    visit = visit_with_an_edit(studio, "blue")
    for colour in ("green", "white"):
        visit.add(visit_with_an_edit(studio, colour).shown)
    visit.sweep = SweepCells(Sweep((), ()), {(place, 0, 0): entry for place, entry in enumerate(visit.entries)})
    return studio, visit


def last_said(studio, visit, request=REQUEST) -> tuple[str, str]:
    """Of a judged sweep: what is told, and the plot."""
    return list(edit_judge.on_sweep(studio)(visit, request))[-1]


def test_a_sweep_tells_in_the_visitors_language_how_many_edits_lack_answers_that_are_perhaps_paid_and_asks_again_for_these(
        swept, monkeypatch):
    with FakeOpenAI(reply="{'score': 2, 'bad': 'blue'}", script=["cut", None, None, "cut"]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        said, plot = last_said(*swept)
        assert ("2 of 3 edits lack scores: their answers did not arrive, and were perhaps paid for all the same. "
                "Judge again to ask for them again.") in said
        assert plot.count("<polyline") == 3, "each perspective has scores of other edits"
        assert server.requests == 9
        again, _ = last_said(*swept, CHINESE)
        assert "张编辑" not in again, "all were answered now"
        assert server.requests == 9 + 2, "the lost answers, and no other"


def test_what_else_keeps_edits_of_a_sweep_from_being_scored_is_told_with_its_first_reason(swept, monkeypatch):
    with FakeOpenAI(reply="{'score': 2, 'bad': 'blue'}", script=[None] * 3 + ["400"]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        said, _ = last_said(*swept, CHINESE)
    assert "3 张编辑中有 1 张缺少分数：" in said
    assert "perhaps" not in said


def test_a_judge_that_fails_within_a_sweep_leaves_what_it_had_answered(swept, monkeypatch):
    with FakeOpenAI(reply="{'score': 2, 'bad': 'blue'}", script=[None] * 6 + ["quota"] * 3) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        said, plot = last_said(*swept)
    assert "quota" in said
    assert "2 of 3 cells judged" in said
    assert plot.count("<polyline") == 3


def test_an_answer_that_is_perhaps_paid_is_told_of_in_the_visitors_language_and_asked_for_by_judging_again(swept, monkeypatch):
    studio, visit = swept
    with FakeOpenAI(reply="{'score': 2, 'bad': 'blue'}", script=["cut"]) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        for request, lost, requests in ((CHINESE, 1, 3), (CHINESE, 0, 4)):
            shown = list(edit_judge.on_one(studio)(visit, request))[-1]
            assert shown.count("没有收到回答，但可能已经计费。再次评判会重新询问。") == lost
            assert "perhaps" not in shown
            assert server.requests == requests


@pytest.mark.parametrize(("key", "judge", "said"), [
    ("", "gpt-4o", "no key for the judge: set OPENAI_API_KEY"),
    (WRONG_KEY, "gpt-4o", "refused the key (401)"),
    (KEY, "gpt-9", "knows no model"),
    (KEY, "text-model", "does the model take pictures?")])
def test_what_keeps_a_judge_from_answering_is_one_line_and_no_key_is_shown_logged_or_kept(tmp_path, monkeypatch, caplog, capfd, key,
                                                                                          judge, said):
    monkeypatch.setenv("OPENAI_API_KEY", key)
    monkeypatch.setenv("OPENAI_LOG", "debug")
    with FakeOpenAI() as server, caplog.at_level(logging.DEBUG):
        if key:
            monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        else:
            monkeypatch.delenv("OPENAI_BASE_URL", raising=False)
        shown = judged(tmp_path, judge)
    assert said in shown
    assert shown.startswith('<p class="notice bad"')
    assert "Traceback" not in caplog.text
    everything = shown + caplog.text + "".join(capfd.readouterr())
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert not key or (key not in everything and key.encode() not in kept)
