"""Judges that saw two edits at once, by their recorded replies: what is no verdict is missing, and the order of showing is looked at."""

import json

import pytest

from mre.__main__ import main
from mre.benchmark.formats.choices import Choice, Edit, pairs_of_ranks
from mre.benchmark.formats.judge_sets import TIES, VOTES, open_judge_set
from mre.benchmark.formats.verdicts import VERDICTS, label_of
from mre.benchmark.judge_tables import verdict_cells
from tests.benchmark.test_judge_sets import golden

VALUE, ORDERED, GROUPS, BOTH, CONSISTENT, FIRST, AS_WRONG, FOUR_CLASSES = range(8)


def matches(cell, figure: dict) -> None:
    correct = figure["correct"]
    assert (cell.value, cell.n) == (pytest.approx(correct["value"], abs=figure["tolerance"]), correct["n"])
    if "missing" in correct:
        assert cell.missing == correct["missing"]


@pytest.mark.parametrize("judge", ["judge-alder", "judge-birch"])
def test_mmrb2s_predictions_are_counted_over_both_orders(shared, judge):
    data = shared / "bench_formats" / "mmrb2" / "input"
    cells = verdict_cells(open_judge_set("mmrb2", data).choices, VERDICTS["mmrb2"](data / "outputs" / f"task2_edit_{judge}.json"))
    figures = golden(shared, "mmrb2")
    for place, name in ((VALUE, "accuracy"), (BOTH, "accuracy_both_orders"), (CONSISTENT, "consistency"), (FIRST, "first_position"),
                        (AS_WRONG, "accuracy_missing_as_wrong")):
        matches(cells[place], figures[f"mmrb2/{judge}/{name}"])


@pytest.mark.parametrize("judge", ["judge-alder", "judge-birch"])
def test_genai_benchs_replies_are_read_by_their_last_label(shared, judge):
    data = shared / "bench_formats" / "genai_bench" / "input"
    found = VERDICTS["genai-bench"](data / "results" / "image_edition" / judge / "pairwise.jsonl")
    cells = verdict_cells(open_judge_set("genai-bench", data / "image_edition").choices, found)
    figures = golden(shared, "genai_bench")
    matches(cells[VALUE], figures[f"genai/{judge}/accuracy_three_classes"])
    matches(cells[ORDERED], figures[f"genai/{judge}/accuracy_without_ties"])
    matches(cells[FOUR_CLASSES], figures[f"genai/{judge}/accuracy"])


def test_of_four_classes_a_tie_is_right_by_its_kind_and_one_of_unsaid_kind_for_both(tmp_path):
    votes = ["leftvote", "tievote", "tievote", "bothbad_vote", "bothbad_vote", "rightvote"]
    said = ["[[A>B]]", "[[A=B=Good]]", "[[A=B=Bad]]", "[[A=B]]", "[[A=B=Good]]", "[[A=B=Bad]]"]
    choices = [Choice(f"x#{row}", "x", b"x", f"p{row}", (Edit("a", b"x"), Edit("b", b"x")), pairs_of_ranks(VOTES[vote]),
                      tie=TIES.get(vote, "")) for row, vote in enumerate(votes)]
    path = tmp_path / "pairwise.jsonl"
    path.write_text("".join(json.dumps({"idx": row, "response": reply}) + "\n" for row, reply in enumerate(said)))
    cells = verdict_cells(choices, VERDICTS["genai-bench"](path))
    assert (cells[FOUR_CLASSES].value, cells[FOUR_CLASSES].n, cells[VALUE].value) == (pytest.approx(3 / 6), 6, pytest.approx(5 / 6))


def test_tigers_replies_are_counted_by_pair_and_by_group(shared, tmp_path):
    data = shared / "bench_formats" / "editreward_bench_tiger" / "input"
    found, figures = VERDICTS["editreward-bench"](data / "replies.jsonl"), golden(shared, "editreward_bench_tiger")
    for ways in (2, 3, 4):
        folder = tmp_path / f"{ways}"
        folder.mkdir()
        (folder / f"{ways}pair").symlink_to(data / f"{ways}pair")
        judge_set = open_judge_set("editreward-bench", folder)
        cells = verdict_cells(judge_set.choices, found)
        figure = figures[f"tiger/text/{ways}pair/accuracy"]
        assert (cells[VALUE].value, cells[VALUE].n) == (pytest.approx(figure["correct"]["value"], abs=1e-9), figure["correct"]["n"])
        assert cells[VALUE].missing + len(judge_set.refused) == figure["correct"]["missing"]
        if ways > 2:
            matches(cells[GROUPS], figures[f"tiger/text/{ways}pair/group_accuracy"])


@pytest.mark.parametrize(("reply", "verdict"), [
    ("[[A>B]] or [[B>A]]? Final verdict: [[B>A]]", -1), ("[[a > b]]", 1), ("[[A=B=Good]]", 0), ("[[Left>Right]]", 1), ("\\boxed{B>A}", -1),
    ("[[tie]]", None), ("[[A>", None), ("", None), (None, None), ("I'm sorry, but I can't assist with that request.", None),
    ("model B is better", None)])
def test_a_label_is_read_in_its_forms_and_nothing_is_guessed(reply, verdict):
    assert label_of(reply) == verdict
    assert label_of("All in all, model B is better.", words=True) == -1


def test_the_command_puts_judges_and_recorded_verdicts_side_by_side_and_goes_on(shared, tmp_path, capsys):
    data = shared / "bench_formats" / "mmrb2" / "input"
    given = ["bench", "judges", "--set", "mmrb2", "--data", str(data), "--judge", "measured", "--out", str(tmp_path / "out"),
             "--cache", str(tmp_path / "a.sqlite"), "--verdicts", f"alder={data / 'outputs' / 'task2_edit_judge-alder.json'}"]
    code = main(given)
    out = capsys.readouterr().out
    assert "alder" in out
    assert "measured" in out
    table = (tmp_path / "out" / "tables" / "judges.csv").read_text().splitlines()
    assert table[0].startswith("judge,by,people's order")
    assert {line.split(",")[1] for line in table[1:]} == {"overall", "preserving"}
    scored = (tmp_path / "out" / "scores" / "measured.csv").read_text()
    failed = tmp_path / "out" / "scores" / "measured.failed.jsonl"
    assert len(scored.splitlines()) - 1 + (len(failed.read_text().splitlines()) if failed.exists() else 0) == 46, "one pair lacks a picture"
    assert code == int(failed.exists())
    assert main(given) == code
    assert (tmp_path / "out" / "scores" / "measured.csv").read_text() == scored


@pytest.mark.parametrize(("flags", "said"), [
    ((), "give judges with --judge"),
    (("--judge", "oracle"), "judges synthetic scenes only"),
    (("--verdicts", "x"), "--verdicts must look like NAME=FILE"),
    (("--verdicts", "x=nowhere.json"), "nowhere.json is missing"),
    (("--set", "imagenhub", "--verdicts", "x=y"), "--verdicts are read for mmrb2"),
    (("--judge", "measured", "--data", "nowhere"), "nowhere: no such folder"),
    (("--judge", "measured", "--out", "taken"), "holds scores of another set, 'other'")])
def test_bad_input_is_one_clear_line(shared, tmp_path, capsys, monkeypatch, flags, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "set.json").write_text(json.dumps({"set": "other"}))
    data = shared / "bench_formats" / "mmrb2" / "input"
    assert main(["bench", "judges", "--set", "mmrb2", "--data", str(data), "--out", str(tmp_path / "out"), *flags]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1
