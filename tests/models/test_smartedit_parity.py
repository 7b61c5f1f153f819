"""Number by number against SmartEdit's reference modules, within the tolerances measured for them."""

import json

import pytest
import torch

from mre.models.smartedit.prompt import KNOWN_ANSWER, KNOWN_START, conversation, encode, question
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


def test_a_forward_pass_in_training_agrees_from_pixels_and_ids_to_both_losses(golden):
    assert_all_hold(golden.training_differences(), 6 + 3)


def test_every_step_of_an_edit_agrees_with_the_residual_in_all_branches(golden):
    assert_all_hold(golden.pipeline_differences(), 5)


def test_prompts_and_ids_are_those_of_the_original_tokenizer(golden):
    cases = json.loads((golden.folder / "tokenizer_cases.json").read_text())
    for case in cases["cases"]:
        asked = case["instruction"], case["template_index"]
        assert question(*asked) == case["inference_prompt"]
        assert conversation(*asked) == case["training_prompt"]
        assert encode(case["instruction"], golden.tokenizer, case["template_index"]) == case["training_ids"]
        assert golden.tokenizer.encode(question(*asked)) == case["inference_ids"]
    trace = cases["real_llama_vocab_trace"]
    start, _ = trace["instruction_span"]
    assert question(trace["instruction"]) == trace["prompt"]
    assert conversation(trace["instruction"]) == f"{trace['prompt']} {trace['answer']}"
    assert list(KNOWN_START) == trace["prompt_ids"][:start]
    assert list(KNOWN_ANSWER) == trace["generated_ids"]


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
