"""`python -m mre bench`, from models to tables: on scenes, on photos, and with flags that make no sense."""

import csv
import subprocess
import sys

import numpy as np
import pytest

from mre.editors import pipeline_info
from mre.models import zoo
from tests.benchmark.conftest import TINY, bench
from tests.conftest import ROOT
from tests.judge.fake_openai import KEY, FakeOpenAI


def test_bench_scenes_edits_judges_and_prints_every_table_and_keeps_what_the_sliders_do(tmp_path, capsys):
    model = tmp_path / TINY
    zoo.load_pipeline(TINY, "cpu").save_pretrained(model)
    flags = ["scenes", "--model", model, "--write-effects", "--judge", "oracle", "--out", tmp_path / "out", "--per-type", 1,
             "--scores", "5,5,5", "0,0,0", "--tables", "scores", "data", "sliders", "counts", "--probe-per-type", 1,
             "--size", 64, "--cache", tmp_path / "answers.sqlite", "--workers", 1]
    assert bench(*flags) == 0
    printed = capsys.readouterr().out
    assert "Scores on held-out scenes" in printed
    assert "One slider at a time" in printed
    rows = list(csv.DictReader((tmp_path / "out" / "scores.csv").open(newline="")))
    assert len(rows) == 3 * 7 * 6          # perspectives x scenes x (5/5/5, 0/0/0, training data, three sliders)
    spoiled = [float(row["score"]) for row in rows if (row["method"], row["perspective"]) == ("training-data", "quality")]
    table = {row["method"]: row for row in csv.DictReader((tmp_path / "out" / "tables" / "scores.csv").open(newline=""))}
    assert float(table["training-data"]["quality"]) == pytest.approx(np.mean(spoiled), abs=1e-5)
    assert (tmp_path / "out" / "sheets" / "edits.png").exists()
    scores = {(row["method"], row["item"], row["perspective"]): float(row["score"]) for row in rows}
    effects = pipeline_info.describe(str(model)).effects
    assert (effects.judge, effects.scenes) == ("oracle", 7)
    change = np.mean([scores[f"{TINY}@5-0-5", item, "quality"] - scores[f"{TINY}@5-5-5", item, "quality"]
                      for item in {item for method, item, _ in scores if method == f"{TINY}@5-0-5"}])
    assert effects.changes["preserving"]["quality"][0] == pytest.approx(change, abs=6e-4)
    pictures = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*/*.png") if path.parent.name != "sheets"}
    assert bench(*flags) == 0
    assert {path: path.stat().st_mtime_ns for path in pictures} == pictures, "a second run edits nothing again"
    assert capsys.readouterr().out == printed


def test_bench_on_photos_counts_what_a_judge_does_not_answer(tmp_path, real_edit, monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with FakeOpenAI(rates={"refusal": 0.6}) as server:
        flags = [real_edit, "--model", TINY, "--judge", "gpt-4o", "--base-url", server.url, "--out", tmp_path / "out", "--steps", 1,
                 "--cache", tmp_path / "answers.sqlite", "--yes", "--repeat", 2, "--picture-size", 64]
        code = bench(*flags)
    printed = capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "out" / "scores.csv").open(newline="")))
    failed = [row for row in rows if not row["score"]]
    assert len(rows) == 14 * 3 * 2
    assert 0 < len(failed) < len(rows)
    assert code == 1
    assert len(list(csv.DictReader((tmp_path / "out" / "failures.csv").open(newline="")))) == len(failed)
    assert all("can't help" in row["raw"] for row in failed)
    following = [float(row["score"]) for row in rows if row["perspective"] == "following" and row["score"]]
    cell = next(csv.DictReader((tmp_path / "out" / "tables" / "table_1.csv").open(newline="")))
    assert float(cell["following score"]) == pytest.approx(np.mean(following), abs=1e-5)
    assert (int(cell["following score n"]), int(cell["following score missing"])) == (len(following), 28 - len(following))
    assert "Stability of the judge over 2 repeats" in printed
    assert "(form of Table 1)" in printed


@pytest.mark.parametrize(("flags", "said"), [
    (["nowhere", "--judge", "gpt-4o"], "no such benchmark"),
    (["nowhere"], "the oracle judges synthetic scenes only"),
    (["scenes", "--per-type", 0], "--per-type"),
    (["scenes", "--scores", "5,5"], "scores must be three"),
    (["scenes", "--repeat", 0], "--repeat"),
    (["scenes", "--photos", "nowhere"], "no such"),
    (["scenes", "--model", TINY, TINY], "named twice")])
def test_bad_flags_are_one_clear_line(tmp_path, capsys, monkeypatch, flags, said):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    model = [] if "--model" in flags else ["--model", TINY]
    assert bench(*flags, *model, "--out", tmp_path / "out", "--cache", tmp_path / "answers.sqlite") == 1
    error = capsys.readouterr().err.strip().splitlines()
    assert error[-1].startswith("error: ")
    assert said in error[-1]


def test_help_is_there_without_loading_torch():
    code = ("import sys\nfrom mre.__main__ import main\n"
            "try: main(['bench', '--help'])\nexcept SystemExit: pass\nassert 'torch' not in sys.modules")
    shown = subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT, capture_output=True, text=True).stdout
    assert "example:" in shown
    assert "--per-type" in shown
