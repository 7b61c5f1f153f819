"""Whatever has weights is called through its own forward: offload, casting, adapters and compilers work as on the stock U-Net."""

import copy
import functools
import itertools
import pickle
from collections.abc import Iterable
from functools import partial

import peft
import pytest
import torch
from accelerate import cpu_offload, disk_offload, dispatch_model
from accelerate.hooks import remove_hook_from_module
from diffusers import StableDiffusionInstructPix2PixPipeline
from diffusers.hooks import apply_group_offloading
from torch import nn

from mre import Reward
from mre.embedded.build import build_pipeline
from tests.tiny_edits import edited, photo
from tests.tiny_models import pipeline, plain_unet, reward_inputs, reward_unet, unet_inputs

CPU = torch.device("cpu")
OFF = dict.fromkeys(("use_score", "use_text"), False)
SWITCHES = {
    "released": {}, "paper": {"variant": "paper"}, "off": OFF,
    "released, attention alone": {"use_addition": False}, "paper, attention alone": {"variant": "paper", "use_addition": False},
    "released, addition alone": {"use_attention": False}, "paper, addition alone": {"variant": "paper", "use_attention": False},
    "released, scores of one": {"use_text": False, "perspectives": ("quality",)},
    "paper, text alone": {"variant": "paper", "use_score": False},
}
KINDS = [*SWITCHES, "embedded", "embedded paper", "embedded off"]
REWARD = Reward(1, 2, 4, texts=("wrong object", "None", "blurry"))


def with_effect(unet: nn.Module) -> nn.Module:
    """No tensor is left zero, so that one that were missing would change the output."""
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for parameter in unet.parameters():
            if not parameter.any():
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return unet.eval().requires_grad_(False)


def build(kind: str) -> nn.Module:
    return copy.deepcopy(built(kind))


@functools.cache
def built(kind: str) -> nn.Module:
    if not kind.startswith("embedded"):
        return with_effect(reward_unet(plain_unet(), **SWITCHES[kind], reward_init="released", reward_dropout=0.0))
    torch.manual_seed(0)
    switches = {"embedded": {}, "embedded paper": {"variant": "paper"}, "embedded off": OFF}[kind]
    return with_effect(build_pipeline(width=(32, 48, 64), words=["red"], native_size=32, reward_init="released", **switches).unet)


def arguments(unet: nn.Module) -> dict[str, object]:
    """What a U-Net of any of the kinds is called with."""
    paper, width = unet.config.variant == "paper", unet.config.reward_text_dim
    generator = torch.Generator().manual_seed(3)
    inputs = unet_inputs()
    if unet.config.in_channels != 8:
        inputs |= {"sample": torch.randn(2, unet.config.in_channels, 4, 4, generator=generator),
                   "encoder_hidden_states": torch.randn(2, 40, unet.config.cross_attention_dim, generator=generator)}
    text = torch.randn((2, 6, width) if paper else (2, width), generator=generator)
    return inputs | {"added_cond_kwargs": {"reward_scores": torch.tensor([[5.0, 1.0, 2.0], [0.0, 4.0, 3.0]]), "reward_text": text}}


@torch.no_grad()
def predict(unet: nn.Module, **more: object) -> torch.Tensor:
    return unet(**arguments(unet), **more).sample


@pytest.fixture(params=KINDS)
def unet(request) -> nn.Module:
    return build(request.param)


def in_turn(kinds: Iterable[str], ways: Iterable[object], each: int) -> list[tuple[str, object]]:
    """Every kind with `each` of the ways, taken in turn: every way meets several kinds, at a part of the cost of all with all."""
    turn = itertools.cycle(ways)
    return [(kind, next(turn)) for kind in kinds for _ in range(each)]


# ------------------------------------------------------------------------------------------------------------- the rule

def test_every_module_with_weights_is_called(unet):
    """Lists of modules have no forward; all others do, and a hook on any of them (of offload, FSDP, casting) must be reached."""
    called = set()
    for name, module in unet.named_modules():
        module.register_forward_hook(lambda *_, name=name: called.add(name))
    predict(unet)
    owners = {name for name, module in unet.named_modules()
              if any(True for _ in module.parameters()) and not isinstance(module, (nn.ModuleList, nn.ModuleDict))}
    assert not owners - called


