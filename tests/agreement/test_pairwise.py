"""Accuracy of preferences with ties, against the golden tables."""

import json

import numpy as np
import pytest

from mre.agreement.pairwise import accuracy_with_ties, best_threshold


def counts(found):
    return {"C": found.concordant, "D": found.discordant, "Th": found.human_ties, "Tm": found.score_ties, "Thm": found.both_ties,
            "accuracy": found.accuracy}


@pytest.fixture(scope="module")
def tables(shared):
    return json.loads((shared / "parity_editreward" / "metrics.json").read_text())["accuracy_with_ties"]


def test_counts_at_a_threshold_and_the_best_one_are_those_worked_out_by_hand(tables):
    for table in tables:
        labels, differences = table["labels"], table["differences"]
        found = best_threshold(labels, differences)
        assert {**counts(found), "threshold": found.threshold} == pytest.approx(table["correct"]), table["name"]
        for threshold, expected in table["at_fixed_threshold"].items():
            assert counts(accuracy_with_ties(labels, differences, float(threshold))) == pytest.approx(expected), table["name"]


def test_the_order_of_the_pairs_changes_nothing(tables):
    for table in tables:
        labels, differences = np.array(table["labels"]), np.array(table["differences"])
        order = np.random.default_rng(3).permutation(len(labels))
        assert best_threshold(labels[order], differences[order]) == best_threshold(labels, differences)


def test_no_threshold_is_better_than_the_one_that_was_found():
    rng = np.random.default_rng(5)
    for _ in range(50):
        labels = rng.integers(-1, 2, 17)
        differences = np.round(labels + rng.normal(size=17), rng.integers(0, 3))
        best = max(accuracy_with_ties(labels, differences, threshold).accuracy for threshold in [-1, 0, *np.abs(differences)])
        assert best_threshold(labels, differences).accuracy == best


def test_no_pairs_are_refused():
    with pytest.raises(ValueError, match="equally many, and some"):
        accuracy_with_ties([], [], 0)
