"""Agreement statistics on small cases whose answers can be worked out on paper, and the draws against plain resampling."""

import math
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from mre.agreement import annotators as an
from mre.agreement import ranking as rk
from mre.agreement import resampling as rs
from mre.agreement import two_raters as tr
from mre.agreement.figures import Figure, percentile_interval, undefined
from mre.agreement.paired_tests import detectable_dz, holm, paired_t_size, paired_test


def test_constant_ratings_are_undefined_with_the_reason_and_not_zero():
    for figure in (tr.spearman([3, 3, 3], [1, 2, 3]), an.krippendorff_alpha(np.full((4, 2), 2.0)), an.fleiss_kappa(np.full((4, 2), 2.0)),
                   tr.weighted_kappa([1, 1], [1, 1]), an.icc(np.ones((3, 2)))["2_1"]):
        assert figure.value is None
        assert "undefined: all" in figure.note
        assert math.isnan(float(figure))


def test_one_annotator_has_nobody_to_agree_with():
    table = pd.DataFrame({"r1": [1.0, 2.0, 3.0]})
    assert an.krippendorff_alpha(table).value is None
    assert an.icc(table)["2_k"].note == "undefined: one annotator"
    assert tr.fisher_mean(an.leave_one_out(table).values()).value is None


def test_values_that_are_equal_on_paper_tie():
    assert 0.1 + 0.2 != 0.3
    assert tr.spearman([0.1 + 0.2, 0.3, 1.0], [1, 2, 3]).value == pytest.approx(math.sqrt(3) / 2)     # ranks 1.5 1.5 3 and 1 2 3


def test_fisher_mean_transforms_and_the_old_form_does_not():
    assert tr.fisher_mean([0.0, 0.8]).value == pytest.approx(0.5)               # atanh 0.8 = 2 atanh 0.5
    assert tr.tanh_mean([0.0, 0.8]).value == pytest.approx(math.tanh(0.4))
    left_out = tr.fisher_mean([0.5, undefined(4, "constant")])
    assert (left_out.value, left_out.n) == (pytest.approx(0.5), 1)
    assert "1 of 2 undefined" in left_out.note


def test_agreement_of_shifted_scores_is_perfect_correlation_and_pure_bias():
    human = np.array([0.0, 1.0, 2.0, 3.0])
    judge = human + 1
    assert tr.pearson(human, judge).value == pytest.approx(1)
    assert tr.bias(human, judge).value == tr.mae(human, judge).value == tr.rmse(human, judge).value == 1
    assert [limit.value for limit in tr.limits_of_agreement(human, judge)] == [1, 1]
    assert tr.lin_ccc(human, judge).value == pytest.approx(2 * 1.25 / (1.25 + 1.25 + 1))
    assert tr.proportional_bias(human, judge).value == pytest.approx(0)
    assert tr.agreement_within(human, judge).value == 0
    assert tr.agreement_within(human, judge, 1).value == 1


def test_missing_scores_are_left_out_pair_by_pair():
    assert tr.bias([1, math.nan, 3], [2, 5, math.nan]) == Figure(1.0, 1)


def test_scores_between_grades_go_to_the_nearest_and_halves_up():
    assert tr.to_grades([0.2, 0.25, 0.74, 0.75, 2.0, math.nan], [0, 0.5, 1]).tolist()[:5] == [0, 0.5, 0.5, 1, 1]


def test_kappa_weights_run_over_category_ranks():
    a, b = [0, 0, 1, 5], [0, 1, 1, 1]                           # ranks 0 1 2: one step off twice, of three categories
    observed, expected = 2 / 4, (2 * 3 * 1 + 1 * 1 * 1 + 1 * 1 * 2 + 1 * 3 * 1) / 16
    assert tr.weighted_kappa(a, b, "linear").value == pytest.approx(1 - observed / expected)
    assert tr.weighted_kappa(a, np.array(b) * 1.0, "linear").value == tr.weighted_kappa([0, 0, 1, 2], b, "linear").value


