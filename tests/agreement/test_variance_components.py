"""Intraclass correlation with gaps: against another library's mixed model, against mean squares, whatever the order of annotators."""

import numpy as np
import pandas as pd
import pytest
from statsmodels.regression.mixed_linear_model import MixedLM

from mre.agreement import annotators as an
from mre.agreement.resampling import Resampler
from mre.agreement.variance_components import estimate, icc_draws, icc_of_ratings


def drawn_ratings(edits: int, annotators: int, missing: float, seed: int = 0, severity: float = 0.6) -> np.ndarray:
    """(edits, annotators) scores of the model, on a grid of halves, with gaps at random."""
    generator = np.random.default_rng(seed)
    scores = (2.5 + generator.normal(0, 1.0, (edits, 1)) + generator.normal(0, severity, (1, annotators))
              + generator.normal(0, 0.8, (edits, annotators)))
    scores = np.round(2 * scores) / 2
    return np.where(generator.random(scores.shape) < missing, np.nan, scores)


def mixed_model(matrix: np.ndarray) -> tuple[float, float, float]:
    """The three variances by statsmodels: one group, edits and annotators as variance components."""
    edits, annotators = np.nonzero(~np.isnan(matrix))
    frame = pd.DataFrame({"score": matrix[edits, annotators], "edit": edits, "annotator": annotators, "all": 1})
    model = MixedLM.from_formula("score ~ 1", frame, groups="all", re_formula="0",
                                 vc_formula={"annotator": "0 + C(annotator)", "edit": "0 + C(edit)"})
    fitted = model.fit(reml=True)
    found = dict(zip(model.exog_vc.names, fitted.vcomp, strict=True))
    return found["edit"], found["annotator"], fitted.scale


@pytest.mark.parametrize(("missing", "seed"), [(0.0, 1), (0.3, 2), (0.6, 3)])
def test_variances_are_those_of_another_librarys_mixed_model(missing, seed):
    matrix = drawn_ratings(30, 6, missing, seed)
    ours = estimate(matrix)
    assert (ours.edit, ours.annotator, ours.residual) == pytest.approx(mixed_model(matrix), rel=2e-3)


def test_without_gaps_it_is_shrout_and_fleiss():
    matrix = drawn_ratings(40, 5, 0.0)
    ours, theirs = icc_of_ratings(matrix), an.icc(matrix)
    for name in ("2_1", "2_k"):
        assert ours[f"icc_{name}"].value == pytest.approx(theirs[name].value, abs=1e-12)
    assert ours["icc_2_1"].note == "two-way random effects by REML: 200 ratings of 40 edits by 5 annotators"
    gap = matrix.copy()
    gap[7, 3] = np.nan                                                          # one skip moves it a little, not to another model
    assert icc_of_ratings(gap)["icc_2_1"].value == pytest.approx(ours["icc_2_1"].value, abs=0.01)


def test_the_search_of_the_likelihood_ends_where_the_mean_squares_do():
    from mre.agreement.variance_components import _Likelihood

    matrix = drawn_ratings(40, 5, 0.0, seed=4)
    found, exact = _Likelihood(matrix).maximum(), estimate(matrix)
    assert (found.edit, found.annotator, found.residual) == pytest.approx((exact.edit, exact.annotator, exact.residual), rel=1e-4)


def test_the_order_of_annotators_and_edits_plays_no_part():
    matrix = drawn_ratings(50, 7, 0.5, seed=5)
    generator, value = np.random.default_rng(1), icc_of_ratings(matrix)["icc_2_1"].value
    for _ in range(5):
        shuffled = generator.permutation(generator.permutation(matrix, axis=0), axis=1)
        assert icc_of_ratings(shuffled)["icc_2_1"].value == pytest.approx(value, abs=1e-5)


def test_annotators_who_are_equally_severe_have_no_variance_below_zero():
    matrix = drawn_ratings(60, 4, 0.2, seed=6, severity=0.0)
    components = estimate(matrix)
    assert components.annotator == pytest.approx(mixed_model(matrix)[1], abs=2e-3)
    assert components.annotator >= 0


def test_what_cannot_be_told_apart_is_undefined_with_the_reason():
    apart = np.full((4, 4), np.nan)
    apart[np.arange(4), np.arange(4)] = [1, 2, 3, 4]                            # nobody rated what another did
    cases = [(apart, "too few edits were rated by the same annotators"), (np.ones((3, 2)), "all ratings are 1"),
             (np.array([[1.0], [2.0]]), "one annotator"), (np.full((2, 2), np.nan), "no rating"), (np.array([[1.0, 2.0]]), "1 edit")]
    for matrix, reason in cases:
        for figure in icc_of_ratings(matrix).values():
            assert figure.value is None
            assert reason in figure.note


@pytest.mark.parametrize("missing", [0.0, 0.4])
def test_draws_are_estimates_of_resampled_photos(missing):
    matrix = drawn_ratings(40, 5, missing, seed=7)
    clusters = np.arange(40) // 2
    resampler = Resampler(clusters, 20, seed=3)
    draws = icc_draws(resampler, resampler.codes(clusters), matrix)["icc_2_1"]
    plain = []
    for weights in resampler.weights:
        rows = np.concatenate([np.flatnonzero(clusters == cluster) for cluster, times in enumerate(weights) for _ in range(times)])
        plain.append(icc_of_ratings(matrix[rows])["icc_2_1"].value)
    assert draws == pytest.approx(plain, abs=2e-3)


def test_edits_and_annotators_change_places_in_the_model_and_sparse_products_say_the_same_as_kept_ones(monkeypatch):
    from mre.agreement import variance_components as vc

    matrix = drawn_ratings(24, 40, 0.8, seed=8)                                 # more annotators than edits: the smaller side is inverted
    by_edits, by_annotators = estimate(matrix), vc._Likelihood(matrix).maximum()
    assert (by_edits.edit, by_edits.annotator, by_edits.residual) == pytest.approx(
        (by_annotators.edit, by_annotators.annotator, by_annotators.residual), rel=1e-3)
    monkeypatch.setattr(vc, "MOST_NUMBERS", 0)
    sparse = estimate(matrix)
    assert (sparse.edit, sparse.annotator, sparse.residual) == pytest.approx(
        (by_edits.edit, by_edits.annotator, by_edits.residual), rel=1e-6)


def test_a_crowd_too_large_for_the_model_is_said_to_be_so(monkeypatch):
    from mre.agreement import variance_components as vc

    monkeypatch.setattr(vc, "LARGEST", 10)
    figure = icc_of_ratings(drawn_ratings(12, 11, 0.3))["icc_2_1"]
    assert figure.note == "undefined: 12 edits and 11 annotators are too many for the mixed model; see alpha"
    assert icc_of_ratings(drawn_ratings(30, 9, 0.3))["icc_2_1"].defined