def test_no_weight_is_read_while_its_module_does_not_run(unet):
    """By another route: each module's own weights are NaN, except while its forward runs."""
    expected = predict(unet)
    for module in unet.modules():
        own = dict(module.named_parameters(recurse=False))
        kept = {name: parameter.data for name, parameter in own.items()}

        def show(module, args, own=own, kept=kept):
            for name, parameter in own.items():
                parameter.data = kept[name]

        def hide(module, args, output, own=own):
            for parameter in own.values():
                parameter.data = torch.full_like(parameter, torch.nan)

        if own:
            hide(None, None, None)
            module.register_forward_pre_hook(show)
            module.register_forward_hook(hide)
    assert torch.equal(predict(unet), expected)


# --------------------------------------------------------------------------------------------------------------- offload

def split_over_two_places(unet: nn.Module, folder) -> None:
    places = {name: "disk" if index % 2 else "cpu" for index, (name, _) in enumerate(unet.named_children())}
    places |= {name: "disk" for name, _ in unet.named_parameters(recurse=False)}
    dispatch_model(unet, device_map=places, main_device="cpu", offload_dir=folder, force_hooks=True)


def grouped(unet: nn.Module, folder, kind: str, **settings: object) -> None:
    apply_group_offloading(unet, onload_device=CPU, offload_device=CPU, offload_type=kind, **settings)


PLACEMENTS = {
    "cpu_offload": lambda unet, folder: cpu_offload(unet, CPU),
    "cpu_offload with buffers": lambda unet, folder: cpu_offload(unet, CPU, offload_buffers=True),
    "disk_offload": lambda unet, folder: disk_offload(unet, str(folder), CPU),
    "dispatch to memory and disk": split_over_two_places,
    "groups of leaves": partial(grouped, kind="leaf_level"),
    "groups of blocks": partial(grouped, kind="block_level", num_blocks_per_group=1),
    "groups of several blocks": partial(grouped, kind="block_level", num_blocks_per_group=2),
    "groups of leaves on disk": lambda unet, folder: grouped(unet, folder, kind="leaf_level", offload_to_disk_path=str(folder)),
}


def assert_same(output: torch.Tensor, expected: torch.Tensor, placement: str) -> None:
    """To the bit; weights mapped from a file lie elsewhere in memory, where torch may choose another kernel."""
    if "on disk" in placement:
        torch.testing.assert_close(output, expected, atol=2e-5, rtol=0)
    else:
        assert torch.equal(output, expected)


@pytest.mark.parametrize(("kind", "placement"), in_turn(KINDS, PLACEMENTS, 2))
def test_offloaded_it_predicts_the_same(kind, placement, tmp_path):
    unet = build(kind)
    expected = predict(unet)
    PLACEMENTS[placement](unet, tmp_path)
    for _ in range(2):
        assert_same(predict(unet), expected, placement)


@pytest.mark.parametrize(("placement", "kind"), in_turn(PLACEMENTS, ("released", "paper", "off"), 1))
def test_offloaded_without_effect_of_the_reward_it_equals_the_offloaded_stock_unet(placement, kind, tmp_path):
    parent = plain_unet()
    unet, inputs = reward_unet(parent, **SWITCHES[kind]), unet_inputs()
    for number, one in enumerate((parent, unet)):
        (tmp_path / str(number)).mkdir()
        PLACEMENTS[placement](one, tmp_path / str(number))
    rewards = reward_inputs(SWITCHES[kind].get("variant", "released"))
    with torch.no_grad():
        assert_same(unet(**inputs, added_cond_kwargs=rewards).sample, parent(**inputs).sample, placement)


def test_after_offload_the_weights_can_be_taken_back(unet):
    expected = predict(unet)
    cpu_offload(unet, CPU)
    predict(unet)
    remove_hook_from_module(unet, recurse=True)
    assert not any(parameter.is_meta for parameter in unet.parameters())
    assert torch.equal(predict(unet), expected)


