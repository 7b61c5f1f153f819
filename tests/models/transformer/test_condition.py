"""The reward condition on FLUX.2 and Qwen-Image: nothing changes before it is trained, and then what is asked for counts."""

import copy
import math

import pytest
import torch
from peft import LoraConfig

from mre.errors import ModelError, RewardError
from mre.models.transformer.models import with_condition
from tests.bench.transformer_flops import counted, shapes
from tests.models.transformer.tiny import KINDS, TEXT, call, conditioned, reward, stock

NAN = math.nan
each_kind = pytest.mark.parametrize("kind", KINDS)


@each_kind
def test_an_untrained_condition_changes_no_bit_of_what_the_parent_makes(kind):
    parent = call(stock(kind), kind)
    for wish in ({}, reward(), reward(scores=((NAN,) * 3,) * 2, read=0)):
        assert torch.equal(call(conditioned(kind), kind, **wish), parent)


@each_kind
def test_a_trained_condition_is_its_parent_where_nothing_is_asked_for(kind):
    parent, model = call(stock(kind), kind), conditioned(kind, acts=True)
    assert not torch.allclose(call(model, kind, **reward()), parent, atol=1e-3)
    assert torch.equal(call(model, kind), parent)
    assert torch.equal(call(model, kind, **reward(scores=((NAN,) * 3,) * 2, read=0)), parent)
    one = call(model, kind, **reward(scores=((NAN,) * 3, (NAN, 4, NAN)), read=0))
    assert torch.equal(one[0], parent[0])
    assert not torch.allclose(one[1], parent[1], atol=1e-3)


@each_kind
def test_a_score_without_a_wish_has_no_token_whatever_the_others_are(kind):
    model = conditioned(kind, acts=True)
    wish = reward(scores=((5, NAN, 3), (5, NAN, 3)))
    wish["reward_text_mask"] = wish["reward_text_mask"] & torch.tensor([True, False, True])[:, None]
    two = call(model, kind, **wish)
    only = call(with_scores(model, ("following", "quality")), kind, **reward(scores=((5, 1, 3), (5, 4, 3))))
    torch.testing.assert_close(two, only)


def with_scores(model, perspectives):
    """The same model, made for some perspectives alone."""
    other = copy.deepcopy(model)
    columns = other.reward_condition.columns
    kept = [place for place, column in enumerate(columns) if ("following", "preserving", "quality")[column] in perspectives]
    other.reward_condition.scores = torch.nn.ModuleList(other.reward_condition.scores[place] for place in kept)
    other.reward_condition.columns = [columns[place] for place in kept]
    other.reward_condition.text_type.weight.data = other.reward_condition.text_type.weight.data[kept]
    return other


@each_kind
def test_padding_of_the_reward_text_is_not_read(kind):
    model, wish = conditioned(kind, acts=True), reward()
    changed = {**wish, "reward_text": wish["reward_text"].clone()}
    changed["reward_text"][:, :, 2:] += 1
    assert torch.equal(call(model, kind, **wish), call(model, kind, **changed))
    changed["reward_text"][:, :, :2] = changed["reward_text"][:, :, :2].flip(-1)
    assert not torch.allclose(call(model, kind, **wish), call(model, kind, **changed), atol=1e-3)


@each_kind
@pytest.mark.parametrize("switches", [{"use_attention": False}, {"use_addition": False}, {"use_score": False}, {"use_text": False}])
def test_each_part_of_the_condition_acts_by_itself(kind, switches):
    model = conditioned(kind, acts=True, **switches)
    assert not torch.allclose(call(model, kind, **reward()), call(stock(kind), kind), atol=1e-3)


def test_with_all_parts_off_there_are_no_new_weights():
    model = conditioned("flux", use_score=False, use_text=False)
    assert model.state_dict().keys() == stock("flux").state_dict().keys()
    assert torch.equal(call(model, "flux", **reward()), call(stock("flux"), "flux"))


@each_kind
def test_the_guidance_branch_without_the_instruction_reads_the_negative_reward_alone(kind):
    model, parent = conditioned(kind, acts=True), call(stock(kind), kind)
    low = reward(scores=((0, 0, 0),) * 2)
    with model.cache_context("uncond"):
        assert torch.equal(call(model, kind, **reward()), parent)
        other = call(model, kind, negative=low, **reward())
    with model.cache_context("cond"):
        assert torch.equal(call(model, kind, negative=low, **reward()), call(model, kind, **reward()))
    assert torch.equal(other, call(model, kind, **low))


