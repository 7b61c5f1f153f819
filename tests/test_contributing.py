"""The worked examples of CONTRIBUTING.md do what it says, as they stand there."""

from __future__ import annotations

import csv
import re

import numpy as np
import pytest
from PIL import Image

from mre.__main__ import main
from mre.benchmark import items
from mre.judge import kinds
from tests.conftest import ROOT
from ui import texts

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
EXAMPLES = dict(re.findall(r"^```python\n# (\w+)\n(.*?)^```", TEXT, flags=re.M | re.S))


@pytest.fixture
def run(monkeypatch):
    """Runs an example; what it adds to a table is gone afterwards."""
    monkeypatch.setattr(kinds, "KINDS", list(kinds.KINDS))
    monkeypatch.setattr(items, "LAYOUTS", list(items.LAYOUTS))
    monkeypatch.setattr(texts, "_known", dict(texts._known))

    def example(name: str) -> dict:
        scope: dict = {}
        exec(compile(EXAMPLES[name], f"CONTRIBUTING.md: {name}", "exec"), scope)
        return scope

    return example


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