@pytest.mark.parametrize("variant", ["released", "paper"])
@pytest.mark.parametrize("way", ["sequential", "groups of leaves", "groups of blocks"])
def test_a_whole_pipeline_edits_the_same_when_offloaded(variant, way):
    stock, editor = pipeline(plain_unet(), StableDiffusionInstructPix2PixPipeline), pipeline(with_effect(reward_unet(variant=variant)))
    expected = edited(stock, "red", photo()), edited(editor, "red", photo(), reward=REWARD)
    for pipe in (stock, editor):
        if way == "sequential":
            for name in ("unet", "vae", "text_encoder"):
                cpu_offload(getattr(pipe, name), CPU)
        else:
            pipe.enable_group_offload(onload_device=CPU, offload_device=CPU, num_blocks_per_group=1,
                                      offload_type="leaf_level" if "leaves" in way else "block_level")
    assert torch.equal(edited(stock, "red", photo()), expected[0])
    assert torch.equal(edited(editor, "red", photo(), reward=REWARD), expected[1])


# --------------------------------------------------------------------------------------------------------------- casting

FLOAT8 = torch.float8_e4m3fn


def test_layerwise_casting_computes_with_the_rounded_weights(unet):
    """By another route: the same weights rounded to 8 bits once, in a model without hooks. Norms are left as they are by the library."""
    rounded = copy.deepcopy(unet)
    for name, module in rounded.named_modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, nn.Embedding)) and "norm" not in name:
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(FLOAT8).float()
    expected = predict(rounded)
    unet.enable_layerwise_casting(storage_dtype=FLOAT8, compute_dtype=torch.float32)
    assert {unet.conv_in.weight.dtype, unet.conv_out.weight.dtype} == {FLOAT8}
    torch.testing.assert_close(predict(unet), expected, atol=1e-4, rtol=1e-4)
    assert unet.conv_in.weight.dtype == FLOAT8


@pytest.mark.parametrize("switches", [{}, {"variant": "paper"}, OFF], ids=["released", "paper", "off"])
def test_cast_without_effect_of_the_reward_it_equals_the_cast_stock_unet(switches):
    parent = plain_unet()
    unet, inputs = reward_unet(parent, **switches), unet_inputs()
    for one in (parent, unet):
        one.enable_layerwise_casting(storage_dtype=FLOAT8, compute_dtype=torch.float32)
    with torch.no_grad():
        output = unet(**inputs, added_cond_kwargs=reward_inputs(switches.get("variant", "released"))).sample
        assert torch.equal(output, parent(**inputs).sample)


# -------------------------------------------------------------------------------------------------------------- adapters

EVERYWHERE = r".*(conv_in|conv1|conv_out|to_q|to_k|to_v|linear_\d|time_emb_proj|query|key|value|proj_in|proj_out|reward_terms\.\d+)"


def adapter(targets: list[str] | str):
    """An adapter that changes something from the start."""
    return peft.LoraConfig(r=2, lora_alpha=2, target_modules=targets, init_lora_weights=False)


def adapted(unet: nn.Module, targets: list[str] | str, seed: int = 11) -> nn.Module:
    torch.manual_seed(seed)
    unet.add_adapter(adapter(targets))
    return unet.eval()


