"""The worked examples of CONTRIBUTING.md do what it says, as they stand there."""

from __future__ import annotations

import csv
import io
import re

import numpy as np
import pytest
from PIL import Image

from mre.__main__ import main
from mre.benchmark import items
from mre.editors import kinds as editor_kinds
from mre.judge import kinds
from tests.conftest import ROOT
from ui import texts
from ui.app import build_app
from ui.studio import StudioSettings

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"^```python\n# (\w+)\n(.*?)^```", TEXT, flags=re.M | re.S))


@pytest.fixture
def run(monkeypatch):
    """Runs an example; what it adds to a table is gone afterwards."""
    monkeypatch.setattr(kinds, "KINDS", list(kinds.KINDS))
    monkeypatch.setattr(editor_kinds, "KINDS", list(editor_kinds.KINDS))
    monkeypatch.setattr(items, "LAYOUTS", list(items.LAYOUTS))
    monkeypatch.setattr(texts, "_known", dict(texts._known))

    def example(name: str) -> dict:
        scope: dict = {}
        exec(compile(EXAMPLES[name], f"CONTRIBUTING.md: {name}", "exec"), scope)
        return scope

    return example


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.png"
    pixels = np.random.default_rng(0).integers(0, 255, (48, 72, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def is_inverse(made: Image.Image, photo: Image.Image) -> bool:
    return np.array_equal(np.asarray(made.convert("RGB"), int), 255 - np.asarray(photo.convert("RGB"), int))


def test_the_editor_edits_from_the_command_line_and_again_from_its_recipe(run, photo, tmp_path, capsys):
    run("editor")
    out = tmp_path / "out.png"
    assert main(["edit", str(photo), "invert it", "--model", "invert", "--out", str(out)]) == 0
    assert is_inverse(Image.open(out), Image.open(photo))
    assert main(["edit", str(photo), "--model", "invert", "--recipe", str(out), "--out", str(tmp_path / "again.png")]) == 0
    assert (tmp_path / "again.png").read_bytes() == out.read_bytes()


@pytest.mark.parametrize("flags", [
    ("--steps", "5"), ("--seed", "7"), ("--guidance-scale", "4"), ("--image-guidance-scale", "2"), ("--scheduler", "ddim"),
    ("--scores", "5,5,0"), ("--reward-text", "None; blurry; None"), ("--negative-scores", "0,0,0")])
def test_what_the_editor_lacks_is_refused_in_one_line_and_nothing_is_written(run, photo, tmp_path, capsys, flags):
    run("editor")
    assert main(["edit", str(photo), "invert it", "--model", "invert", *flags, "--out", str(tmp_path / "out.png")]) == 1
    assert re.fullmatch(rf"error: {flags[0]}[^\n]*: the model invert [^\n]*; leave it out\n", capsys.readouterr().err)
    assert not (tmp_path / "out.png").exists()


@pytest.mark.parametrize(("flags", "message"), [
    (("--steps", "5"), "--steps 5: the model invert always works in its own number of steps"),
    (("--guidance-scale", "4"), "--guidance-scale 4: the model invert was not made for guidance"),
    (("--scores", "5,5,5", "0,0,0"), "--scores 0,0,0: the model invert reads no scores")])
def test_the_editor_makes_a_benchmark_and_what_it_lacks_is_refused(run, tmp_path, capsys, flags, message):
    run("editor")
    bench = ["bench", "scenes", "--model", "invert", "--per-type", "1", "--tables", "scores", "--edits-only", "--size", "64", "--out",
             str(tmp_path / "out")]
    assert main([*bench, *flags]) == 1
    assert message in capsys.readouterr().err
    assert main(bench) == 0
    with (tmp_path / "out" / "edits.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 7
    assert all(is_inverse(Image.open(tmp_path / "out" / row["edited"]), Image.open(tmp_path / "out" / row["original"])) for row in rows)


def test_the_editor_is_an_axis_of_a_sweep_beside_a_model_that_has_more_controls(run, photo):
    from mre.editors.settings import EditSettings
    from mre.sweep import Axis, Sweep, SweepError
    from tests.fake_editing import fake_editor

    run("editor")
    editors = {"invert": editor_kinds.make_editor("invert"), "fake": fake_editor()}
    models = {name: editor.capabilities for name, editor in editors.items()}
    axes = [Axis.parse("model", "invert|fake"), Axis.parse("scores", "0,5")]
    sweep = Sweep.plan(EditSettings("invert it", steps=2), "fake", axes, models)
    with Image.open(photo) as opened:
        picture = opened.convert("RGB")
    made = [(cell.model, result) for cell, result in sweep.run(picture, editors)]
    assert [model for model, _ in made] == ["invert", "fake", "invert", "fake"]
    assert is_inverse(made[0][1].image, picture)
    with pytest.raises(SweepError, match="steps cannot vary: the model invert always works in its own number of steps"):
        Sweep.plan(EditSettings("invert it"), "invert", [Axis.parse("steps", "1,2")], models)


def test_the_api_edits_with_the_editor_and_tells_what_it_has(run, photo, tmp_path):
    import httpx

    from tests.ui.serving import served
    from tests.ui.test_edit_api import call, edit, fetched

    run("editor")
    app = build_app(StudioSettings(models=("invert",), data=tmp_path / "data"))
    with served(app) as url, httpx.Client(base_url=url, timeout=60) as client:
        outcome, answer = edit(client, photo.read_bytes(), "invert it", model="invert")
        assert outcome == "complete", answer
        assert is_inverse(Image.open(io.BytesIO(fetched(client, answer))), Image.open(photo))
        told = call(client, "models", [])[1][0]
        assert [(one["model"], one["capabilities"]["steps"], one["capabilities"]["reward"]) for one in told] == [("invert", None, False)]
        outcome, answer = edit(client, photo.read_bytes(), "invert it", seed=7, model="invert")
        assert (outcome, "seed 7: the model invert" in str(answer)) == ("error", True)


def test_the_page_edits_with_the_editor_and_shows_no_control_that_it_lacks(run, photo, tmp_path, chromium):
    from tests.ui.serving import browser, served

    run("editor")
    app = build_app(StudioSettings(models=("invert",), data=tmp_path / "data"))
    with served(app) as url, browser(chromium) as chrome:
        page = chrome.new_page(locale="en-US")
        page.set_default_timeout(60_000)
        page.goto(url)
        page.set_input_files("#photo input[type=file]", str(photo))
        page.wait_for_selector("#seen >> text=72 × 48")
        page.fill("#instruction textarea, #instruction input", "invert it")
        page.click("#run")
        page.wait_for_selector("#look .mre-viewer")
        page.wait_for_selector("#status >> text=Inverted colours")
        page.click("#more button.label-wrap, #more > button")
        page.wait_for_selector("#way-back")
        lacking = ["#rewards", "#reward-texts", "#steps", "#seed", "#guidance-scale", "#image-guidance-scale", "#scheduler"]
        assert [selector for selector in lacking if page.is_visible(selector)] == []
        with page.expect_download() as arriving:
            page.click("#download")
        assert is_inverse(Image.open(arriving.value.path()), Image.open(photo))


def test_the_judge_scores_a_benchmark(run, tmp_path, capsys):
    run("judge")
    flags = ["bench", "scenes", "--model", "tiny-untrained", "--per-type", "1", "--steps", "1", "--tables", "scores"]
    assert main([*flags, "--judge", "three", "--out", str(tmp_path / "out"), "--cache", str(tmp_path / "answers.sqlite")]) == 0
    with (tmp_path / "out" / "scores.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert {(row["judge"], float(row["score"])) for row in rows} == {("three", 3.0)}
    assert len(rows) % 21 == 0
    assert "3.00" in capsys.readouterr().out


def test_the_layout_is_read_by_the_benchmark(run, tmp_path):
    for number in range(2):
        pixels = np.random.default_rng(number).integers(0, 255, (64, 64, 3), dtype=np.uint8)
        (tmp_path / "set").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "set" / f"photo{number}.png")
        (tmp_path / "set" / f"photo{number}.txt").write_text("make it red\n")
    run("benchmark")
    flags = ["bench", str(tmp_path / "set"), "--model", "tiny-untrained", "--steps", "1", "--edits-only", "--out", str(tmp_path / "out")]
    assert main(flags) == 0
    with (tmp_path / "out" / "edits.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert sorted((row["item"], row["instruction"]) for row in rows) == [("photo0", "make it red"), ("photo1", "make it red")]
    assert all((tmp_path / "out" / row["edited"]).is_file() for row in rows)


def test_the_texts_are_there_in_both_languages(run):
    scope = run("text")
    assert scope["sentence"] == "已保存 3 张图片。"
    assert "example_title" in str(scope["label"])
