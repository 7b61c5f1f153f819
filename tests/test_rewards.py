"""The reward: three scores, three texts, refused by name when wrong."""

import math

import pytest

from mre.errors import RewardError
from mre.rewards import Reward


def test_best_reward_asks_for_five_everywhere_and_nothing_wrong():
    assert Reward.best().scores == (5.0, 5.0, 5.0)
    assert Reward.best().text == "None; None; None"


def test_command_line_forms_give_the_same_reward_as_values():
    assert Reward.parse("1, 2.5,3", "too weak; sky changed ;") == Reward(1, 2.5, 3, ("too weak", "sky changed", "None"))


@pytest.mark.parametrize("score", [float("nan"), 6, -1, "high", "", True, float("inf")])
def test_a_score_that_is_none_is_refused_by_the_name_of_its_perspective(score):
    with pytest.raises(RewardError, match="preserving must be a number between 0 and 5"):
        Reward(preserving=score)


def test_no_wish_is_none_as_a_value_a_word_on_the_command_line_and_no_number_among_the_scores():
    reward = Reward.parse("5, None ,2.5")
    assert reward == Reward(5, None, 2.5)
    assert reward.wishes == (5, None, 2.5)
    assert [math.isnan(score) for score in reward.scores] == [False, True, False]
    assert reward.without_wish == ("preserving",)
    assert reward.shown() == "5/none/2.5"
    assert Reward.parse(reward.shown(",")) == reward
    assert reward.with_score("preserving", 3) == Reward(5, 3, 2.5)


def test_a_text_says_what_is_wrong_with_a_score_and_none_without_a_wish():
    with pytest.raises(RewardError, match="text of quality needs a score of quality"):
        Reward(quality=None, texts=("None", "None", "blurry"))
    told = Reward(5, 5, 1, texts=("None", "a tint", "blurry"))
    assert told.with_score("quality", None) == Reward(5, 5, None, ("None", "a tint", "None"))


@pytest.mark.parametrize("scores", ["5;5;5", "5,5", "5,5,5,5", ""])
def test_any_other_count_of_scores_is_refused(scores):
    with pytest.raises(RewardError, match="three numbers"):
        Reward.parse(scores)


def test_a_semicolon_inside_a_text_is_refused_since_it_would_shift_the_perspectives():
    with pytest.raises(RewardError, match="text of following"):
        Reward(texts=("a; b", "None", "None"))
    with pytest.raises(RewardError, match="three texts"):
        Reward.parse("5,5,5", "a; b")