@pytest.mark.parametrize(("kind", "targets"), [*((kind, EVERYWHERE) for kind in KINDS), ("paper", ["conv_in"]), ("embedded", ["conv_in"])])
def test_a_lora_takes_effect_fused_and_unfused(kind, targets):
    unet = build(kind)
    plain = predict(unet)
    adapted(unet, targets)
    assert isinstance(unet.conv_in, peft.tuners.lora.Conv2d)
    output = predict(unet)
    assert (output - plain).abs().max() > 1e-3
    unet.fuse_lora()
    torch.testing.assert_close(predict(unet), output, atol=1e-3, rtol=1e-3)
    unet.unfuse_lora()
    torch.testing.assert_close(predict(unet), output, atol=1e-3, rtol=1e-3)
    unet.disable_lora()
    torch.testing.assert_close(predict(unet), plain, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize(("kind", "scale"), [("released", None), ("paper", None), ("off", None), ("released", 0.5), ("paper", 0.0)])
def test_a_stock_lora_changes_the_prediction_as_it_changes_the_stock_units(kind, scale, tmp_path):
    """Saved from a stock U-Net, loaded into ours by name, without effect of the reward; scaled for a call as stock U-Nets are."""
    stock = adapted(plain_unet(), ["conv_in", "to_q", "conv1"])
    stock.save_lora_adapter(tmp_path)
    unet, inputs = reward_unet(plain_unet(), **SWITCHES[kind]), unet_inputs()
    unet.load_lora_adapter(tmp_path / "pytorch_lora_weights.safetensors", prefix=None)
    scaled = {} if scale is None else {"cross_attention_kwargs": {"scale": scale}}
    with torch.no_grad():
        expected = stock(**inputs, **scaled).sample
        rewards = reward_inputs(SWITCHES[kind].get("variant", "released"))
        assert torch.equal(unet(**inputs, **scaled, added_cond_kwargs=rewards).sample, expected)
        assert torch.equal(expected, plain_unet()(**inputs).sample) == (scale == 0)


@pytest.mark.parametrize("kind", ["released", "paper", "embedded", "embedded paper"])
def test_half_an_adapter_is_half_its_effect_on_every_layer(kind):
    """By another route: the second factor of each pair halved."""
    unet = adapted(build(kind), EVERYWHERE)
    output = predict(unet, cross_attention_kwargs={"scale": 0.5})
    for name, parameter in unet.named_parameters():
        if ".lora_B." in name:
            parameter.data *= 0.5
    torch.testing.assert_close(predict(unet), output, atol=1e-4, rtol=1e-4)


def test_an_adapter_saved_by_our_pipeline_is_loaded_by_it(tmp_path):
    editor, other = (pipeline(with_effect(reward_unet(seed=1))) for _ in range(2))
    plain = edited(editor, "red", photo(), reward=REWARD)
    adapted(editor.unet, EVERYWHERE)
    editor.save_lora_weights(tmp_path, unet_lora_layers=peft.get_peft_model_state_dict(editor.unet, adapter_name="default"))
    other.load_lora_weights(tmp_path)
    expected = edited(editor, "red", photo(), reward=REWARD)
    assert torch.equal(edited(other, "red", photo(), reward=REWARD), expected)
    assert not torch.allclose(expected, plain, atol=1e-3)


@pytest.mark.parametrize(("kind", "placement"), in_turn(KINDS, ("cpu_offload", "groups of leaves", "cpu_offload"), 1))
def test_an_adapted_model_can_be_offloaded(kind, placement, tmp_path):
    unet = build(kind)
    expected = predict(adapted(unet, EVERYWHERE))
    PLACEMENTS[placement](unet, tmp_path)
    assert torch.equal(predict(unet), expected)


# ------------------------------------------------------------------------------------------- copies, training, compilers

@pytest.mark.parametrize(("kind", "copied"), in_turn(KINDS, (copy.deepcopy, lambda unet: pickle.loads(pickle.dumps(unet))), 1))
def test_a_copy_predicts_the_same_and_is_another_model(kind, copied):
    unet = build(kind)
    expected, other = predict(unet), copied(unet)
    assert torch.equal(predict(other), expected)
    for parameter in other.parameters():
        parameter.data.zero_()
    assert not torch.equal(predict(other), expected)
    assert torch.equal(predict(unet), expected)


def test_gradient_checkpointing_gives_the_same_gradients(unet):
    unet.requires_grad_(True).train()

    def gradients() -> dict[str, torch.Tensor]:
        unet.zero_grad()
        unet(**arguments(unet)).sample.square().mean().backward()
        return {name: parameter.grad.clone() for name, parameter in unet.named_parameters() if parameter.grad is not None}

    plain = gradients()
    unet.enable_gradient_checkpointing()
    again = gradients()
    assert plain.keys() == again.keys()
    for name in plain:
        torch.testing.assert_close(again[name], plain[name], atol=1e-5, rtol=1e-4)


def test_the_embedded_model_compiles_without_a_break_in_the_graph():
    """Seconds of tracing; the other kinds are in test_unet."""
    unet = build("embedded")
    compiled = torch.compile(unet, backend="eager", fullgraph=True)
    torch.testing.assert_close(predict(compiled), predict(unet), atol=1e-5, rtol=1e-4)
