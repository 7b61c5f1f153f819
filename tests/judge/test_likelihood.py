"""Likelihoods of labels, against values of other people's arithmetic: 60 digits, adaptive quadrature, and sums worked out by hand."""

import json
import math

import pytest
import torch

from mre.judge.reward_models.likelihood import (
    LOSS,
    TIE,
    WIN,
    bradley_terry_loss,
    expected_logistic_loss,
    interval_loss,
    logistic_loss,
    pair_log_probabilities,
    pair_loss,
    score_interval,
)


@pytest.fixture(scope="module")
def read(shared):
    """A golden file by its name."""
    return lambda name: json.loads((shared / "parity_editreward" / name).read_text())


def column(rows, name):
    return torch.tensor([row[name] for row in rows], dtype=torch.float64, requires_grad=True)


def assert_close(found, expected, what):
    expected = torch.tensor(expected, dtype=torch.float64)
    worst = ((found - expected).abs() / expected.abs().clamp(min=1)).max().item()
    assert worst < 1e-9, f"{what}: {worst}"


def pairs_of(rows, names):
    parameters = [column(rows, name) for name in names]
    difference = parameters[0] - parameters[2]
    deviation = (parameters[1].mul(2).exp() + parameters[3].mul(2).exp()).sqrt()
    return parameters, difference, deviation


def test_wins_ties_and_losses_are_those_of_sixty_digits_far_into_the_tails(read):
    rows = read("ties.json")["rows"]
    parameters, difference, deviation = pairs_of(rows, ("mu_A", "log_sigma_A", "mu_B", "log_sigma_B"))
    half_width = column(rows, "half_width")
    logs = pair_log_probabilities(difference, deviation, half_width)
    for name, log in zip(("win", "tie", "loss"), logs, strict=True):
        assert_close(log, [row[name]["log_probability"] for row in rows], name)
        gradients = torch.autograd.grad(-log.sum(), [*parameters, half_width], retain_graph=True)
        assert_close(torch.stack(gradients, 1), [row[name]["neg_log_grad"] for row in rows], f"gradient of {name}")
    assert torch.allclose(torch.stack(logs).exp().sum(0), torch.ones(len(rows), dtype=torch.float64), atol=1e-14)


def test_a_score_is_an_interval_that_is_open_where_the_scale_ends(read):
    rows = read("ties.json")["score_intervals"]["rows"]
    mean, log_deviation, score = (column(rows, name) for name in ("mu", "log_sigma", "score"))
    loss = interval_loss(mean, log_deviation.exp(), *score_interval(score.detach()))
    assert_close(-loss, [row["log_probability"] for row in rows], "log probability")
    gradients = torch.stack(torch.autograd.grad(loss.sum(), [mean, log_deviation]), 1)
    assert_close(gradients, [row["neg_log_grad"] for row in rows], "gradient")


def test_the_six_scores_of_one_edit_have_probabilities_that_add_up_to_one():
    scores = torch.arange(6, dtype=torch.float64)
    mean, deviation = torch.tensor(4.4, dtype=torch.float64).expand(6), torch.tensor(1.3, dtype=torch.float64).expand(6)
    assert (-interval_loss(mean, deviation, *score_interval(scores))).exp().sum().item() == pytest.approx(1, abs=1e-14)
    low, high = score_interval(torch.tensor([0.0, 2.5, 5.0]), step=0.5)
    assert low.tolist() == [-math.inf, 2.25, 4.75]
    assert high.tolist() == [0.25, 2.75, math.inf]


def test_the_logistic_likelihoods_are_those_of_adaptive_quadrature(read):
    rows = read("likelihood.json")["rows"]
    for compute, name in ((logistic_loss, "neg_log_likelihood"), (expected_logistic_loss, "expected_neg_logsigmoid")):
        parameters, difference, deviation = pairs_of(rows, ("mu_win", "log_sigma_win", "mu_lose", "log_sigma_lose"))
        value = compute(difference, deviation)
        assert_close(value, [row[name] for row in rows], name)
        gradients = torch.stack(torch.autograd.grad(value.sum(), parameters), 1)
        assert_close(gradients, [row[f"{name}_grad"] for row in rows], f"{name}, gradient")


def test_a_pair_judged_wrongly_raises_the_deviation_and_the_losses_of_the_released_code_never_do():
    difference = torch.tensor([-1.0, 1.0], dtype=torch.float64)                 # the first was preferred: wrong, right
    for compute, signs in ((logistic_loss, [-1, 1]), (expected_logistic_loss, [1, 1]),
                           (lambda m, s: pair_loss(m, s, 0.5, torch.full_like(m, WIN)), [-1, 1])):
        deviation = torch.ones(2, dtype=torch.float64, requires_grad=True)
        gradient, = torch.autograd.grad(compute(difference, deviation).sum(), deviation)
        assert gradient.sign().tolist() == signs


def test_losses_of_the_released_code_give_its_numbers_on_the_column_of_means(read):
    golden = read("losses.json")
    first, second = (torch.tensor(golden[f"rewards_{side}"], dtype=torch.float64) for side in "AB")
    difference = first[:, 0] - second[:, 0]
    deviation = (first[:, 1].mul(2).exp() + second[:, 1].mul(2).exp()).sqrt()
    wanted = golden["independent_float64"]
    assert bradley_terry_loss(difference, deviation).tolist() == pytest.approx(wanted["bt"]["per_pair"], abs=1e-10)
    # its uncertainty loss is a mean of 1,000 samples: what noise of that size leaves of the integral
    sampled = torch.tensor(wanted["uncertainty"]["per_pair"], dtype=torch.float64)
    assert ((expected_logistic_loss(difference, deviation) - sampled).abs() < 5 * deviation / math.sqrt(1000)).all()


def test_swapping_a_pair_swaps_win_and_loss():
    difference, deviation = torch.tensor([0.7], dtype=torch.float64), torch.tensor([0.9], dtype=torch.float64)
    for label, other in ((WIN, LOSS), (TIE, TIE)):
        one = pair_loss(difference, deviation, 0.4, torch.tensor([label]))
        assert one.item() == pytest.approx(pair_loss(-difference, deviation, 0.4, torch.tensor([other])).item(), abs=1e-14)