def test_alpha_of_very_many_values_equals_the_usual_one():
    generator = np.random.default_rng(0)
    matrix = generator.integers(0, 6, (60, 4)).astype(float)
    matrix[generator.random(matrix.shape) < 0.3] = np.nan
    matrix = matrix[(~np.isnan(matrix)).sum(axis=1) >= 2]
    for level in ("nominal", "ordinal", "interval"):
        assert an._alpha_of_many_values(matrix, level) == pytest.approx(an.krippendorff_alpha(matrix, level).value)


def test_position_bias_is_told_from_chance():
    assert tr.position_bias(60, 40).value == 0.6
    assert tr.position_bias(55, 45).low < 0.5 < tr.position_bias(90, 40).low
    assert tr.position_bias(0, 0).value is None


def test_thirds_tie_in_paired_differences():
    test = paired_test([2 / 3, 1 / 3, 1.0], [1 / 3, 0.0, 0.0])
    assert (test.wins, test.ties, test.losses) == (3, 0, 0)
    assert test.wilcoxon.value == 0
    assert test.rank_biserial.value == 1
    assert paired_test([0.1 + 0.2], [0.3]).ties == 1


def test_holm_multiplies_the_smallest_most_and_never_goes_down():
    assert holm([0.01, 0.04, 0.03, None]) == pytest.approx([0.03, 0.06, 0.06, None])


def test_sample_sizes_are_those_of_the_tables():
    assert [math.ceil(paired_t_size(dz)) for dz in (0.1, 0.2, 0.3, 0.5)] == [787, 199, 90, 34]
    assert detectable_dz(560) == pytest.approx(0.1186, abs=5e-5)


def test_methods_pooled_and_within_methods_can_disagree():
    """A judge that ranks edits of each method the wrong way round, but knows which method is better."""
    human = {"bad": [0.0, 0.5, 1.0], "good": [4.0, 4.5, 5.0]}
    judge = {"bad": [1.0, 0.5, 0.0], "good": [5.0, 4.5, 4.0]}
    within = tr.fisher_mean([tr.spearman(human[name], judge[name]) for name in human])
    assert within.value == pytest.approx(-1, abs=1e-5)
    assert tr.spearman([*human["bad"], *human["good"]], [*judge["bad"], *judge["good"]]).value > 0.5


def test_order_of_two_methods_can_only_be_the_same_or_not():
    same, turned = rk.rank_consistency({"a": 1, "b": 2}, {"a": 3, "b": 4}), rk.rank_consistency({"a": 1, "b": 2}, {"a": 4, "b": 3})
    assert (same.kendall_tau_b.value, same.same_order) == (1, True)
    assert (turned.kendall_tau_b.value, turned.same_order) == (-1, False)
    assert rk.rank_consistency({"a": 1, "b": 1}, {"a": 3, "b": 4}).same_order is None


def test_each_tie_rule_gives_its_own_accuracy():
    pairs = pd.DataFrame({"human_difference": [1, 1, 1, 0, 0], "judge_difference": [1, -1, 0, 0, 2]})
    counts = rk.OrderCounts.of(pairs)
    assert [counts.three_way.value, counts.no_human_ties.value, counts.half_judge_ties.value, counts.decided.value] == pytest.approx(
        [2 / 5, 1 / 3, 1 / 2, 1 / 2])
    assert counts.no_human_ties.n == 3


def test_an_answer_that_nobody_gave_is_no_part_of_the_macro_mean():
    assert tr.vote_agreement([[5, 0, 0], [0, 3, 0], [0, 0, 0]])["f1_macro"] == 1
    assert tr.vote_agreement([[5, 0, 0], [0, 3, 0], [2, 0, 0]])["f1_macro"] == pytest.approx((10 / 12 + 1 + 0) / 3)


def test_tie_threshold_does_not_depend_on_the_order_of_rows():
    generator = np.random.default_rng(1)
    pairs = pd.DataFrame({"human_difference": generator.integers(-1, 2, 200), "judge_difference": generator.integers(-3, 4, 200)})
    answers = {rk.calibrated_ties(pairs.sample(frac=1, random_state=i))[0].value for i in range(5)}
    assert answers == {rk.calibrated_ties(pairs)[0].value}
    assert rk.swept_ties(pairs, "human ties last").value <= rk.swept_ties(pairs, "human ties first").value


