"""Judges by public sets: each figure as worked out from files in the sets' own layouts, with what people do to such files."""

import dataclasses
import json
import math

import pytest

from mre.benchmark.answers import Answer
from mre.benchmark.formats.choices import BAD, GOOD, Choice, Edit
from mre.benchmark.formats.judge_sets import SETS, open_judge_set
from mre.benchmark.judge_figures import (
    Pair,
    accuracy_of_four,
    accuracy_with_ties,
    accuracy_without_ties,
    best_threshold,
    correlation,
    fisher_mean,
    group_accuracy,
    pairs_of,
    rho_by_method,
    scored,
)
from mre.benchmark.scores import write_scores
from mre.errors import DataError


def golden(shared, name: str) -> dict[str, dict]:
    figures = json.loads((shared / "bench_formats" / name / "golden.json").read_text())["figures"]
    return {one["id"]: one for one in figures}


def recorded(path) -> dict[str, float]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return {row["path"]: row["score"] for row in rows if row["score"] is not None}


def same(cell, figure: dict) -> None:
    correct = figure["correct"]
    assert cell.value == pytest.approx(correct["value"], abs=figure["tolerance"])
    assert cell.n == correct.get("n_pairs" if "n_pairs" in correct and "n" not in correct else "n")
    if "missing" in correct:
        assert cell.missing == correct["missing"]


@pytest.mark.parametrize(("folder", "name", "scores", "figure"), [
    ("genai_bench", "genai-bench", "genai_scores.jsonl", "genai/scores"),
    ("aurora_bench", "aurora-pairs", "aurora_pair_scores.jsonl", "aurora_pair/scores")])
def test_pairs_are_counted_with_and_without_ties(shared, folder, name, scores, figure):
    data = shared / "bench_formats" / folder / "input"
    found, known, right = open_judge_set(name, data), recorded(data / scores), golden(shared, folder)
    same(accuracy_with_ties(found.choices, known, fitted=True), right[f"{figure}/accuracy_with_ties"])
    same(accuracy_without_ties(found.choices, known), right[f"{figure}/accuracy_without_ties"])
    assert best_threshold(pairs_of(found.choices, known)) == right[f"{figure}/accuracy_with_ties"]["correct"]["epsilon"]


@pytest.mark.parametrize(("name", "scores"), [("aurora", "aurora_scores.jsonl"), ("imagenhub", "imagenhub_scores.jsonl")])
def test_correlations_are_of_methods_and_averaged_by_fisher(shared, name, scores):
    data = shared / "bench_formats" / "aurora_bench" / "input"
    found, known, right = open_judge_set(name, data), recorded(data / scores), golden(shared, "aurora_bench")
    rhos = rho_by_method(found.ratings, known)
    for method, rho in rhos.items():
        value = right[f"{name}/spearman/{method}"]["correct"]["value"]
        assert math.isnan(rho) if value is None else rho == pytest.approx(value, abs=1e-9)
    assert len(rhos) == 5
    plain = correlation(found.ratings, known, fisher=False)
    assert plain.value == pytest.approx(right[f"{name}/spearman/mean"]["correct"]["value"], abs=1e-9)
    cell = correlation(found.ratings, known)
    assert cell.value == pytest.approx(right[f"{name}/spearman/fisher"]["correct"]["value"], abs=1e-9)
    assert cell.low < cell.value < cell.high
    assert (cell.n, cell.missing) == (39, 1)


def test_a_correlation_of_one_does_not_replace_the_others():
    assert 0.2 < fisher_mean([1.0, 0.1, 0.2]) < 1
    assert fisher_mean([1.0, -1.0]) == pytest.approx(0)


