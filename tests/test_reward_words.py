"""Scores can be told in the instruction to an editor that has no condition for them."""


import pytest
from PIL import Image

from mre.__main__ import main
from mre.benchmark.items import SceneSet
from mre.benchmark.runs import asked_of, plan_runs
from mre.editors import kinds
from mre.editors.capabilities import NOTHING, refuse_unused
from mre.editors.editor import EditorInfo
from mre.editors.local_editor import LocalEditor
from mre.editors.settings import EditSettings
from mre.errors import SettingsError
from mre.recipes import read_recipe
from mre.reward_words import with_scores
from mre.rewards import Reward
from tests.fake_editing import INFO

TOLD = ("make it red, following the instruction is five out of five, preserving the rest is one out of five, "
        "image quality is 2.5 out of five")


def test_a_perspective_without_a_wish_is_not_told():
    assert with_scores("make it red.", Reward(None, 5, None)) == "make it red, preserving the rest is five out of five"


class Listener(LocalEditor):
    """Keeps what it was asked, and gives the photo back."""

    asked: list[str] = []

    def describe(self):
        return EditorInfo("listener", "Listener", native_size=16, size_rule="fit", capabilities=NOTHING)

    def make(self, seen, settings, on_step, should_stop):
        self.asked.append(settings.instruction)
        return seen


@pytest.fixture
def listener(monkeypatch) -> type[Listener]:
    Listener.asked = []
    monkeypatch.setattr(kinds, "KINDS", [kinds.EditorKind("listener", lambda name: name == "listener", Listener), *kinds.KINDS])
    return Listener


def test_each_score_is_said_after_the_instruction():
    assert with_scores("make it red.", Reward(5, 1, 2.5)) == TOLD


def test_the_editor_hears_them_only_where_that_is_asked_for_and_the_recipe_keeps_what_was_typed(listener, tmp_path):
    Image.new("RGB", (16, 16), "white").save(tmp_path / "photo.png")
    common = ["edit", str(tmp_path / "photo.png"), "make it red", "--model", "listener"]
    assert main([*common, "--scores", "5,1,2.5", "--reward-words", "--out", str(tmp_path / "told.png")]) == 0
    assert main([*common, "--out", str(tmp_path / "plain.png")]) == 0
    assert listener.asked == [TOLD, "make it red"]
    recipe = read_recipe(tmp_path / "told.png")
    assert recipe.instruction == "make it red"
    assert EditSettings.from_recipe(recipe).reward_words
    assert main(["edit", str(tmp_path / "photo.png"), "--recipe", str(tmp_path / "told.png"), "--model", "listener",
                 "--out", str(tmp_path / "again.png")]) == 0
    assert listener.asked[-1] == TOLD
    assert (tmp_path / "again.png").read_bytes() == (tmp_path / "told.png").read_bytes()


def test_an_editor_that_reads_scores_refuses_words_for_them():
    with pytest.raises(SettingsError, match=r"--reward-words: the model fake reads scores by themselves; leave it out"):
        refuse_unused(EditSettings("make it red", reward_words=True), INFO, lambda name: "--" + name.replace("_", "-"))


def test_without_words_scores_for_an_editor_that_reads_none_are_refused_as_before(listener, tmp_path, capsys):
    Image.new("RGB", (16, 16), "white").save(tmp_path / "photo.png")
    assert main(["edit", str(tmp_path / "photo.png"), "make it red", "--model", "listener", "--scores", "5,1,2",
                 "--out", str(tmp_path / "x.png")]) == 1
    assert "listener reads no scores" in capsys.readouterr().err


def test_a_benchmark_has_a_method_for_each_reward_told_in_words_beside_the_model_without():
    infos = {"plain": Listener("listener").describe(), "fake": INFO}
    plan = plan_runs(SceneSet(1, size=64).benchmark(), ["plain", "fake"], [Reward.best(), Reward(0, 0, 0)], infos.__getitem__, ["scores"],
                     reward_words=True)
    methods = {method.name: method for method, _ in plan.jobs}
    assert {"plain", "plain-words@5-5-5", "plain-words@0-0-0", "fake@5-5-5"} <= set(methods)
    assert methods["plain-words@0-0-0"].reward_words
    assert not methods["fake@5-5-5"].reward_words
    assert [name for _, name in asked_of(plan)["plain told in words"]] == ["plain-words@0-0-0", "plain-words@5-5-5"]
    assert "reward_words" in methods["plain-words@5-5-5"].identity("w", 0)
    assert "reward_words" not in methods["plain"].identity("w", 0)


def test_a_benchmark_is_fast_with_the_models_that_can_be_and_refuses_the_flag_where_none_can():
    plain = Listener("listener").describe()
    infos, benchmark = {"plain": plain, "fake": INFO}, SceneSet(1, size=64).benchmark()
    plan = plan_runs(benchmark, ["plain", "fake"], [Reward.best()], infos.__getitem__, fast=True)
    fast = {method.name: method for method, _ in plan.jobs}
    assert [fast[name].fast for name in ("plain", "fake@5-5-5")] == [False, True]
    assert [fast[name].identity("w", 0).get("fast") for name in ("plain", "fake@5-5-5")] == [None, True]
    with pytest.raises(SettingsError, match=r"^--fast: the model listener has no steps and no guidance to leave out"):
        plan_runs(benchmark, ["plain"], [Reward.best()], infos.__getitem__, fast=True)


def test_a_benchmark_of_models_that_all_read_scores_refuses_the_flag():
    with pytest.raises(SettingsError, match="--reward-words: fake read scores by themselves"):
        plan_runs(SceneSet(1, size=64).benchmark(), ["fake"], [Reward.best()], lambda _: INFO, reward_words=True)


def test_a_benchmark_runs_with_them_from_the_command_line(listener, tmp_path):
    assert main(["bench", "scenes", "--model", "listener", "--scores", "5,5,5", "0,0,0", "--reward-words", "--per-type", "1",
                 "--size", "32", "--tables", "scores", "--sheet", "0", "--out", str(tmp_path)]) == 0
    told = {text.rpartition("is ")[2] for text in listener.asked if "out of five" in text}
    assert told == {"five out of five", "zero out of five"}
    table = (tmp_path / "tables" / "table_6.csv").read_text()
    assert "listener told in words" in table
