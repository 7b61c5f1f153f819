"""The best of several edits, by a judge: on the command line and on the page."""

import numpy as np
import pytest
from PIL import Image

from mre.__main__ import main
from mre.best_of import ranked
from mre.editors.settings import MAX_SEED, EditSettings
from mre.errors import JudgeError
from mre.judge.kept import KeptAnswers
from mre.judge.kinds import KINDS, JudgeKind
from mre.judge.pictures import as_array
from mre.judge.verdicts import Verdict, one_by_one
from mre.paid.cache import AnswerCache
from mre.recipes import read_recipe
from tests.fake_editing import fake_editor
from ui.edit.best import run_best
from ui.edit.tab import JUDGING
from ui.edit.visit import EditVisit
from ui.studio import Studio, StudioSettings

MODEL = ["--model", "tiny-untrained", "--device", "cpu", "--steps", "1"]


class Brightness:
    """Scores the brightness of an edit; dark ones it cannot score at all when told so."""

    name, version, perspectives = "brightness", "1", ("quality",)

    def __init__(self, blind_below: float = 0.0) -> None:
        self.blind_below = blind_below

    def score_all(self, asks, task, on_verdicts):
        return one_by_one(self, asks, task, on_verdicts, self._verdicts)

    def _verdicts(self, ask):
        light = as_array(ask.edited).mean() / 255 * 5
        return [Verdict("quality", light) if light >= self.blind_below else Verdict("quality", None, error="too dark")]


@pytest.fixture
def editor():
    """The fake editor, which takes one picture at a time."""
    made = fake_editor()
    made.edit_many = lambda photos, settings: (made.edit(*one) for one in zip(photos, settings, strict=True))
    return made


@pytest.fixture
def photo() -> Image.Image:
    return Image.new("RGB", (64, 64), (120, 120, 120))


def test_the_edit_that_the_judge_scores_highest_comes_first_and_its_seed_makes_it_again(editor, photo):
    settings = EditSettings("make it blue", seed=MAX_SEED - 1)
    found = ranked(editor, Brightness(), photo, settings, 4)
    light = [np.asarray(one.result.image).mean() for one in found]
    assert light == sorted(light, reverse=True)
    assert {one.result.settings.seed for one in found} == {MAX_SEED - 1, MAX_SEED, 0, 1}
    again = editor.edit(photo, EditSettings("make it blue", seed=found[0].result.settings.seed))
    assert np.array_equal(np.asarray(again.image), np.asarray(found[0].result.image))


def test_an_edit_that_cannot_be_scored_is_never_the_best_and_none_at_all_is_an_error(editor, photo):
    settings = EditSettings("make it blue")
    scored = ranked(editor, Brightness(), photo, settings, 4)
    bar = scored[1].overall * 5
    found = ranked(editor, Brightness(bar), photo, settings, 4)
    assert [one.overall is None for one in found] == [False, False, True, True]
    with pytest.raises(JudgeError, match="could score none of 4 edits: too dark"):
        ranked(editor, Brightness(6.0), photo, settings, 4)


def test_the_command_keeps_the_best_with_its_own_recipe_and_a_second_run_makes_nothing(tmp_path, capsys, monkeypatch):
    brightness = JudgeKind("brightness", lambda name: name == "brightness", lambda *_: KeptAnswers(Brightness(), AnswerCache(None)))
    monkeypatch.setattr("mre.judge.kinds.KINDS", [brightness, *KINDS])
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((90, 60)).save(tmp_path / "photo.png")
    out = tmp_path / "out.png"
    given = ["edit", str(tmp_path / "photo.png"), "make it blue", "--out", str(out), *MODEL, "--seed", "7", "--best-of", "3",
             "--judge", "brightness"]
    assert main(given) == 0
    said = capsys.readouterr().err
    assert "best of 3 by brightness: seed" in said
    chosen = read_recipe(out).seed
    assert chosen in (7, 8, 9)
    assert f"seed {chosen} with" in said
    before = out.stat().st_mtime_ns
    assert main(given) == 0
    assert (out.stat().st_mtime_ns, "best of" in capsys.readouterr().err) == (before, False)


