"""Preserving as it is measured, as a judge among judges."""

import csv
import json

import numpy as np
import pytest
from PIL import Image

from mre.__main__ import main
from mre.judge.kinds import make_judge
from mre.judge.verdicts import Ask, score_one
from tests.metrics.drawn import cuts, photograph, with_patch

BOX = (100, 60, 180, 130)


def score(original: Image.Image, edited: Image.Image, task: str = "evaluate"):
    return score_one(make_judge("measured"), Ask("one", "add a patch", original, edited), task)["preserving"]


def test_an_edit_that_keeps_the_rest_has_a_5_and_nothing_wrong():
    original, _ = cuts(1)
    verdict = score(original, with_patch(original, 2, BOX), "reward")
    assert (verdict.score, verdict.text, verdict.accepted, verdict.cost_usd) == (5, "None", True, 0)


@pytest.mark.parametrize(("done", "said"), [
    ({"dx": 6.0, "dy": 8.0}, "moved by 10.0 pixels"), ({"zoom": 1.06}, "enlarged by 6.0 %"), ({"zoom": 0.95}, "reduced by 5.0 %"),
    ({"cast": (30, -20, 0)}, "drifted by +30, -20, +0 levels")])
def test_what_was_not_preserved_is_said_with_its_size(done, said):
    original, moved = cuts(1, **done)
    verdict = score(original, with_patch(moved, 2, BOX))
    assert verdict.score < 4.75
    assert said in verdict.text


def test_the_score_falls_with_a_cast_by_a_point_for_each_10_7_levels():
    """A cast of c levels on all three channels is a mean difference of c."""
    scores = [score(*cuts(3, cast=(cast,) * 3)).score for cast in (0, 10, 20, 40)]
    assert scores == pytest.approx([5 - cast / 10.7 for cast in (0, 10, 20, 40)], abs=0.1)


def test_pictures_with_nothing_in_common_are_a_failed_answer():
    verdict = score(cuts(1)[0], photograph(9).resize((300, 240)))
    assert verdict.score is None
    assert "not measurable" in verdict.error


def test_the_command_prints_its_verdict(tmp_path, capsys):
    original, moved = cuts(4, 3.0, 4.0)
    original.save(tmp_path / "photo.png")
    moved.save(tmp_path / "edited.png")
    command = ["judge", tmp_path / "photo.png", tmp_path / "edited.png", "move it", "--judge", "measured", "--cache", tmp_path / "a.sqlite"]
    assert main([*map(str, command)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["judge"] == "measured"
    assert "moved by 5.0 pixels" in said["preserving"]["text"]
    assert "following" not in said


def test_a_benchmark_and_a_comparison_with_people_take_it_like_any_judge(tmp_path, capsys):
    """People who score by the cast agree with it perfectly in order."""
    (tmp_path / "set").mkdir()
    for seed in (1, 2):
        cuts(seed)[0].save(tmp_path / "set" / f"photo{seed}.png")
    (tmp_path / "set" / "items.csv").write_text("item,image,instruction,edit_type\n" + "".join(
        f"photo{seed},photo{seed}.png,make it blue,local\n" for seed in (1, 2)))
    flags = ["bench", tmp_path / "set", "--model", "tiny-untrained", "--judge", "measured", "--out", tmp_path / "out", "--steps", 1,
             "--cache", tmp_path / "answers.sqlite"]
    assert main([*map(str, flags)]) in (0, 1)                       # what an untrained model makes may have too little in common
    with (tmp_path / "out" / "scores.csv").open(newline="") as file:
        assert {(row["judge"], row["perspective"]) for row in csv.DictReader(file)} == {("measured", "preserving")}
    rows = ["item,method,judge,judge_version,repeat,perspective,score,accepted,text,raw,seconds,cost_usd"]
    people = ["item,method,annotator,perspective,score,scale_min,scale_max"]
    for number, cast in enumerate((0, 6, 11, 16, 22, 30)):
        verdict = score(*cuts(number + 1, cast=(cast,) * 3))
        rows.append(f"i{number},m,measured,{verdict.judge_version},0,preserving,{verdict.score},,,,0,0")
        people.append(f"i{number},m,ann,preserving,{max(0, 5 - cast // 5)},0,5")
    (tmp_path / "scores.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "people.csv").write_text("\n".join(people) + "\n")
    capsys.readouterr()
    assert main(["compare", str(tmp_path / "people.csv"), str(tmp_path / "scores.csv"), "--bootstrap", "0", "--out",
                 str(tmp_path / "comparison")]) == 0
    with (tmp_path / "comparison" / "agreement.csv").open(newline="") as file:
        figures = {(row["level"], row["group"], row["statistic"]): row["value"] for row in csv.DictReader(file)}
    assert float(figures["item", "all", "spearman"]) == pytest.approx(1)


def test_answers_are_kept_for_the_same_pictures(tmp_path):
    original, moved = cuts(5, 2.0)
    for cached in (False, True):
        judge = make_judge("measured", cache=tmp_path / "kept.sqlite")
        verdict = score_one(judge, Ask("one", "x", original, moved), "evaluate")["preserving"]
        assert verdict.cached == cached
    assert np.isfinite(verdict.score)
