"""What a machine lacks for a run is said in one line before anything is read, and what settings of speed change is speed alone."""

import dataclasses
import os
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator, DistributedType

from mre.editors.memory import Part
from mre.errors import ModelError, MreError, SettingsError
from mre.training import memory, optimizer, sharding
from mre.training.config import TrainConfig
from mre.training.start import check_machine, check_size, computes_bf16
from tests import tiny_models
from tests.training.conftest import log_of, same, weights

CPU = torch.device("cpu")
SD = {"unet": Part(860_000_000, 0), "vae": Part(84_000_000, 0), "text_encoder": Part(123_000_000, 0)}


@pytest.fixture
def launched(monkeypatch):
    """The environment of the first of eight processes that accelerate's launcher starts on one machine."""
    for name, value in {"LOCAL_WORLD_SIZE": "8", "LOCAL_RANK": "0", "ACCELERATE_MIXED_PRECISION": "no"}.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.mark.parametrize(("there", "says"), [(0, "set ACCELERATE_USE_CPU=true"), (2, "set num_processes to 2")])
def test_more_processes_than_gpus_are_refused_by_one_of_them(config, launched, there, says):
    launched.setattr(torch.accelerator, "is_available", lambda: there > 0)
    launched.setattr(torch.accelerator, "device_count", lambda: there)
    with pytest.raises(SettingsError, match=f"asks for 8 GPUs on this machine, which has {there or 'none'}; .*{says}"):
        check_machine(config, CPU)
    launched.setenv("LOCAL_RANK", "1")
    with pytest.raises(SystemExit):
        check_machine(config, CPU)
    if not there:
        launched.setenv("ACCELERATE_USE_CPU", "true")
        check_machine(config, CPU)


@pytest.mark.parametrize(("changes", "says"), [
    ({"mixed_precision": "fp16"}, "^mixed_precision fp16 needs a GPU"),
    ({"optimizer": "adamw-8bit"}, "^optimizer adamw-8bit needs the package bitsandbytes, which is not installed: python -m pip install"),
    ({"compile": True}, "^compile is for GPUs: on a CPU, torch's compiler gives a U-Net wrong gradients"),
])
def test_what_the_chip_or_the_machine_lacks_is_refused_before_anything_is_read(config, train, monkeypatch, changes, says):
    monkeypatch.setattr(optimizer, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=says):
        train(config, init_from="/nowhere", data_dir="/nowhere", **changes)


def test_a_number_format_without_units_is_refused_on_a_gpu_and_said_on_a_cpu_which_computes_it_anyway(config, train, monkeypatch, capsys):
    with monkeypatch.context() as old:
        old.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: False)
        with pytest.raises(SettingsError, match=r"^mixed_precision bf16: the GPU cuda has no units for it; take fp16 or no$"):
            check_machine(dataclasses.replace(config, mixed_precision="bf16"), torch.device("cuda"))
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert computes_bf16(torch.device("cpu", 0))                            # as one of several processes names it
    monkeypatch.setattr(torch.cpu, "get_capabilities", dict)
    train(config, mixed_precision="bf16", max_steps=1, accumulation=1)
    assert capsys.readouterr().out.count("this processor has no units for it") == 1


@pytest.mark.parametrize(("changes", "least"), [
    ({}, 860 * 20 + 207 * 4),                           # weights, gradients, two moments, average: 4 bytes each; frozen ones in float32
    ({"ema": False}, 860 * 16 + 207 * 4),
    ({"cache_latents": "cache"}, 860 * 20),             # more than what is read at first
    ({"optimizer": "adamw-8bit"}, 860 * 14 + 207 * 4),
    ({"lora_rank": 8}, 860 * 4 + 207 * 4)])
def test_memory_that_is_too_small_is_said_with_what_would_fit(config, monkeypatch, changes, least):
    config = dataclasses.replace(config, **changes)
    monkeypatch.setattr(memory, "free_memory", lambda device: least * 1_000_000)
    memory.check_memory(config, SD, "cpu", processes=1, shares=1)
    monkeypatch.setattr(memory, "free_memory", lambda device: least * 1_000_000 - 1)
    with pytest.raises(ModelError, match=f"takes {least / 1000:.3g} GB and what single layers work on") as caught:
        memory.check_memory(config, SD, "cpu", processes=1, shares=1)
    assert ("--cache-latents FOLDER or --optimizer adamw-8bit or --ema false or --lora-rank 16" in str(caught.value)) == (not changes)
    assert ("nothing makes it fit here" in str(caught.value)) == ("lora_rank" in changes)
    assert "\n" not in str(caught.value)


def test_memory_of_spread_weights_is_a_share_of_it_and_processes_on_one_cpu_add_up(config):
    whole = memory.needed(config, SD, "cpu", 1, 1)
    assert memory.needed(config, SD, "cuda:0", 1, 8) == 860_000_000 * 4 + 207_000_000 * 4 + 860_000_000 * 4 // 8      # while it is read
    assert memory.needed(config, SD, "cpu", 2, 1) == 2 * whole - 860_000_000 * 4                    # one of them keeps the average


