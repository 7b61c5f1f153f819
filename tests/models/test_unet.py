"""The reward condition, the reward encoder and the U-Net that reads them."""

import json
from itertools import product

import pytest
import torch

from mre.errors import RewardError
from mre.models.condition import PaperCondition, score_sinusoid
from mre.models.encoder import TokenNorm
from mre.models.released import released_name
from mre.models.unet import RewardUNet2DConditionModel
from mre.rewards import PERSPECTIVES
from tests.tiny_models import plain_unet, reward_inputs, reward_unet, unet_inputs

VARIANTS = ("released", "paper")
SWITCHES = ("use_score", "use_text", "use_attention", "use_addition")


@pytest.fixture(scope="module")
def parent():
    return plain_unet()


@torch.no_grad()
def predict(unet, inputs, rewards=None, **kwargs):
    return unet(**inputs, added_cond_kwargs=rewards, **kwargs).sample


def in_format(tensors, dtype):
    """Numbers that are not whole in another format."""
    return {name: value.to(dtype) if value.is_floating_point() else value for name, value in tensors.items()}


def changed(rewards, name, column=slice(None)):
    """The same rewards with one of them, or one column of it, moved."""
    moved = {key: value.clone() for key, value in rewards.items()}
    moved[name][:, column] = 5 - moved[name][:, column]
    return moved


# ---------------------------------------------------------------------------------------------------- equal to the parent

@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("size", [(8, 8), (7, 13)])
def test_an_untrained_reward_unet_equals_its_parent_exactly(parent, variant, size):
    unet, inputs = reward_unet(parent, variant=variant), unet_inputs(2, *size)
    assert torch.equal(predict(unet, inputs, reward_inputs(variant)), predict(parent, inputs))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("off", [("use_score", "use_text"), ("use_attention", "use_addition"), SWITCHES])
def test_with_the_condition_off_it_is_the_parent_and_needs_no_reward(parent, variant, off):
    unet, inputs = reward_unet(parent, variant=variant, **dict.fromkeys(off, False)), unet_inputs()
    assert unet.state_dict().keys() == parent.state_dict().keys()
    assert torch.equal(predict(unet, inputs), predict(parent, inputs))
    assert torch.equal(predict(unet, inputs, reward_inputs(variant)), predict(parent, inputs))


@pytest.mark.parametrize("variant", VARIANTS)
def test_control_residuals_and_attention_processors_pass_as_in_the_parent(parent, variant):
    unet, inputs = reward_unet(parent, variant=variant), unet_inputs()
    shapes = [(32, 8), (32, 8), (32, 4), (64, 4)]
    residuals = {"down_block_additional_residuals": [torch.full((2, c, side, side), 0.3) for c, side in shapes],
                 "mid_block_additional_residual": torch.full((2, 64, 4, 4), -0.2)}
    assert torch.equal(predict(unet, inputs, reward_inputs(variant), **residuals), predict(parent, inputs, **residuals))
    assert not torch.equal(predict(parent, inputs, **residuals), predict(parent, inputs))
    assert unet.attn_processors.keys() == parent.attn_processors.keys()


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_sample_whose_reward_is_absent_is_read_as_the_parent_reads_it(parent, variant):
    unet, inputs, rewards = reward_unet(parent, variant=variant, reward_init="released"), unet_inputs(), reward_inputs(variant)
    output = predict(unet, inputs, {**rewards, "reward_present": torch.tensor([False, True])})
    assert torch.allclose(output[0], predict(parent, inputs)[0], atol=1e-5)
    assert torch.allclose(output[1], predict(unet, inputs, rewards)[1], atol=1e-5)
    assert not torch.allclose(output[1], predict(parent, inputs)[1], atol=1e-2)


# ---------------------------------------------------------------------------------------------------------- the switches

@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize(("use_score", "use_text", "use_attention", "use_addition"),
                         [row for row in product([True, False], repeat=4) if any(row[:2]) and any(row[2:])])