def test_both_good_is_told_from_both_bad_by_a_level_that_the_other_half_of_the_photos_chose():
    """People call two alike edits good from 3 on; of the pairs that a judge scores so, all four classes are right."""
    choices, scores = [], {}
    for number in range(40):
        level, gap = (1.0, 1.5, 3.5, 4.0)[number % 4], (0.0, 0.1, 2.0, -2.0)[number // 4 % 4]
        people = 0 if abs(gap) < 1 else 1 if gap > 0 else -1
        edits = tuple(Edit(f"{number}{side}", b"x") for side in "ab")
        scores |= {edits[0].name: level + gap / 2, edits[1].name: level - gap / 2}
        choices.append(Choice(str(number), "x", b"x", str(number), edits, ((0, 1, people),),
                              tie="" if people else GOOD if level > 3 else BAD))
    cell = accuracy_of_four(choices, scores)
    assert (cell.value, cell.n, cell.missing) == (1.0, 40, 0)
    turned = [dataclasses.replace(one, tie={GOOD: BAD, BAD: GOOD, "": ""}[one.tie]) for one in choices]
    assert 16 / 40 <= accuracy_of_four(turned, scores).value < 0.9, "of the 24 ties no level has all"
    del scores["0a"]
    assert (accuracy_of_four(choices, scores).n, accuracy_of_four(choices, scores).missing) == (39, 1)


def test_rankings_of_two_three_and_four_edits_are_right_as_a_whole(shared):
    data = shared / "bench_formats" / "editreward_bench_tiger" / "input"
    found, known = open_judge_set("editreward-bench", data), recorded(data / "scores.jsonl")
    right = golden(shared, "editreward_bench_tiger")
    for ways in (2, 3, 4):
        several = [choice for choice in found.choices if len(choice.edits) == ways]
        same(accuracy_without_ties(several, known), right[f"tiger/scores/{ways}pair/accuracy_without_ties"])
        same(group_accuracy(found.choices, known, ways), right[f"tiger/scores/{ways}pair/strict_ranking"])
    same(accuracy_with_ties([one for one in found.choices if len(one.edits) == 2], known, fitted=True),
         right["tiger/scores/2pair/accuracy_with_ties"])
    overall = right["tiger/scores/overall/accuracy_with_ties"]
    assert accuracy_with_ties(found.choices, known, fitted=True).value == pytest.approx(overall["correct"]["value"], abs=1e-9)
    assert best_threshold(pairs_of(found.choices, known)) == overall["correct"]["epsilon"]


@pytest.mark.parametrize("judge", ["judge-alder", "judge-birch"])
def test_editscores_pairs_are_right_where_the_first_scores_strictly_higher(shared, judge):
    data = shared / "bench_formats" / "editscore" / "input"
    found, right = open_judge_set("editscore-bench", data), golden(shared, "editscore")
    aspects = {"prompt_following": "following", "consistency": "preserving", "overall": "overall"}
    for dimension, aspect in aspects.items():
        tasks = {}
        for choice in found.choices:
            if choice.aspect == aspect:
                tasks.setdefault(choice.task, []).append(choice)
        values = []
        for task, choices in tasks.items():
            known = recorded_pairs(data / "results" / judge / "qwen25vl" / task / f"{dimension}.jsonl", choices)
            cell = accuracy_without_ties(choices, known)
            figure = right[f"erb_editscore/{judge}/{dimension}/{task}"]
            same(cell, figure)
            values.append(cell.value)
        assert sum(values) / len(values) == pytest.approx(right[f"erb_editscore/{judge}/{dimension}/average"]["correct"]["value"], abs=6e-4)


def recorded_pairs(path, choices) -> dict[str, float]:
    """Readable scores, 0 to 10, of a result file: what stands twice with the same scores counts once, with others not at all."""
    rows: dict[tuple, list] = {}
    for line in path.read_text().splitlines():
        row = json.loads(line)
        rows.setdefault(tuple(row["key"]), []).append(row["score"])
    known = {}
    for choice in choices:
        keys = tuple(edit.name.rpartition("/")[2] for edit in choice.edits)
        found = rows.get(keys, [])
        if found and all(score == found[0] for score in found) and isinstance(found[0], list):
            known |= {edit.name: score for edit, score in zip(choice.edits, found[0], strict=True)
                      if isinstance(score, int | float) and 0 <= score <= 10}
    return known


@pytest.mark.parametrize(("folder", "name", "pairs", "edits"), [
    ("genai_bench/input/image_edition", "genai-bench", 28, 56), ("editreward_bench_tiger/input", "editreward-bench", None, None),
    ("mmrb2/input", "mmrb2", 24, 48)])
def test_layouts_with_pictures_inside_are_read(shared, folder, name, pairs, edits, tmp_path):
    found = open_judge_set(name, shared / "bench_formats" / folder)
    assert not pairs or (len(found.choices), sum(len(one.edits) for one in found.choices)) == (pairs, edits)
    names = [edit.name for choice in found.choices for edit in choice.edits]
    assert len(scored(found.choices, dict.fromkeys(names, 0.0))) >= len(found.choices) - 2


def test_tigers_parquet_rows_are_put_together_to_groups_and_contradictions_are_refused(shared, tmp_path):
    for ways in (2, 3, 4):
        (tmp_path / f"{ways}pair").symlink_to(shared / "bench_formats" / "editreward_bench_tiger" / "input" / f"{ways}pair")
    found = open_judge_set("editreward-bench", tmp_path)
    of = {ways: [len(choice.pairs) for choice in found.choices if len(choice.edits) == ways] for ways in (2, 3, 4)}
    assert of == {2: [1] * 17, 3: [3] * 6, 4: [6] * 4}
    assert list(found.refused.values()) == ["conflict"]


def test_a_threshold_is_one_that_exists_and_never_a_tie_is_one_of_them():
    """Two lists for which the published count gives what no threshold gives."""
    assert best_threshold([Pair("a", 1, 0.5)]) is None
    both = [Pair("a", 0, 0.5), Pair("a", 1, 0.5)]
    assert [sum(pair.is_right(threshold) for pair in both) for threshold in (None, 0.5)] == [1, 1]
    assert not Pair("a", 0, 0.0).is_right(None), "equal scores are no verdict where ties are never said"


@pytest.mark.parametrize(("name", "file", "content", "said"), [
    ("aurora", "valid_aurora_human_ratings_pointwise.json", [{"prompt": "x"}], "entry 0: has no input"),
    ("aurora", "other.json", [], "valid_aurora_human_ratings_pointwise.json is missing"),
    ("aurora-pairs", "valid_aurora_human_ratings_pairwise.json", {}, "must be a list of entries"),
    ("imagenhub", "valid_imagenhub_processed.json", [], "holds nothing"),
    ("editreward-bench", "EditReward_Bench_3pair.json", [{"prompt": "x", "path_src": "s", "paths_generated": ["a", "b", "c"],
                                                          "human_vote": {"ranking": "A>B"}}], "a ranking of A, B, C is needed"),
    ("mmrb2", "edit.json", {"pairs": [{"id": "x", "chosen": "C"}]}, "needs an id, and chosen, A or B"),
    ("genai-bench", "nothing.txt", "", "holds no Parquet files"),
    ("nonsense", "x.json", [], "--set must be one of genai-bench")])
def test_a_set_that_cannot_be_read_is_named_with_the_place(tmp_path, name, file, content, said):
    (tmp_path / file).write_text(json.dumps(content))
    with pytest.raises(DataError) as caught:
        open_judge_set(name, tmp_path)
    assert said in str(caught.value)
    assert set(SETS) >= {"genai-bench", "mmrb2"}


def test_a_benchmarks_scores_keep_the_deviations_of_a_judge_that_gives_some(tmp_path):
    answer = Answer("a", "m", "j", "1", 0, "quality", 3.5, None, None, "", 0.1, 0.0)
    assert write_scores([answer], tmp_path).read_text().splitlines()[0].endswith("cost_usd")
    with_deviation = dataclasses.replace(answer, deviation=0.25)
    assert write_scores([with_deviation], tmp_path).read_text().splitlines()[1].endswith("0,0.25")
