"""Numbers of a benchmark, worked out another way: answers that are never dropped, intervals, and the three forms of a table."""

import csv

import numpy as np
import pytest

from mre.benchmark.answers import Answer, Scores
from mre.benchmark.report import table_1, table_of_pairs, table_of_stability
from mre.benchmark.scene_tables import defect_kinds, kind_of
from mre.benchmark.scores import write_scores
from mre.benchmark.tables import Cell, Table, interval, mean_cell
from mre.files import JUDGE_SCORES, latex_escaped, read_table
from mre.rewards import PERSPECTIVES


def answer(item, perspective="following", score=4.0, accepted=True, method="m", repeat=0) -> Answer:
    return Answer(item, method, "judge", "build", repeat, perspective, score, accepted, None, "raw, with \"quotes\"\nand lines", 0.5, 0.001)


class FakeItem:
    def __init__(self, item, group, edit_type="local"):
        self.item, self.group, self.edit_type = item, group, edit_type


def test_failed_answers_are_counted_and_never_dropped_from_one_list_only():
    items = [FakeItem(f"i{number}", f"g{number}") for number in range(4)]
    answers = [answer("i0", score=5.0), answer("i1", score=2.0, accepted=False), answer("i2", score=None, accepted=None)]
    scores = Scores(answers, items)
    mean, accuracy = scores.mean("m", "following"), scores.accuracy("m", "following")
    assert (mean.value, mean.n, mean.missing) == (3.5, 2, 2)
    assert (accuracy.value, accuracy.n, accuracy.missing) == (0.5, 2, 2)


def test_a_table_of_nothing_but_failures_shows_dashes_and_how_many():
    scores = Scores([answer("i0", score=None, accepted=None)], [FakeItem("i0", "g")])
    table = table_1(scores, ["m"])
    assert "| m | - | - | - | - | - | - |" in table.markdown()
    assert "missing 1" in table.markdown()


def test_a_gain_is_over_items_that_both_methods_have():
    items = [FakeItem(f"i{number}", f"g{number}") for number in range(3)]
    answers = [answer("i0", score=5.0), answer("i1", score=3.0), answer("i2", score=0.0)]
    answers += [answer("i0", score=4.0, method="b"), answer("i1", score=1.0, method="b")]
    gain = Scores(answers, items).gain("m", "b", "following")
    assert (gain.value, gain.n, gain.missing) == (1.5, 2, 1)


def test_a_pair_stands_in_a_table_with_what_the_first_gains_on_the_items_that_both_have():
    items = [FakeItem(f"i{number}", f"g{number}") for number in range(3)]
    answers = [answer("i0", score=5.0), answer("i1", score=3.0, accepted=True), answer("i2", score=0.0, accepted=False)]
    answers += [answer("i0", score=4.0, method="b"), answer("i1", score=1.0, accepted=False, method="b")]
    table = table_of_pairs(Scores(answers, items), [("m", "b")])
    assert [row[0] for row in table.rows] == ["b", "m", "m minus b"]
    gained, score = table.rows[2][1:3]
    assert (gained.text().split()[0], gained.n, gained.missing) == ("50.0", 2, 1)
    assert (score.value, table.rows[0][2].value, table.rows[1][2].value) == (1.5, 2.5, pytest.approx(8 / 3))


def test_the_interval_of_independent_values_is_that_of_the_normal_approximation():
    values = np.random.default_rng(0).normal(3, 1, 400)
    low, high = interval(values, [str(number) for number in range(400)])
    assert low == pytest.approx(values.mean() - 1.96 * values.std() / 20, abs=0.02)
    assert high == pytest.approx(values.mean() + 1.96 * values.std() / 20, abs=0.02)


def test_items_that_share_a_photo_are_drawn_together():
    values = np.repeat(np.random.default_rng(0).normal(3, 1, 80), 7)
    groups = [str(number // 7) for number in range(560)]
    clustered, naive = (mean_cell(values, each) for each in (groups, [str(number) for number in range(560)]))
    assert (clustered.high - clustered.low) / (naive.high - naive.low) == pytest.approx(np.sqrt(7), rel=0.15)


def test_stability_counts_flips_item_by_item_where_means_hide_them():
    items = [FakeItem(f"i{number}", f"g{number}") for number in range(4)]
    answers = []
    for repeat in range(2):
        for number in range(4):
            yes = (number + repeat) % 2 == 0
            answers.append(answer(f"i{number}", score=4.0 if yes else 2.0, accepted=yes, repeat=repeat))
    row = table_of_stability(Scores(answers, items), ["m"]).rows[0]
    assert row[:8] == ["m", "following", "0.00", "0.00", "4 of 4 (100.0 %)", "4 of 4 (100.0 %)", "2.000", 8]


def test_tables_say_the_same_in_all_three_forms():
    table = Table("t", "A & B: 50 %", ["method_1", "score"], [["a_b|c", Cell(3.456, 3.4, 3.512, 560, 2)]], ["a note"])
    assert "| a_b\\|c | 3.46 [3.40, 3.51] |" in table.markdown()
    assert "n = 560 answers a cell, missing 2." in table.markdown()
    assert "a\\_b\\textbar{}c & 3.46 [3.40, 3.51] \\\\" in table.latex()
    assert "\\caption{A \\& B: 50 \\%}" in table.latex()
    row = next(csv.DictReader(table.csv().splitlines()))
    assert row == {"method_1": "a_b|c", "score": "3.456", "score low": "3.4", "score high": "3.512", "score n": "560", "score missing": "2"}


def test_latex_text_has_no_live_character_left():
    assert latex_escaped(r"50% of {x}_1 & #2 ~ ^ \ $") == (
        r"50\% of \{x\}\_1 \& \#2 \textasciitilde{} \textasciicircum{} \textbackslash{} \$")


def test_scores_csv_has_the_columns_of_judge_scores_and_reads_back_the_same(tmp_path):
    answers = [answer("i0", score=4.5), answer("i1", score=None, accepted=None)]
    write_scores(answers, tmp_path)
    assert (tmp_path / "scores.csv").read_text().splitlines()[0] == (
        "item,method,judge,judge_version,repeat,perspective,score,accepted,text,raw,seconds,cost_usd")
    assert (tmp_path / "failures.csv").read_text().splitlines()[0] == "item,method,repeat,perspective,error"
    back = [row for _, row in read_table(tmp_path / "scores.csv", needed=JUDGE_SCORES)]
    assert [(row["item"], row["perspective"], row["score"], row["raw"]) for row in back] == [
        ("i0", answers[0].perspective, "4.5", answers[0].raw), ("i1", answers[1].perspective, "", answers[1].raw)]


def test_every_text_that_asks_for_a_defect_is_read_back_as_that_defect():
    for perspective, kind, text in defect_kinds():
        assert kind_of(perspective, text) == kind
    assert kind_of("quality", "None") == ""
    assert kind_of("quality", "something else entirely") == "other"


def test_the_oracle_reads_its_own_defects_back_from_spoiled_scenes():
    """Over spoiled scenes: the kind that the oracle's text names is the kind that the scene was spoiled with."""
    from mre.data.scenes import oracle
    from mre.data.scenes.triplets import draw_triplet
    right = asked = 0
    for index in range(20):
        triplet = draw_triplet(5, index, "train", 64)
        found = oracle.score(triplet, triplet.edited)
        for perspective, kind, text, score in zip(PERSPECTIVES, triplet.kinds, found.texts, triplet.reward.scores, strict=True):
            if kind and score <= 3:
                asked += 1
                right += kind_of(perspective, text) == ("weak" if kind == "half" else kind)
    assert asked > 10
    assert right / asked > 0.75