def test_exactly_what_is_switched_on_has_an_effect(parent, variant, use_score, use_text, use_attention, use_addition):
    """Tables 4 and 5: scores and text each count where they are read, and layers exist only where they are used."""
    switches = {"use_score": use_score, "use_text": use_text, "use_attention": use_attention, "use_addition": use_addition}
    unet, inputs, rewards = reward_unet(parent, variant=variant, reward_init="released", **switches), unet_inputs(), reward_inputs(variant)
    read = {name: value for name, value in rewards.items() if switches["use_" + name.split("_")[1].rstrip("s")]}
    output = predict(unet, inputs, read)                     # what is not read need not be there
    assert torch.equal(predict(unet, inputs, changed(rewards, "reward_scores")), output) != use_score
    assert torch.equal(predict(unet, inputs, changed(rewards, "reward_text")), output) != use_text
    assert (unet.reward_encoder is not None) == use_attention
    names = [name for name in unet.state_dict() if name.startswith("reward_")]
    assert any(name.startswith("reward_terms") for name in names) == (variant == "paper" and use_addition)
    assert any("_time." in name for name in names) == (variant == "released" and use_addition)


@pytest.mark.parametrize("variant", VARIANTS)
def test_no_wish_is_another_reading_than_any_score_and_the_same_whatever_score_stands_there(variant):
    unet, inputs, rewards = reward_unet(variant=variant, reward_init="released"), unet_inputs(), reward_inputs(variant)
    wished = torch.tensor([[True, False, True], [True] * 3])
    dropped = predict(unet, inputs, {**rewards, "reward_wished": wished})
    assert torch.equal(predict(unet, inputs, {**changed(rewards, "reward_scores", 1), "reward_wished": wished})[0], dropped[0])
    asked = {**rewards, "reward_scores": rewards["reward_scores"].masked_fill(~wished, torch.nan)}
    assert torch.equal(predict(unet, inputs, asked), dropped)
    assert torch.equal(dropped[1], predict(unet, inputs, rewards)[1]), "the other sample has all its wishes"
    for score in (0.0, 2.5, 5.0):
        asked["reward_scores"][0, 1] = score
        assert not torch.allclose(predict(unet, inputs, asked)[0], dropped[0], atol=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("perspectives", [("following",), ("quality", "preserving"), ("following", "preserving", "quality")])
def test_only_the_chosen_perspectives_have_an_effect(variant, perspectives):
    """Table 10. The order in which they are listed does not matter."""
    unet = reward_unet(variant=variant, perspectives=perspectives, reward_init="released")
    inputs, rewards = unet_inputs(), reward_inputs(variant)
    output = predict(unet, inputs, rewards)
    for column, name in enumerate(("following", "preserving", "quality")):
        moved = predict(unet, inputs, changed(rewards, "reward_scores", column))
        assert torch.equal(moved, output) != (name in perspectives), name


def test_the_paper_variant_adds_a_term_of_its_own_after_every_block(parent):
    unet, inputs, rewards = reward_unet(parent, variant="paper", use_attention=False), unet_inputs(), reward_inputs("paper")
    plain = predict(unet, inputs, rewards)
    assert len(unet.reward_terms) == 5                       # two down, the middle, two up
    for linear, width in zip(unet.reward_terms, (32, 64, 64, 64, 32), strict=True):
        assert linear.out_features == width
        torch.nn.init.normal_(linear.bias)                   # not one number for all channels: a group norm would take it away
        assert not torch.allclose(predict(unet, inputs, rewards), plain, atol=1e-4)
        torch.nn.init.zeros_(linear.bias)
    assert torch.equal(predict(unet, inputs, rewards), plain)


def test_the_last_blocks_term_is_added_to_its_output(parent):
    """By another route: a constant added to the last block's output is a constant in front of the output norm."""
    unet, inputs, rewards = reward_unet(parent, variant="paper", use_attention=False), unet_inputs(), reward_inputs("paper")
    torch.nn.init.constant_(unet.reward_terms[-1].bias, 0.5)
    seen = []
    hook = unet.conv_norm_out.register_forward_hook(lambda module, args, output: seen.append(args[0]))
    predict(unet, inputs, rewards)
    torch.nn.init.zeros_(unet.reward_terms[-1].bias)
    predict(unet, inputs, rewards)
    hook.remove()
    assert torch.allclose(seen[0] - seen[1], torch.tensor(0.5), atol=1e-5)


def test_a_small_term_is_not_lost_in_half_precision_beside_a_large_time_embedding():
    """A number near 100 in bfloat16 is known to a half: a term that had been added to it could not be had back."""
    unet, inputs, rewards = reward_unet(variant="paper", use_attention=False), unet_inputs(), reward_inputs("paper")
    torch.nn.init.constant_(unet.time_embedding.linear_2.bias, 100.0)
    unet, inputs, rewards = unet.bfloat16(), in_format(inputs, torch.bfloat16), in_format(rewards, torch.bfloat16)
    seen = []
    hook = unet.conv_norm_out.register_forward_hook(lambda module, args, output: seen.append(args[0].float()))
    for bias in (0.2, 0.0):
        torch.nn.init.constant_(unet.reward_terms[-1].bias, bias)
        predict(unet, inputs, rewards)
    hook.remove()
    assert (seen[0] - seen[1]).mean() == pytest.approx(0.2, abs=0.002)


@pytest.mark.parametrize("settings", [{"time_embedding_dim": 32}, {"time_embedding_act_fn": "silu"}, {"mid_block_type": None}])
def test_the_papers_term_needs_nothing_of_the_time_embedding(settings):
    parent = plain_unet(**settings)
    unet, inputs, rewards = reward_unet(parent, variant="paper", **settings), unet_inputs(), reward_inputs("paper")
    assert torch.equal(predict(unet, inputs, rewards), predict(parent, inputs))
    for linear in unet.reward_terms:
        torch.nn.init.normal_(linear.weight)
    assert not torch.allclose(predict(unet, inputs, rewards), predict(parent, inputs), atol=1e-2)


def papers_condition(**settings: object) -> PaperCondition:
    torch.manual_seed(0)
    given = {"use_score": True, "use_text": True, "use_attention": True, "use_addition": True, "perspectives": PERSPECTIVES}
    return PaperCondition(**{**given, "text_dim": 32, "sinusoid_channels": 16, "token_dim": 8, **settings})


@pytest.mark.parametrize("pooling", ["kinds", "tokens"])
@torch.no_grad()
def test_what_a_score_adds_to_the_papers_term_does_not_depend_on_the_length_of_the_text(pooling):
    """Except as in our versions before, whose models are read as they were."""
    condition = papers_condition(term_pooling=pooling)
    best, worst, text = torch.full((1, 3), 5.0), torch.zeros(1, 3), torch.randn(1, 20, 32)

    def effect(count: int, mask: torch.Tensor | None = None) -> torch.Tensor:
        ends = (condition(scores, text[:, :count], torch.float32, mask).term for scores in (best, worst))
        return next(ends) - next(ends)

    as_long, as_short, padded = effect(20), effect(6), effect(20, torch.arange(20)[None] < 6)
    torch.testing.assert_close(padded, as_short)
    torch.testing.assert_close(as_short, as_long * (21 / 7 if pooling == "tokens" else 1))


@torch.no_grad()
def test_the_papers_term_is_the_score_embedding_plus_the_mean_of_the_texts_tokens():
    condition, scores, text = papers_condition(), torch.tensor([[5.0, 1.0, 2.0]]), torch.randn(1, 6, 32)
    score_type, text_type = condition.type_embedding.weight
    score = condition.score_mlp(score_sinusoid(scores, 16)) + score_type
    torch.testing.assert_close(condition(scores, text, torch.float32).term, score + text.mean(dim=1) + text_type)
    torch.testing.assert_close(papers_condition(use_text=False)(scores, None, torch.float32).term, score)


def test_padding_of_the_reward_text_has_no_effect_in_the_paper_variant():
    unet, inputs, rewards = reward_unet(variant="paper", reward_init="released"), unet_inputs(), reward_inputs("paper")
    mask = torch.tensor([[1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 0, 0]])
    output = predict(unet, inputs, {**rewards, "reward_text_mask": mask})
    padded = {**rewards, "reward_text": torch.where(mask[..., None].bool(), rewards["reward_text"], 7.0), "reward_text_mask": mask}
    assert torch.allclose(predict(unet, inputs, padded), output, atol=1e-6)
    assert not torch.allclose(predict(unet, inputs, rewards), output, atol=1e-4)


# ------------------------------------------------------------------------------------------------------- what is handed in

def test_the_reward_may_travel_with_the_attention_arguments():
    unet, inputs, rewards = reward_unet(reward_init="released"), unet_inputs(), reward_inputs()
    carried = {"reward": rewards}
    with torch.no_grad():
        output = unet(**inputs, cross_attention_kwargs=carried).sample
    assert torch.equal(output, predict(unet, inputs, rewards))
    assert carried.keys() == {"reward"}, "the caller's dictionary is left as it was"


@pytest.mark.parametrize(("variant", "spoil", "message"), [
    ("released", lambda r: None, "reward_scores must be (2, 3), none was given"),
    ("released", lambda r: {"reward_scores": r["reward_scores"]}, "reward_text must be (2, 32), none was given"),
    ("released", lambda r: {**r, "reward_scores": r["reward_scores"][:1]}, "reward_scores must be (2, 3), got (1, 3)"),
    ("released", lambda r: {**r, "reward_text": r["reward_text"][:, :30]}, "reward_text must be (2, 32), got (2, 30)"),
    ("released", lambda r: {**r, "reward_text": r["reward_text"][:, None]}, "reward_text must be (2, 32), got (2, 1, 32)"),
    ("paper", lambda r: {**r, "reward_text": r["reward_text"][:, 0]}, "reward_text must be (2, tokens, 32), got (2, 32)"),
])
def test_a_missing_or_misshapen_reward_is_refused_by_name(variant, spoil, message):
    with pytest.raises(RewardError, match="this model reads a reward") as caught:
        predict(reward_unet(variant=variant), unet_inputs(), spoil(reward_inputs(variant)))
    assert str(caught.value).endswith(message)


def test_nothing_is_kept_on_the_module_between_calls():
    unet = reward_unet()
    before = {name: set(vars(module)) for name, module in unet.named_modules()}
    predict(unet, unet_inputs(), reward_inputs())
    assert {name: set(vars(module)) for name, module in unet.named_modules()} == before


@pytest.mark.parametrize(("settings", "message"), [
    ({"perspectives": ()}, "perspectives"), ({"perspectives": ("beauty",)}, "perspectives"), ({"variant": "third"}, "variant"),
    ({"reward_init": "ones"}, "reward_init"), ({"reward_num_heads": 5}, "reward_num_heads"), ({"center_input_sample": True}, "input conv"),
    ({"reward_term_pooling": "sum"}, "reward_term_pooling"),
])
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        reward_unet(**settings)


# ----------------------------------------------------------------------------------------------------- numbers and training

def test_the_sinusoid_of_a_score_is_cosines_then_sines_of_the_raw_score():
    scores = torch.tensor([[0.0, 2.5, 5.0]])
    frequencies = 10_000 ** (-torch.arange(8, dtype=torch.float64) / 8)
    expected = torch.cat([torch.cat([(s * frequencies).cos(), (s * frequencies).sin()]) for s in scores[0].double()])
    assert torch.allclose(score_sinusoid(scores, 16)[0].double(), expected, atol=1e-6)
    assert score_sinusoid(scores.half(), 16).dtype == torch.float32


@pytest.mark.parametrize("variant", VARIANTS)
def test_gradient_checkpointing_gives_the_same_loss_and_gradients(variant):
    unet, inputs, rewards = reward_unet(variant=variant, reward_init="released", reward_dropout=0.0), unet_inputs(), reward_inputs(variant)
    unet.train()

    def gradients() -> list[torch.Tensor]:
        unet.zero_grad()
        loss = unet(**inputs, added_cond_kwargs=rewards).sample.square().mean()
        loss.backward()
        return [loss.detach(), *(p.grad.clone() for p in unet.parameters() if p.grad is not None)]

    plain = gradients()
    unet.enable_gradient_checkpointing()
    for one, other in zip(plain, gradients(), strict=True):
        assert torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_zero_start_can_learn(variant):
    """Zeros at the end of each branch do not block the gradient: after two steps scores and text have an effect."""
    unet, inputs, rewards = reward_unet(variant=variant, reward_dropout=0.0).train(), unet_inputs(), reward_inputs(variant)
    optimizer = torch.optim.Adam(unet.parameters(), lr=1e-2)
    for _ in range(2):
        optimizer.zero_grad()
        unet(**inputs, added_cond_kwargs=rewards).sample.square().mean().backward()
        optimizer.step()
    unet.eval()
    output = predict(unet, inputs, rewards)
    for name in ("reward_scores", "reward_text"):
        assert not torch.allclose(predict(unet, inputs, changed(rewards, name)), output, atol=1e-4)


@pytest.mark.parametrize("variant", VARIANTS)
def test_it_compiles_as_one_graph(variant):
    one_level = {"block_out_channels": (32,), "down_block_types": ("CrossAttnDownBlock2D",), "up_block_types": ("CrossAttnUpBlock2D",)}
    unet, inputs, rewards = reward_unet(variant=variant, reward_init="released", **one_level), unet_inputs(), reward_inputs(variant)
    assert torch.equal(predict(torch.compile(unet, backend="eager", fullgraph=True), inputs, rewards), predict(unet, inputs, rewards))


def test_dropout_of_the_reward_encoder_acts_in_training_alone():
    unet, inputs, rewards = reward_unet(reward_init="released", reward_dropout=0.5), unet_inputs(), reward_inputs()
    assert torch.equal(predict(unet, inputs, rewards), predict(unet, inputs, rewards))
    unet.train()
    assert not torch.equal(predict(unet, inputs, rewards), predict(unet, inputs, rewards))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_gives_numbers_even_where_nothing_varies(dtype):
    """The released layer norm divides by zero on a constant row in half precision (its epsilon of 1e-12 becomes 0)."""
    norm = TokenNorm(32).to(dtype)
    assert torch.equal(norm(torch.full((2, 32), 3.0, dtype=dtype)), torch.zeros(2, 32, dtype=dtype))
    unet, inputs, rewards = reward_unet(reward_init="released"), unet_inputs(), reward_inputs()
    inputs["sample"] = torch.zeros_like(inputs["sample"])
    expected = predict(unet, inputs, rewards)
    output = predict(unet.to(dtype), in_format(inputs, dtype), rewards | in_format({"reward_text": rewards["reward_text"]}, dtype))
    assert output.isfinite().all()
    assert torch.allclose(output.float(), expected, atol=0.06)


# --------------------------------------------------------------------------------------------------------------- the config

def test_every_setting_survives_saving_and_loading(tmp_path):
    """Settings that a constructor swallows in **kwargs are lost by the library: none is."""
    settings = {"variant": "paper", "perspectives": ("following", "quality"), "use_addition": False, "reward_dropout": 0.25,
                "reward_num_heads": 8, "norm_eps": 1e-4, "dropout": 0.125, "use_linear_projection": True, "reward_init": "released"}
    unet = reward_unet(**settings)
    unet.save_pretrained(tmp_path)
    again = RewardUNet2DConditionModel.from_pretrained(tmp_path)
    for name, value in {**settings, "block_out_channels": (32, 64), "cross_attention_dim": 32}.items():
        assert (tuple(again.config[name]) if isinstance(value, tuple) else again.config[name]) == value, name
    inputs, rewards = unet_inputs(), reward_inputs("paper")
    assert torch.equal(predict(again, inputs, rewards), predict(unet, inputs, rewards))


def test_at_full_size_it_has_the_720_tensors_of_the_released_weights(shared):
    """Names, shapes and numbers of parameters at the size of Stable Diffusion 1.5; no memory is taken."""
    reference = json.loads((shared / "parity" / "reference_unet_keys.json").read_text())
    with torch.device("meta"):
        unet = RewardUNet2DConditionModel(**reference["constructor"])
    ours = {released_name(name): list(value.shape) for name, value in unet.state_dict().items()}
    assert ours == {name: one["shape"] if isinstance(one, dict) else one for name, one in reference["keys"].items()}
    assert len(ours) == 720
    added = {name: shape for name, shape in ours.items() if name in reference["additional_keys"]}
    assert added == reference["additional_keys"]
    assert len(added) == 34
    assert sum(value.numel() for value in unet.parameters()) == 864_559_364
