"""Files that version 0.1.0 wrote, kept in `kept_0_1_0/`, are read as they were then. Databases of before are with the studies' tests
(`study/test_upgrade.py`), checkpoints and configs with those of training."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mre.__main__ import main
from mre.models.known import ASSETS
from mre.recipes import read_recipe

KEPT = Path(__file__).parent / "kept_0_1_0"
SCORES = {"reward": (1, 3, 2), "evaluate": (2, 4, 3)}            # what the judge said then


@pytest.fixture
def answers(tmp_path):
    path = tmp_path / "answers.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript((KEPT / "answers.sql").read_text(encoding="utf-8"))
    return path


@pytest.mark.parametrize("task", SCORES)
def test_a_paid_answer_of_before_is_found_again_and_not_paid_twice(answers, tmp_path, monkeypatch, capsys, task):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")                 # nobody answers there
    assert main(["judge", str(KEPT / "original.png"), str(KEPT / "edited.png"), "make it negative", "--judge", "gpt-4o", "--task", task,
                 "--cache", str(answers)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert tuple(told[name]["score"] for name in ("following", "preserving", "quality")) == SCORES[task]
    assert all(told[name]["cached"] for name in ("following", "preserving", "quality"))


def test_a_picture_of_before_is_made_again_from_its_recipe(tmp_path):
    assert main(["edit", str(KEPT / "original.png"), "--recipe", str(KEPT / "made.png"), "--out", str(tmp_path / "again.png")]) == 0
    before, again = read_recipe((KEPT / "made.png").read_bytes()), read_recipe((tmp_path / "again.png").read_bytes())
    assert (again.instruction, again.reward, again.seed) == (before.instruction, before.reward, before.seed)
    pixels = [np.asarray(Image.open(path), dtype=int) for path in (KEPT / "made.png", tmp_path / "again.png")]
    assert np.abs(pixels[0] - pixels[1]).max() <= 1


def test_a_benchmark_gives_the_kept_table_byte_by_byte(tmp_path):
    """The table is kept anew with each version of the scenes (scenes-5), whose pictures are others."""
    tiny = str(ASSETS / "tiny")                  # a folder's model takes instructions as they are: the table is not of the reader
    assert main(["bench", "scenes", "--model", tiny, "--judge", "oracle", "--out", str(tmp_path), "--per-type", "1", "--scores", "5,5,5",
                 "0,0,0", "--tables", "scores"]) == 0
    assert (tmp_path / "tables" / "table_6.csv").read_bytes().replace(tiny.encode(), b"tiny") == (KEPT / "bench_table_6.csv").read_bytes()