def test_the_size_of_an_editor_is_read_before_its_weights(config, train, monkeypatch):
    monkeypatch.setattr(memory, "free_memory", {"cpu": 1000}.get)
    monkeypatch.setattr("mre.training.loop.starting_pipeline", lambda *_: pytest.fail("read"))
    with pytest.raises(ModelError, match=r"takes .* GB"):
        check_size(config, torch.device("cpu", 0), 1)
    with pytest.raises(ModelError, match=r"takes .* GB"):
        train(config)


@pytest.mark.parametrize(("kind", "version", "says"), [
    ("MEGATRON_LM", 2, "^accelerate's config asks for MEGATRON_LM, which this trainer cannot use"),
    ("FSDP", 1, "^accelerate's config asks for FSDP of version 1, .* set fsdp_version to 2"),
])
def test_a_config_of_accelerate_that_cannot_be_used_is_refused_before_anything_is_read(kind, version, says, config, train, monkeypatch):
    monkeypatch.setattr(Accelerator, "distributed_type", DistributedType(kind))
    monkeypatch.setenv("FSDP_VERSION", str(version))
    monkeypatch.setattr(sharding, "plugin_of", lambda accelerator: sharding.FullyShardedDataParallelPlugin() if kind == "FSDP" else None)
    with pytest.raises(SettingsError, match=says):
        train(config, data_dir="/nowhere")
    assert not os.path.exists(config.out)


@pytest.mark.parametrize(("name", "value"), [("local_sgd_steps", 4), ("train_text_encoder", True), ("optimizer", "adamw-8bit")])
def test_what_cannot_be_done_with_spread_weights_is_refused_by_name(config, monkeypatch, name, value):
    monkeypatch.setenv("FSDP_VERSION", "2")
    monkeypatch.setattr(sharding, "plugin_of", lambda accelerator: sharding.FullyShardedDataParallelPlugin())
    with pytest.raises(SettingsError, match=f"^{name} .*cannot be used where weights are spread"):
        sharding.spreads_weights(Accelerator(cpu=True), TrainConfig(**{name: value}))


def test_layers_that_the_network_does_not_have_are_named_with_those_that_it_has():
    plugin = SimpleNamespace(transformer_cls_names_to_wrap=["Flux2Block"])
    accelerator = SimpleNamespace(state=SimpleNamespace(fsdp_plugin=plugin))
    with pytest.raises(SettingsError, match="names Flux2Block, which the network does not have; it has BasicTransformerBlock, "):
        sharding.check_layers(accelerator, tiny_models.plain_unet())


def test_a_compiled_network_is_what_trains_and_leaves_the_names_of_its_weights(config, train, monkeypatch):
    """Compiling itself takes most of a minute; that it is asked for, and what of it reaches the files, shows with a stand-in."""
    config, called = dataclasses.replace(config, max_steps=1), []
    plain = train(config, out=f"{config.out}-plain")

    class Compiled(torch.nn.Module):
        def __init__(self, network: torch.nn.Module) -> None:
            super().__init__()
            self._orig_mod = network

        def forward(self, *args: object, **kwargs: object) -> object:
            called.append(len(args))
            return self._orig_mod(*args, **kwargs)

    monkeypatch.setattr(torch, "compile", Compiled)
    monkeypatch.setattr("mre.training.start.check_compiling", lambda device: None)
    train(config, compile=True)
    assert len(called) == config.accumulation
    assert log_of(config.out) == log_of(plain.out)
    assert same(weights(config.out), weights(plain.out))


def test_compiling_for_a_gpu_needs_triton(config, monkeypatch):
    monkeypatch.setattr("mre.compiling.find_spec", lambda name: None)
    with pytest.raises(SettingsError, match=r"^compile needs the package triton for cuda, which is not installed"):
        check_machine(dataclasses.replace(config, compile=True), torch.device("cuda"))


def test_a_network_that_torch_cannot_compile_is_told_in_one_line(config, train, monkeypatch):
    failed = type("InductorError", (RuntimeError,), {"__module__": "torch._inductor.exc"})("\nC++ compile error\ng++ -O3")
    monkeypatch.setattr("mre.training.loop.Run._one_step", lambda *_: (_ for _ in ()).throw(failed))
    with pytest.raises(MreError, match=r"^compile: torch could not compile the network \(C\+\+ compile error\); leave compile out$"):
        train(config)


def test_moments_in_eight_bits_are_saved_and_read_back(config, train):
    pytest.importorskip("bitsandbytes", reason="an optional package")
    whole = train(config, optimizer="adamw-8bit", max_steps=3, out=f"{config.out}-whole")
    for steps in (2, 3):
        run = train(config, optimizer="adamw-8bit", max_steps=steps)
    assert log_of(config.out) == log_of(whole.out)
    assert same(weights(config.out), weights(whole.out))
    assert any(tensor.dtype == torch.uint8 for tensor in optimizer.optimizer_tensors(run.optimizer).values())
