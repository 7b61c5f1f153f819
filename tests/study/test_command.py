"""python -m mre study: a study from edits to a table without a page, and every setting of a study as a flag."""

from __future__ import annotations

import dataclasses
import functools

import pandas as pd

from mre.__main__ import main
from mre.study import records, table
from mre.study.design import StudyDesign
from mre.study.export import LONG
from mre.study.store import Store
from tests.study.conftest import draw_edits

GIVEN = {"title": "Which is better?", "per_pair": 2, "repeats": 10.0, "repeat_gap": 3, "checks": 20.0, "max_screens": 7,
         "lease_minutes": 5.0, "min_seconds": 1.5, "break_every": 20, "seed": 9, "pairs": (("tiny", "tiny-baseline"),),
         "languages": ("zh",), "consent": "Only for tests.", "instructions": "Look twice.", "completion_code": "DONE-42",
         "completion_share": 0.8, "completion_url": "https://service.example/done?cc={code}", "keep_recruiting_id": True,
         "max_pair_skips": 4, "rules_after": 12, "max_skip_share": 0.2, "max_failed_checks": 2, "min_median_seconds": 4.5,
         "serving": "mixed", "allow_flip": False, "allow_phone": False}


def study(data, *words: str) -> None:
    assert not main(["study", *words, "--data", str(data)])


def test_every_setting_of_a_study_has_a_flag(tmp_path):
    flags = []
    for name, value in GIVEN.items():
        flag = name.replace("_", "-")
        flags += ([f"--{flag}" if value else f"--no-{flag}"] if isinstance(value, bool) else
                  [f"--{flag}", ",".join(":".join(part) if isinstance(part, tuple) else part for part in value)
                   if isinstance(value, tuple) else str(value)])
    study(tmp_path, "create", "s", "--edits", str(draw_edits(tmp_path / "e", 3)), *flags)
    store = Store.open(tmp_path)
    assert dataclasses.asdict(records.find_study(store, "s").design) == GIVEN
    store.close()
    assert {field.name for field in dataclasses.fields(StudyDesign)} == set(GIVEN)


def test_from_edits_to_a_table_without_a_page(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(table, "study_table", functools.partial(table.study_table, draws=20))        # of 2,000, which take seconds
    study(tmp_path, "create", "s", "--edits", str(draw_edits(tmp_path / "e", 4)), "--per-pair", "3")
    study(tmp_path, "simulate", "s", "--annotators", "3")
    assert "s-simulated: 3 simulated annotators answered" in capsys.readouterr().out
    study(tmp_path, "list")
    assert capsys.readouterr().out == "s: draft\ns-simulated: closed, simulated\n"
    study(tmp_path, "exclude", "s-simulated", "simulated-002", "--reason", "too fast")
    study(tmp_path, "status", "s-simulated")
    told = capsys.readouterr().out
    assert "following" in told
    assert "s-simulated is simulated: no person took part\n" in told
    assert "order: drawn from the public seed 0, as in every simulated study\n" in told
    study(tmp_path, "export", "s-simulated", "--out", str(tmp_path / "s.csv"))
    frame = pd.read_csv(tmp_path / "s.csv")
    assert tuple(frame.columns) == LONG
    study(tmp_path, "table", "s-simulated", "--out", str(tmp_path / "table"))
    for ending in ("csv", "md", "tex"):
        assert "following" in (tmp_path / f"table.{ending}").read_text(encoding="utf-8").lower()
    study(tmp_path, "import", "again", str(tmp_path / "s.csv"))
    study(tmp_path, "verify", "s-simulated")


def test_plans_that_cannot_be_are_one_line_and_nothing_else(tmp_path, capsys):
    study(tmp_path, "create", "s", "--edits", str(draw_edits(tmp_path / "e", 3)))
    capsys.readouterr()
    for words, said in ((("simulate", "s", "--noise", "-1"), "noise must be from 0 to 5, got -1.0"),
                        (("simulate", "s", "--fatigue", "-2"), "fatigue must be from 0 to 5, got -2.0"),
                        (("power", "--gap", "0"), "gap must be a positive number, got 0.0"),
                        (("power", "--items", "80", "1"), "power needs at least 2 items and 1 annotator, got 1 and 1")):
        assert main(["study", *words, "--data", str(tmp_path)]) == 1
        assert tuple(capsys.readouterr()) == ("", f"error: {said}\n")


def test_an_unknown_study_is_one_line_and_no_success(tmp_path, capsys):
    assert main(["study", "status", "nothing", "--data", str(tmp_path)]) == 1
    assert capsys.readouterr().err.strip().splitlines()[-1].endswith("no study is called 'nothing'; there is none yet")
