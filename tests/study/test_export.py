"""Exports: stable bytes, safe in spreadsheets, nothing lost on the way out and back."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from collections import Counter

import pandas as pd
import pytest

from mre.errors import MreError, StudyError
from mre.rewards import PERSPECTIVES
from mre.study import records, studies, visit
from mre.study.answers import Answer
from mre.study.coverage import coverage
from mre.study.design import StudyDesign
from mre.study.export import LONG, WIDE, export, export_file
from mre.study.importer import import_file
from mre.study.intake import StudyFaults
from mre.study.simulate import Crowd, simulate
from mre.study.store import Store
from tests.study.conftest import NO_RULES, Clock, database_of_its_own, draw_edits

NASTY = ['=HYPERLINK("http://evil.example")', "'=1", "''", "'", "+1", "-", "@x", 'quo"te, comma;\nline\ttab', "🙂", "=1+1", "＝1", "plain"]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def store(request, tmp_path_factory):
    """A store with a study "s" that has repeats, checks, skips, odd comments and changed answers. Tests only read it."""
    folder = tmp_path_factory.mktemp("scored")
    if request.param == "sqlite":
        opened = Store.open(folder / "data", clock=Clock())
        yield _fill(opened, folder)
        opened.close()
        return
    with database_of_its_own(request.getfixturevalue("postgres")) as url:
        opened = Store.open(folder / "data", url, clock=Clock())
        yield _fill(opened, folder)
        opened.close()


def _fill(store, folder):
    studies.create_from_edits(store, "s", [draw_edits(folder / "e", 9, ("a", "=b", "c"), size=(16, 16))],
                              StudyDesign(per_pair=2, repeats=20, repeat_gap=3, checks=20, seed=9, pairs=(("a", "=b"), ("a", "c")),
                                          **NO_RULES))
    study = studies.start(store, "s")
    people = []
    for _ in range(3):
        token, person = visit.enter(store, study.public_id)
        visit.consent(store, person)
        people.append(visit.visitor(store, token))
    turn, at_work = 0, list(people)
    while at_work:
        for person in list(at_work):
            shown = visit.work(store, person)["current"]
            if not shown:
                at_work.remove(person)
                continue
            store.clock.pass_seconds(7.25)
            turn += 1
            comment = NASTY[turn % len(NASTY)]
            answer = (Answer(f"key-{turn:05d}", 0, skip_reason="other", comment=comment) if turn % 11 == 5 else
                      Answer(f"key-{turn:05d}", 0, ((turn % 6, turn % 3, 3), (5, 0, turn % 4)), comment=comment, active_ms=turn * 333))
            visit.answer(store, person, shown["screen"], answer)
    for person in people:
        last = visit.earlier(store, person, None)
        while last["skip_reason"]:                          # somebody else may have that pair by now
            last = visit.earlier(store, person, last["screen"])
        visit.answer(store, person, last["screen"], Answer("changed-it", 1, ((5, 5, 5), (0, 0, 0))))
    return store


def test_long_form_has_the_promised_columns_one_row_per_score(store, tmp_path):
    export_file(store, "s", tmp_path / "s.csv")
    frame = pd.read_csv(tmp_path / "s.csv")
    assert tuple(frame.columns) == LONG
    assert pd.api.types.is_numeric_dtype(frame["score"])
    assert not frame.duplicated(["study", "annotator", "screen", "shown_as", "perspective"]).any()
    assert frame.groupby(["annotator", "screen"]).size().unique().tolist() == [6]
    assert frame.loc[frame["skip_reason"].notna(), "score"].isna().all()
    assert frame.loc[frame["skip_reason"].isna(), "score"].between(0, 5).all()
    mains = frame[(frame["is_repeat"] == 0) & (frame["is_check"] == 0)]
    assert (mains.groupby(["item", "annotator", "screen"])["method"].nunique() == 2).all()
    scored = mains[mains["skip_reason"].isna() & (mains["perspective"] == "quality")]
    assert scored.groupby(["item"])["annotator"].count().le(2 * 2 * 2).all()        # a skipped pair goes to others, never to more than two
    assert len(scored) == 2 * coverage(store, "s").slots_done
    assert frame["first_shown_at"].str.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z").all()


def test_wide_form_and_jsonl_say_the_same_as_the_long_form(store, tmp_path):
    for form in ("long", "wide", "jsonl"):
        export_file(store, "s", tmp_path / f"s.{form}", form)
    long = pd.read_csv(tmp_path / "s.long", keep_default_na=False)
    wide = pd.read_csv(tmp_path / "s.wide", keep_default_na=False)
    assert tuple(wide.columns) == WIDE
    melted = wide.melt([column for column in WIDE if column not in PERSPECTIVES], list(PERSPECTIVES), "perspective", "score")
    key = ["annotator", "screen", "shown_as", "perspective"]
    pd.testing.assert_frame_equal(long.sort_values(key)[list(LONG)].reset_index(drop=True).astype(str),
                                  melted.sort_values(key)[list(LONG)].reset_index(drop=True).astype(str))
    lines = [json.loads(line) for line in (tmp_path / "s.jsonl").read_text(encoding="utf-8").splitlines()]
    assert len(lines) == len(long)
    assert {line["method"] for line in lines} == {"a", "=b", "c", "original"}
    assert lines[0]["score"] is None or isinstance(lines[0]["score"], int)


@pytest.mark.parametrize("form", ["long", "wide", "jsonl"])
@pytest.mark.parametrize("revisions", [False, True])
def test_an_export_read_back_gives_the_same_bytes_again(store, tmp_path, form, revisions):
    first, again = (tmp_path / f"{name}.{'jsonl' if form == 'jsonl' else 'csv'}" for name in ("first", "again"))
    export_file(store, "s", first, form, revisions=revisions)
    other = Store.open(tmp_path / "other", clock=store.clock)
    import_file(other, "s", first)
    export_file(other, "s", again, form, revisions=revisions)
    other.close()
    assert first.read_bytes() == again.read_bytes()
    export_file(store, "s", again, form, revisions=revisions)
    assert first.read_bytes() == again.read_bytes()


def test_checks_of_one_edit_in_two_pairs_are_read_back(tmp_path):
    """An edit that is compared with two others may be checked in both pairs; the file says which edit, and not which pair."""
    store = Store.open(tmp_path / "data", clock=Clock())
    design = StudyDesign(per_pair=6, repeats=0, checks=90, pairs=(("a", "b"), ("a", "c")), **NO_RULES)
    studies.create_from_edits(store, "s", [draw_edits(tmp_path / "e", 4, ("a", "b", "c"), size=(16, 16))], design)
    simulate(store, "s", Crowd(annotators=6))
    export_file(store, "s-simulated", tmp_path / "first.csv", simulated=True)
    shown: dict[tuple[str, str], tuple[str, set[str]]] = {}
    for row in csv.DictReader((tmp_path / "first.csv").open(encoding="utf-8", newline="")):
        if row["is_check"] == "1":
            shown.setdefault((row["annotator"], row["screen"]), (row["item"], set()))[1].add(row["method"])
    checked = Counter((annotator, item, frozenset(methods)) for (annotator, _), (item, methods) in shown.items())
    assert max(checked.values()) > 1, "nobody was shown two checks of one edit"
    other = Store.open(tmp_path / "other", clock=store.clock)
    import_file(other, "s", tmp_path / "first.csv")
    export_file(other, "s", tmp_path / "again.csv")
    first, again = (pd.read_csv(tmp_path / name).drop(columns="study") for name in ("first.csv", "again.csv"))
    pd.testing.assert_frame_equal(first, again)
    other.close()
    store.close()


def test_no_cell_of_an_export_would_run_as_a_formula(store, tmp_path):
    export_file(store, "s", tmp_path / "s.csv")
    with (tmp_path / "s.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert any("HYPERLINK" in cell for row in rows for cell in row)
    assert not [cell for row in rows for cell in row if cell.startswith(tuple("=+-@\t\r\n＝＋－＠"))]


def test_a_byte_order_mark_comes_on_request_alone(store, tmp_path):
    export_file(store, "s", tmp_path / "plain.csv")
    export_file(store, "s", tmp_path / "bom.csv", bom=True)
    assert (tmp_path / "bom.csv").read_bytes() == b"\xef\xbb\xbf" + (tmp_path / "plain.csv").read_bytes()
    assert b"\r" not in (tmp_path / "plain.csv").read_bytes()


def test_r_reads_numeric_scores_without_options(store, tmp_path):
    program = shutil.which("Rscript")
    if program is None:
        pytest.skip("R is not here")
    export_file(store, "s", tmp_path / "s.csv")
    code = f'd <- read.csv("{tmp_path / "s.csv"}"); cat(nrow(d), is.numeric(d$score), names(d)[1])'
    rows = len(pd.read_csv(tmp_path / "s.csv"))
    assert subprocess.run([program, "-e", code], capture_output=True, text=True, check=True).stdout == f"{rows} TRUE study"


def test_an_export_that_fails_leaves_the_old_file(store, tmp_path, monkeypatch):
    out = tmp_path / "s.csv"
    out.write_text("old")
    with pytest.raises(StudyError, match="no study"):
        export_file(store, "unknown", out)
    assert out.read_text() == "old"
    assert list(tmp_path.glob(".s.csv*")) == []


@pytest.mark.parametrize(("old", "new", "told"), [
    (",3,0,5,", ",7,0,5,", "from 0 to 5, got '7'"), (",3,0,5,", ",2.5,0,5,", "from 0 to 5, got '2.5'"),
    (",3,0,5,", ",,0,5,", "from 0 to 5, got ''"), ("quality", "beauty", "perspective must be one of"), (",2,", ",3,", "shown_as"),
    ("order_seed", "seed", "no column order_seed")])
def test_a_damaged_export_is_refused_with_the_row(store, tmp_path, old, new, told):
    export_file(store, "s", tmp_path / "s.csv")
    lines = (tmp_path / "s.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    number = next(number for number, line in enumerate(lines) if old in line)
    lines[number] = lines[number].replace(old, new, 1)
    (tmp_path / "bad.csv").write_text("".join(lines), encoding="utf-8")
    with pytest.raises(MreError, match=r"bad\.csv") as caught:
        import_file(store, "bad", tmp_path / "bad.csv")
    assert told in "\n".join(getattr(caught.value, "faults", [str(caught.value)]))
    with pytest.raises(StudyError, match="no study"):
        records.find_study(store, "bad")


def test_an_export_twice_over_is_refused_by_its_second_rows(store, tmp_path):
    export_file(store, "s", tmp_path / "s.csv")
    text = (tmp_path / "s.csv").read_text(encoding="utf-8")
    (tmp_path / "twice.csv").write_text(text + text.split("\n", 1)[1], encoding="utf-8")
    with pytest.raises(StudyFaults, match="a second score"):
        import_file(store, "twice", tmp_path / "twice.csv")


def test_excluded_annotators_stay_in_the_file_and_can_be_left_out(store, tmp_path):
    studies.exclude(store, "s", "a002", "asleep")
    everybody = export_file(store, "s", tmp_path / "all.csv")
    fewer = export_file(store, "s", tmp_path / "fewer.csv", without_excluded=True)
    assert set(pd.read_csv(tmp_path / "all.csv")["annotator"]) == {"a001", "a002", "a003"}
    assert set(pd.read_csv(tmp_path / "fewer.csv")["annotator"]) == {"a001", "a003"}
    assert fewer < everybody
    studies.include(store, "s", "a002")
    assert export_file(store, "s", tmp_path / "fewer.csv", without_excluded=True) == everybody


def test_simulated_studies_are_the_same_for_the_same_seed(tmp_path):
    files = []
    for turn in range(2):
        store = Store.open(tmp_path / f"data{turn}", clock=Clock())
        studies.create_from_edits(store, "s", [draw_edits(tmp_path / "e", 10, size=(16, 16))],
                                  StudyDesign(per_pair=3, repeats=10, repeat_gap=4, checks=10, seed=2))
        simulate(store, "s", Crowd(annotators=4, seed=5))
        out = io.StringIO(newline="")
        export(store, "s-simulated", out)
        files.append(out.getvalue())
        store.close()
    assert files[0] == files[1]
    assert len(files[0].splitlines()) > 10 * 3 * 6