@each_kind
def test_gradients_reach_every_part_once_the_last_layers_have_moved(kind):
    model = conditioned(kind)
    call(model, kind, **reward()).square().sum().backward()
    first = {name for name, value in model.named_parameters() if value.grad is not None and value.grad.abs().sum() > 0}
    own = {name for name, _ in model.named_parameters() if name.startswith(model.reward_layers)}
    assert {name for name in first if name in own} == {
        f"{layer}.{part}" for layer in ("reward_reader.out", "reward_condition.term.linear_2") for part in ("weight", "bias")}
    model = conditioned(kind, acts=True)
    call(model, kind, **reward()).square().sum().backward()
    unmoved = {name for name, value in model.named_parameters() if name in own and not value.grad.abs().sum()}
    assert unmoved <= {"reward_reader.key.bias"}, "which cancels in a softmax"


@each_kind
def test_checkpointing_gives_the_same_gradients(kind):
    grads = []
    for saves in (False, True):
        model = conditioned(kind, acts=True).train()
        if saves:
            model.enable_gradient_checkpointing()
        call(model, kind, **reward()).square().sum().backward()
        grads.append({name: value.grad for name, value in model.named_parameters() if value.grad is not None})
    torch.testing.assert_close(grads[1], grads[0])


@each_kind
def test_adapters_and_layerwise_casting_reach_the_stock_layers(kind):
    model, wish = conditioned(kind, acts=True), reward()
    plain = call(model, kind, **wish)
    model.add_adapter(LoraConfig(r=2, target_modules=["to_q", "to_k"], init_lora_weights=False))
    adapted = call(model, kind, **wish)
    assert not torch.allclose(adapted, plain, atol=1e-3)
    other = conditioned(kind, acts=True)
    other.reward_condition.load_state_dict(model.reward_condition.state_dict())
    other.reward_reader.load_state_dict(model.reward_reader.state_dict())
    other.enable_layerwise_casting(storage_dtype=torch.float16, compute_dtype=torch.float32)
    assert other.reward_reader.query.weight.dtype == torch.float16
    torch.testing.assert_close(call(other, kind, **wish), plain, atol=5e-2, rtol=5e-2)


def test_offloaded_layer_by_layer_it_makes_the_same():
    from accelerate import cpu_offload

    model, wish = conditioned("flux", acts=True), reward()
    plain = call(model, "flux", **wish)
    torch.testing.assert_close(call(cpu_offload(model, torch.device("cpu")), "flux", **wish), plain)


@each_kind
def test_saved_as_a_whole_it_comes_back(kind, tmp_path):
    model = conditioned(kind, acts=True, perspectives=("following", "quality"))
    model.save_pretrained(tmp_path)
    again = type(model).from_pretrained(tmp_path)
    assert again.config.perspectives == ["following", "quality"]
    assert torch.equal(call(again, kind, **reward()), call(model, kind, **reward()))


@pytest.mark.parametrize(("wish", "says"), [
    ({"reward_text": torch.zeros(2, 3, 3, TEXT)}, r"reward_scores must be \(2, 3\), none was given"),
    ({**reward(), "reward_scores": torch.zeros(1, 3)}, r"reward_scores must be \(2, 3\), got \(1, 3\)"),
    ({**reward(), "reward_text": torch.zeros(2, 3, TEXT)}, rf"reward_text must be \(2, 3, tokens, {TEXT}\), got \(2, 3, {TEXT}\)")])
def test_a_reward_that_does_not_fit_is_refused(wish, says):
    with pytest.raises(RewardError, match=says):
        call(conditioned("flux"), "flux", **wish)


def test_other_models_are_refused():
    with pytest.raises(ModelError, match="a Linear cannot be given a reward condition"):
        with_condition(torch.nn.Linear(2, 2))


@pytest.mark.parametrize("name", shapes())
def test_at_full_width_the_condition_costs_at_most_two_percent_of_the_operations_even_of_one_block(name):
    plain, rewarded = counted(name, size=512, blocks=1)
    assert plain < rewarded <= 1.02 * plain