@pytest.mark.parametrize(("flags", "said"), [
    (("--best-of", "1", "--judge", "measured"), "--best-of must be between 2 and 64"),
    (("--best-of", "3"), "--best-of needs a judge"),
    (("--judge", "measured"), "give --best-of N"),
    (("--best-of", "3", "--judge", "oracle"), "judges synthetic scenes only"),
    (("--best-of", "3", "--judge", "gpt-4o"), "--judge-requests N says how many"),
    (("--best-of", "3", "--judge", "measured", "--model", "tiny"), "tiny reads no seed")])
def test_bad_input_is_one_clear_line(tmp_path, capsys, monkeypatch, photo, flags, said):
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    photo.save(tmp_path / "photo.png")
    assert main(["edit", str(tmp_path / "photo.png"), "make it blue", "--out", str(tmp_path / "o.png"), "--model", "tiny-untrained",
                 *flags]) == 1
    assert said in capsys.readouterr().err
    assert not (tmp_path / "o.png").exists()


@pytest.fixture
def studio(tmp_path):
    made = Studio(StudioSettings(data=tmp_path, judge="measured"), editors={"fake": fake_editor()})
    made.__dict__["judge"] = Brightness()
    return made


@pytest.fixture
def photo_path(studio, tmp_path, photo):
    photo.save(tmp_path / "photo.png")
    return str(tmp_path / "photo.png")


def news_of(studio, photo_path, visit) -> tuple[str, object]:
    """The last of what the page shows."""
    return list(run_best(JUDGING, studio, visit, "en", photo_path, "fake", EditSettings("make it blue", seed=3), previews=False))[-1]


def test_the_page_makes_four_keeps_all_and_shows_the_best(studio, photo_path):
    visit = EditVisit(studio.shelf)
    said, shown = news_of(studio, photo_path, visit)
    assert [entry.recipe.seed for entry in visit.entries] == [3, 4, 5, 6]
    light = [np.asarray(Image.open(studio.shelf.path(entry.picture.token)).convert("RGB")).mean() for entry in visit.entries]
    assert shown is visit.shown is visit.entries[int(np.argmax(light))]
    assert f"Best of 4 by brightness: seed {shown.recipe.seed}" in said


def test_the_page_says_why_nothing_was_chosen_and_shows_an_edit_all_the_same(studio, photo_path):
    studio.__dict__["judge"] = Brightness(6.0)
    visit = EditVisit(studio.shelf)
    said, shown = news_of(studio, photo_path, visit)
    assert "None of the 4 edits could be scored." in said
    assert "4 of 4 edits lack scores: too dark" in said
    assert shown is visit.entries[-1]


def test_the_page_says_which_of_the_four_had_no_answer_and_chooses_among_the_others(studio, photo_path, monkeypatch):
    judge = studio.judge
    lost = Verdict("quality", None, error="perhaps paid: no answer", perhaps_paid=True)
    answers = [lost, *(Verdict("quality", score) for score in (1, 2, 3))]
    monkeypatch.setattr(judge, "_verdicts", lambda ask: [answers.pop(0)])
    visit = EditVisit(studio.shelf)
    said, shown = news_of(studio, photo_path, visit)
    assert "1 of 4 edits lack scores: their answers did not arrive, and were perhaps paid for all the same." in said
    assert "the others –, 0.20, 0.40" in said
    assert shown is visit.entries[-1]


def test_a_stop_ends_all_four(studio, photo_path):
    visit = EditVisit(studio.shelf)
    for progress, _ in run_best(JUDGING, studio, visit, "en", photo_path, "fake", EditSettings("make it blue"), previews=False):
        if ">2 of 4</p>" in progress:
            visit.stop.set()
    assert len(visit.entries) == 1
