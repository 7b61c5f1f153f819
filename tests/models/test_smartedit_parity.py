"""Number by number against SmartEdit's reference modules, within the tolerances measured for them."""

import pytest
import torch

from tests.golden_smartedit import SmartEditGolden


@pytest.fixture(scope="module")
def golden(shared):
    return SmartEditGolden(shared / "parity_smartedit")


def assert_all_hold(differences, count):
    differences = list(differences)
    assert len(differences) == count, "reference data that were not compared"
    assert not [one for one in differences if not one.holds]


def test_the_interaction_module_agrees_with_all_that_lies_between(golden):
    assert_all_hold(golden.interaction_differences(), 2 * 7)


def test_the_qformer_agrees_whether_its_source_is_masked_or_chosen(golden):
    assert_all_hold(golden.qformer_differences(), 2 * 4)


def test_the_unet_agrees_with_a_residual_with_zeros_and_with_none(golden):
    assert_all_hold(golden.unet_differences(), 2 * 3)


def test_the_residual_joins_before_the_reward_encoder(golden):
    assert_all_hold(golden.reward_unet_differences(), 2)


def test_no_residual_and_one_of_zeros_change_nothing_at_all(golden):
    known = golden.tensors("reward_zeroconv_unet_tiny")
    given = known["in.sample"], known["in.timestep"], known["in.encoder_hidden_states"]
    reward = {"reward_scores": known["in.reward_scores"], "reward_text": known["in.reward_text_pooled"]}
    with torch.no_grad():
        plain = golden.reward_unet(*given, added_cond_kwargs=reward).sample
        for residual in (None, torch.zeros(2, 320, 16, 16)):
            conditions = reward if residual is None else reward | {"latent_residual": residual}
            assert torch.equal(golden.reward_unet(*given, added_cond_kwargs=conditions).sample, plain)


def test_a_residual_of_another_width_or_batch_is_refused(golden):
    known = golden.tensors("reward_zeroconv_unet_tiny")
    given = known["in.sample"], known["in.timestep"], known["in.encoder_hidden_states"]
    reward = {"reward_scores": known["in.reward_scores"], "reward_text": known["in.reward_text_pooled"]}
    for shape in ((2, 64, 16, 16), (1, 320, 16, 16), (2, 320, 16)):
        with pytest.raises(ValueError, match=r"latent_residual must be \(2, 320, g, g\)"):
            golden.reward_unet(*given, added_cond_kwargs=reward | {"latent_residual": torch.zeros(shape)})
