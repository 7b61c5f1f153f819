"""A sweep is planned before it is made, fair in its noise, and can be taken away."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from mre.editors.pipeline_info import FULL_SIZE
from mre.editors.settings import MAX_SEED, EditSettings
from mre.embedded.names import EMBEDDED
from mre.errors import EditStopped, RewardError, SettingsError
from mre.sweep import Axis, Sweep, SweepError, contact_sheet, to_csv
from tests.fake_editing import fake_editor

ASKED = EditSettings("make it blue", seed=3)


def plan(*axes: tuple[str, str], models=None) -> Sweep:
    models = models or {"fake": FULL_SIZE}
    return Sweep.plan(ASKED, next(iter(models)), [Axis.parse(*axis) for axis in axes], models)


def test_values_are_numbers_ranges_texts_or_models():
    for text in ("0, 3,5", "0 3 5", "0;3;5", "0; 3; 5", "0\n3\n5", " 0,3, 5, "):
        assert Axis.parse("scores", text).values == (0, 3, 5)
    for text in ("0，3，5", "0、3、5", "0；3；5"):                 # as a Chinese keyboard writes them
        assert Axis.parse("scores", text).values == (0, 3, 5)
    assert Axis.parse("seed", "1－3，9").values == Axis.parse("seed", "1～3 9").values == (1, 2, 3, 9)
    assert Axis.parse("model", "tiny｜tiny-baseline").values == ("tiny", "tiny-baseline")
    assert plan(("reward_text", "None；None；blurry")).cells[0].settings.reward.texts == ("None", "None", "blurry")
    assert Axis.parse("seed", "0 - 2 7").values == (0, 1, 2, 7)
    assert Axis.parse("seed", "1-3, 9").values == (1, 2, 3, 9)
    assert Axis.parse("reward_text", "None | too dark; None; None").values == ("None", "too dark; None; None")
    assert Axis.parse("guidance_scale", "1.5,7.5").values == (1.5, 7.5)


def test_all_combinations_are_made_with_x_fastest():
    sweep = plan(("following", "0,5"), ("preserving", "0,3,5"), ("quality", "5"))
    assert sweep.shape == (2, 3, 1)
    assert [cell.settings.reward.scores for cell in sweep.cells[:3]] == [(0, 0, 5), (5, 0, 5), (0, 3, 5)]
    assert len(sweep.cells) == 6


def test_table_6_moves_all_three_scores():
    assert [cell.settings.reward.scores for cell in plan(("scores", "0,3,5")).cells] == [(0, 0, 0), (3, 3, 3), (5, 5, 5)]


@pytest.mark.parametrize(("axes", "error", "reason"), [
    ([("seed", "0-39"), ("steps", "1-39"), ("scores", "0-5")], SweepError, "9,360 cells; at most 100"),
    ([("seed", "0-9999")], SweepError, "too many"), ([("seed", ",".join(map(str, range(50))))], SweepError, "50 values"),
    ([("scores", "6")], RewardError, "between 0 and 5"), ([("following", "nan")], RewardError, "following"),
    ([("steps", "0")], SettingsError, "steps"), ([("scores", "")], SweepError, "give values"),
    ([("scores", "a")], SweepError, "neither a number"), ([("colour", "1")], SweepError, "axis must be one"),
    ([("seed", "1"), ("seed", "2")], SweepError, "twice"), ([("scores", "1"), ("quality", "2")], SweepError, "beside it"),
    ([], SweepError, "one, two"),
    ([("model", "../../etc")], SettingsError, "no model")])
def test_a_grid_that_makes_no_sense_is_refused_before_anything_is_made(axes, error, reason):
    with pytest.raises(error, match=reason):
        plan(*axes)


def test_numbers_are_shown_as_they_were_typed():
    assert [Axis.parse("seed", str(MAX_SEED)).label(float(MAX_SEED)), Axis.parse("scores", "2.5").label(2.5)] == [
        "seed 4294967295", "2.5 / 2.5 / 2.5"]


def test_a_reward_text_that_is_not_three_is_refused_with_an_example():
    with pytest.raises(SweepError, match=r"^reward text: 'the picture is blurry' must be three texts with ; .* such as: None; None; the"):
        plan(("reward_text", "the picture is blurry"))


BLIND = replace(EMBEDDED, reward=False, reward_text=False)


@pytest.mark.parametrize(("axes", "reason"), [
    ([("seed", "1,2")], "seed cannot vary: the model tiny makes the same picture"),
    ([("guidance_scale", "1,7.5")], "guidance scale cannot vary: the model tiny was not made for guidance"),
    ([("steps", "1,2")], "steps cannot vary: the model tiny always works"),
    ([("model", "tiny|fake"), ("seed", "1,2")], "seed cannot vary: the model tiny"),
    ([("model", "blind"), ("scores", "0,5")], "scores cannot vary: the model blind reads no scores"),
    ([("model", "blind"), ("quality", "0,5")], "quality cannot vary: the model blind reads no scores")])
def test_an_axis_that_the_model_does_not_use_is_refused_by_name(axes, reason):
    with pytest.raises(SweepError, match=reason):
        plan(*axes, models={"tiny": EMBEDDED, "fake": FULL_SIZE, "blind": BLIND})


def test_a_model_without_reward_stands_beside_one_with_and_each_gets_what_it_can_use():
    sweep = Sweep.plan(EditSettings("make it blue", guidance_scale=7.5), "fake", [Axis.parse("model", "fake|blind"),
                       Axis.parse("scores", "0,5")], {"fake": FULL_SIZE, "blind": BLIND})
    blind = fake_editor("blind", capabilities=BLIND)
    asked = [(cell.model, result.settings.guidance_scale, result.settings.reward.quality)
             for cell, result in sweep.run(Image.new("RGB", (64, 64)), {"fake": fake_editor(), "blind": blind})]
    own = blind.info.guidance_scale
    assert asked == [("fake", 7.5, 0), ("blind", own, 0), ("fake", 7.5, 5), ("blind", own, 5)]


def test_every_cell_starts_from_the_same_noise():
    noises = []
    editor = fake_editor()
    photo = Image.new("RGB", (64, 64), "grey")
    hooks = {"on_step": lambda step: noises.append(step.preview()) if step.index == 1 else None}
    cells = list(plan(("following", "0,3,5"), ("guidance_scale", "1,2")).run(photo, {"fake": editor}, **hooks))
    assert len(cells) == 6
    assert len({noise.tobytes() for noise in noises}) == 1
    noises.clear()
    list(plan(("seed", "1,2")).run(photo, {"fake": editor}, **hooks))
    assert len({noise.tobytes() for noise in noises}) == 2


def test_a_fast_sweep_is_fast_with_the_models_that_can_be():
    asked, models = replace(ASKED, fast=True), {"fake": FULL_SIZE, "plain": EMBEDDED}
    sweep = Sweep.plan(asked, "fake", [Axis.parse("model", "fake | plain"), Axis.parse("following", "0,5")], models)
    editors = {"fake": fake_editor(), "plain": fake_editor("plain", capabilities=EMBEDDED)}
    rows = [(cell, result, "") for cell, result in sweep.run(Image.new("RGB", (64, 64), "grey"), editors)]
    table = list(csv.DictReader(io.StringIO(to_csv(rows))))
    assert [(row["model"], row["steps"], row["scheduler"], row["guidance_interval"]) for row in table] == [
        ("fake", "2", "dpm-solver", "0.1-0.8"), ("plain", "4", "default", "")] * 2


def test_stopped_in_the_middle_the_cells_made_are_there():
    made = []
    cells = plan(("scores", "0,3,5")).run(Image.new("RGB", (64, 64)), {"fake": fake_editor()}, should_stop=lambda: len(made) >= 2)
    with pytest.raises(EditStopped):
        made.extend(cell.place for cell, _ in cells)
    assert made == [(0, 0, 0), (1, 0, 0)]


def test_sheet_and_table_show_what_was_made():
    sweep = plan(("following", "0,5"), ("preserving", "0,5"))
    cells = sweep.run(Image.new("RGB", (90, 60), "red"), {"fake": fake_editor()})
    rows = [(cell, result, f"{number}.png") for number, (cell, result) in enumerate(cells)]
    sheet = contact_sheet(sweep, {cell.place: result.image for cell, result, _ in rows[:3]}, "make it blue", side=60)
    pixels = np.asarray(sheet, int)
    reddish = ((pixels[..., 0] - pixels[..., 1]) > 60).sum()
    assert abs(reddish - 3 * 60 * 40) < 200, "three cells are there and the fourth is empty"
    table = list(csv.DictReader(io.StringIO(to_csv(rows))))
    assert [(row["following"], row["preserving"], row["file"]) for row in table] == [
        ("0", "0", "0.png"), ("5", "0", "1.png"), ("0", "5", "2.png"), ("5", "5", "3.png")]


def test_a_long_reward_text_leaves_the_sheet_a_size_that_can_be_looked_at():
    texts = " | ".join(f"None; None; {number} the picture is blurry, {'very ' * 40}blurry" for number in range(3))
    for axes in ((("quality", "1, 2"), ("reward_text", texts)), (("reward_text", texts), ("quality", "1, 2")),
                 (("quality", "1"), ("following", "1"), ("reward_text", texts))):
        sheet = contact_sheet(plan(*axes), {(0, 0, 0): Image.new("RGB", (40, 40))}, "make it blue")
        assert max(sheet.size) < 1100


def test_a_table_runs_no_formula_in_a_spreadsheet():
    sweep = Sweep.plan(EditSettings("=1+1"), "fake", [Axis.parse("seed", "1")], {"fake": FULL_SIZE})
    rows = [(cell, result, "a.png") for cell, result in sweep.run(Image.new("RGB", (64, 64)), {"fake": fake_editor()})]
    assert next(csv.DictReader(io.StringIO(to_csv(rows))))["instruction"] == "'=1+1"