def test_two_to_one_votes_are_120_points_apart():
    votes = pd.DataFrame({"model_a": ["x"], "model_b": ["y"], "wins_a": [2], "wins_b": [1], "ties": [0]})
    ratings = rk.bradley_terry(votes)
    assert ratings["x"] - ratings["y"] == pytest.approx(400 * math.log10(2))
    assert ratings.mean() == pytest.approx(1000)


def test_a_model_that_never_lost_has_no_finite_rating():
    votes = pd.DataFrame({"model_a": ["x"], "model_b": ["y"], "wins_a": [3], "wins_b": [0], "ties": [0]})
    assert rk.bradley_terry(votes).isna().all()
    assert rk.bradley_terry(votes, penalty=1.0).notna().all()


@pytest.fixture
def sample():
    generator = np.random.default_rng(1)
    n = 200
    frame = pd.DataFrame({"image": generator.integers(0, 20, n), "human": np.round(generator.uniform(0, 5, n) * 3) / 3})
    frame["judge"] = np.clip(np.round(frame["human"] + generator.normal(0, 1, n)), 0, 5)
    return frame


def resampled_rows(resampler: rs.Resampler, codes: np.ndarray, draw: int) -> np.ndarray:
    """Row numbers of one draw, each row as often as its cluster was drawn."""
    return np.repeat(np.arange(len(codes)), resampler.weights[draw][codes])


def test_draws_equal_the_statistics_of_resampled_frames(sample):
    resampler = rs.Resampler(sample["image"], 15, seed=3)
    codes = resampler.codes(sample["image"])
    draws = rs.pair_draws(resampler, codes, sample["human"].to_numpy(), sample["judge"].to_numpy(), np.arange(6.0))
    plain = {"pearson": tr.pearson, "spearman": tr.spearman, "kendall_tau_b": tr.kendall_tau_b, "lin_ccc": tr.lin_ccc, "bias": tr.bias,
             "mae": tr.mae, "rmse": tr.rmse, "loa_low": lambda h, j: tr.limits_of_agreement(h, j)[0],
             "icc_2_1": lambda h, j: an.icc(np.stack([h, j], axis=1))["2_1"], "cohen_dz": lambda h, j: paired_test(j, h).cohen_dz,
             "win_rate": lambda h, j: paired_test(j, h).win_rate,
             "weighted_kappa_linear": lambda h, j: tr.weighted_kappa(tr.to_grades(h, range(6)), j, "linear")}
    for draw in range(15):
        rows = sample.iloc[resampled_rows(resampler, codes, draw)]
        for name, statistic in plain.items():
            assert draws[name][draw] == pytest.approx(statistic(rows["human"].to_numpy(), rows["judge"].to_numpy()).value), name


@pytest.mark.parametrize("missing", [0.0, 0.2])
def test_draws_of_annotators_equal_the_statistics_of_resampled_tables(sample, missing):
    generator = np.random.default_rng(2)
    table = pd.DataFrame({name: np.clip(np.round(sample["human"] + generator.normal(0, 1, len(sample))), 0, 5) for name in "abcd"})
    table = table.mask(generator.random(table.shape) < missing)
    resampler = rs.Resampler(sample["image"], 10, seed=4)
    codes = resampler.codes(sample["image"])
    draws = rs.annotator_draws(resampler, codes, table)
    plain = {"krippendorff_nominal": lambda t: an.krippendorff_alpha(t, "nominal"), "krippendorff_ordinal": an.krippendorff_alpha,
             "krippendorff_interval": lambda t: an.krippendorff_alpha(t, "interval"), "weighted_kappa_quadratic": an.mean_pairwise_kappa,
             "human_loo_spearman": lambda t: tr.fisher_mean(an.leave_one_out(t).values())}
    if not missing:
        plain["fleiss_kappa"] = an.fleiss_kappa
    for draw in range(10):
        rows = table.iloc[resampled_rows(resampler, codes, draw)].reset_index(drop=True)
        for name, statistic in plain.items():
            assert draws[name][draw] == pytest.approx(statistic(rows).value), name


