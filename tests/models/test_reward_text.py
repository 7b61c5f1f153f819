"""The reward text that a model reads: the same in training and in use, and none of its perspectives cut off."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mre.embedded.tokenizer import word_tokenizer
from mre.models.reward_text import fitting_texts
from mre.rewards import PERSPECTIVES, Reward
from tests.tiny_models import pipeline, reward_unet

LONG = "the hat is green and the dog has lost its left ear in the fence"
EDITORS = {variant: pipeline(reward_unet(variant=variant)) for variant in ("released", "paper")}


@pytest.mark.parametrize("variant", EDITORS)
def test_the_third_text_is_read_however_long_the_first_two_are(variant):
    """77 tokens, a letter each: cut at the end, the two rewards would read alike."""
    rewards = [Reward(texts=(LONG, LONG, third)) for third in ("the sky is noisy", "None")]
    assert all(len(EDITORS[variant].tokenizer(reward.text).input_ids) > 100 for reward in rewards)
    condition = EDITORS[variant].encode_rewards(rewards)
    assert (condition["reward_text"][0] - condition["reward_text"][1]).abs().max() > 0.01


letters = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=90).filter(lambda text: ";" not in text)


@pytest.mark.parametrize("variant", EDITORS)
@given(texts=st.lists(st.tuples(letters, letters, letters), min_size=1, max_size=3))
@settings(max_examples=40, deadline=None)
@torch.no_grad()
def test_training_and_use_read_the_same_of_any_texts(variant, texts):
    editor, rewards = EDITORS[variant], [Reward(texts=three) for three in texts]
    used = editor.encode_rewards(rewards)
    trained = editor.reward_text_encoder.encode(rewards)
    read = trained["reward_text"]
    if variant == "paper":
        assert torch.equal(used["reward_text_mask"].sum(dim=1), trained["reward_text_mask"].sum(dim=1))
        for row, count in enumerate(trained["reward_text_mask"].sum(dim=1)):
            torch.testing.assert_close(used["reward_text"][row, :count], read[row, :count], atol=1e-5, rtol=1e-5)
    else:
        torch.testing.assert_close(used["reward_text"], read, atol=1e-5, rtol=1e-5)


@given(texts=st.tuples(letters, letters, letters), limit=st.integers(3, 77))
@settings(max_examples=60, deadline=None)
def test_any_three_texts_fit_unless_a_letter_each_is_too_much(texts, limit):
    tokenizer = word_tokenizer([], limit)
    [text] = fitting_texts([Reward(texts=texts)], PERSPECTIVES, tokenizer)
    assert text.count(";") == 2
    assert len(tokenizer(text).input_ids) <= limit or all(len(part) <= 1 for part in text.split("; "))


def test_a_reward_text_that_is_too_long_keeps_all_three_perspectives():
    tokenizer = EDITORS["released"].tokenizer                 # a byte is a token, 77 in all
    reward = Reward(texts=("the hat is green " * 8, "None", "the sky is noisy"))
    assert len(tokenizer(reward.text).input_ids) > 77
    text, best = fitting_texts([reward, Reward.best()], ("following", "preserving", "quality"), tokenizer)
    assert len(tokenizer(text).input_ids) <= 77
    first, second, third = text.split("; ")
    assert (second, third) == ("None", "the sky is noisy")
    assert len(first) > 20
    assert reward.text.startswith(first)
    assert best == "None; None; None"
    assert fitting_texts([Reward.best()], ("quality",), tokenizer) == ["None"]


def test_texts_of_perspectives_that_a_model_does_not_read_make_no_other_give_way():
    tokenizer = word_tokenizer([], 77)
    reward = Reward(texts=(LONG + LONG, LONG, "the sky is noisy"))
    assert fitting_texts([reward], ("preserving",), tokenizer) == [LONG]