def test_intervals_of_fine_scores_come_close_to_those_of_exact_ranks():
    generator = np.random.default_rng(5)
    human = generator.uniform(0, 5, 400)
    judge = human + generator.normal(0, 1.5, 400)
    resampler = rs.Resampler(np.arange(400), 60, seed=0)
    codes = resampler.codes(np.arange(400))
    draws = rs.rank_draws(resampler, codes, human, judge)
    for draw in range(0, 60, 10):
        rows = resampled_rows(resampler, codes, draw)
        assert draws["spearman"][draw] == pytest.approx(tr.spearman(human[rows], judge[rows]).value, abs=0.003)
        assert draws["kendall_tau_b"][draw] == pytest.approx(tr.kendall_tau_b(human[rows], judge[rows]).value, abs=0.004)


def test_whole_images_are_resampled_so_that_repeated_ratings_do_not_narrow_the_interval():
    """Seven copies of each of 30 values carry no more than 30 values do."""
    generator = np.random.default_rng(6)
    values = generator.normal(size=30)
    copies = np.repeat(values, 7)
    images = {"image": np.repeat(np.arange(30), 7), "row": np.arange(210)}

    def width(cluster: str) -> float:
        resampler = rs.Resampler(images[cluster], 400)
        total, count = resampler.sums(resampler.codes(images[cluster]), np.column_stack([copies, np.ones(210)])).T
        low, high = percentile_interval(total / count)
        return high - low
    expected = 2 * 1.96 * values.std() / math.sqrt(30)
    assert width("image") == pytest.approx(expected, rel=0.15)
    assert width("row") == pytest.approx(expected / math.sqrt(7), rel=0.15)


def test_p_values_count_the_photos_that_intervals_resample():
    """Seven copies of each of 30 differences carry no more than 30 do; with one item a photo the tests are the usual ones."""
    generator = np.random.default_rng(8)
    first, second = generator.normal(0.4, 1, 30), generator.normal(0, 1, 30)
    alone = paired_test(first, second)
    assert alone.t.p == pytest.approx(stats.ttest_rel(first, second).pvalue)
    copies = paired_test(np.repeat(first, 7), np.repeat(second, 7), np.repeat([f"photo {i}" for i in range(30)], 7))
    assert (copies.n, copies.units) == (210, 30)
    for name in ("t", "wilcoxon", "wilcoxon_pratt", "sign"):
        assert getattr(copies, name).p == pytest.approx(getattr(alone, name).p), name
        assert getattr(copies, name).n == 30
    for limit in ("low", "high"):
        assert getattr(copies.mean_difference, limit) == pytest.approx(getattr(alone.mean_difference, limit))
    assert paired_test(np.repeat(first, 7), np.repeat(second, 7)).t.p < alone.t.p / 10


def test_photos_with_different_numbers_of_items_keep_the_mean_over_items():
    first, photo = np.array([1.0, 1.0, 1.0, 0.0, 2.0]), ["a", "a", "a", "b", "c"]
    test = paired_test(first, np.zeros(5), photo)
    assert test.mean_difference.value == first.mean()
    residuals = np.array([3 * 1.0 - 3 * first.mean(), 0 - first.mean(), 2 - first.mean()])        # sums per photo
    error = math.sqrt(3 / 2 * (residuals**2).sum()) / 5
    assert test.t.value == pytest.approx(first.mean() / error)
    assert test.t.note == "df 2"
    assert paired_test([1.0, 2.0], [0.0, 0.0], ["a", "a"]).t.note.startswith("undefined: all 2 edits belong together")


def test_alphas_draws_need_memory_for_the_ratings_and_not_for_their_pairs():
    def peak(annotators):
        matrix = np.random.default_rng(0).integers(0, 6, (60, annotators)).astype(float)
        resampler = rs.Resampler(range(60), 20)
        codes = resampler.codes(range(60))
        tracemalloc.start()
        drawn = rs.alpha_draws(resampler, codes, matrix)
        used = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return drawn, used

    drawn, few = peak(50)
    _, many = peak(800)
    assert many < 16 * few + 1_000_000              # pairs of ratings would need 256 times as much
    table = np.random.default_rng(0).integers(0, 6, (60, 50)).astype(float)
    weights = rs.Resampler(range(60), 20).weights[7]
    assert drawn["krippendorff_ordinal"][7] == pytest.approx(an.krippendorff_alpha(np.repeat(table, weights, axis=0)).value, abs=1e-9)
