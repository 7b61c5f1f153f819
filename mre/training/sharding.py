"""Weights that lie spread over the processes, as a config of accelerate with FSDP2 lays them: what a process holds, and the whole of it."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import torch
from accelerate import DistributedType, FullyShardedDataParallelPlugin
from accelerate.utils import parse_flag_from_env
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from mre.errors import SettingsError

if TYPE_CHECKING:
    from accelerate import Accelerator

    from mre.training.config import TrainConfig

REPLICATED = [kind for kind in DistributedType if kind is DistributedType.NO or kind.value.startswith("MULTI_")]
# What a run with shards cannot do -> why.
WHOLE_ALONE = {"local_sgd_steps": "it averages whole parameters", "train_text_encoder": "only the network is spread",
               "train_readers": "only the network is spread", "optimizer": "moments in 8 bits are not spread",
               "compile": "a compiled network is not"}


def spreads_weights(accelerator: Accelerator, config: TrainConfig) -> bool:
    """Whether accelerate's config spreads the weights over the processes. Raises SettingsError where that cannot be done here."""
    plugin = plugin_of(accelerator)
    if plugin is None:
        if accelerator.distributed_type not in REPLICATED:
            raise SettingsError(f"accelerate's config asks for {accelerator.distributed_type.value}, which this trainer cannot use; "
                                "weights are spread over processes by FSDP with fsdp_version 2")
        return False
    if plugin.fsdp_version != 2:
        raise SettingsError("accelerate's config asks for FSDP of version 1, which hides single weights; set fsdp_version to 2")
    if plugin.activation_checkpointing:
        raise SettingsError("accelerate's config sets fsdp_activation_checkpointing, which renames weights; use gradient_checkpointing")
    plugin.mixed_precision_policy = None        # autocast alone rounds, as without FSDP; else gradients and loss would be, too
    for name, why in WHOLE_ALONE.items():
        if getattr(config, name) not in (0, (), "adamw"):          # False is 0
            raise SettingsError(f"{name} {getattr(config, name)} cannot be used where weights are spread over processes: {why}")
    return True


def plugin_of(accelerator: Accelerator) -> FullyShardedDataParallelPlugin | None:
    """The FSDP settings of accelerate's config, if it has some; for processes on CPUs it does not take them up, and that is done here."""
    state: Any = accelerator.state
    if accelerator.distributed_type is DistributedType.FSDP:
        return state.fsdp_plugin
    if accelerator.distributed_type is not DistributedType.MULTI_CPU or not parse_flag_from_env("ACCELERATE_USE_FSDP"):
        return None
    plugin = FullyShardedDataParallelPlugin()           # reads what the launcher has set
    state.fsdp_plugin, state.distributed_type = plugin, DistributedType.FSDP
    return plugin


def check_layers(accelerator: Accelerator, network: nn.Module) -> None:
    """Raises SettingsError where the config names layers that the network does not have, with those that it has."""
    plugin: Any = accelerator.state.fsdp_plugin
    wanted = plugin.transformer_cls_names_to_wrap or ()
    there = {type(layer).__name__ for layer in network.modules()}
    for name in wanted:
        if name not in there:
            blocks = sorted(one for one in there if "Block" in one)
            raise SettingsError(f"fsdp_transformer_layer_cls_to_wrap names {name}, which the network does not have; it has "
                                f"{', '.join(blocks)}")


def shard_of(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor, in the same memory."""
    if not isinstance(tensor, DTensor):
        return tensor
    return cast(DTensor, tensor.detach()).to_local().requires_grad_(tensor.requires_grad)


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor. Where it is spread, all processes must ask."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def gathered(tensors: Mapping[str, Tensor], kept: bool) -> dict[str, Tensor]:
    """All of each tensor, in the machine's memory where it was spread; empty in processes that do not keep it. All processes must ask."""
    found: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        all_of_it = whole(tensor)
        if kept:
            found[name] = all_of_it.cpu() if isinstance(tensor, DTensor) else all_of_it
    return found


def spread_like(tensor: Tensor, other: Tensor | None) -> Tensor:
    """A whole tensor that every process has, spread as another of its shape is; as it is where that is not spread."""
    if not isinstance(other, DTensor) or tensor.shape != other.shape:
        return tensor
    return distribute_tensor(tensor.to(other.device), other.device_mesh, other.placements, src_data_rank=None)


def as_spread(shards: Iterable[Tensor], others: Iterable[Tensor]) -> Iterator[Tensor]:
    """Shards, seen as the tensors that they are of; those are spread as the others are."""
    for shard, other in zip(shards, others, strict=True):
        yield DTensor.from_local(shard, other.device_mesh, other.placements, shape=other.shape,
                                 stride=other.stride()) if isinstance(other, DTensor) else shard


class WholeNetwork:
    """A network without weights, made before these are spread: it takes them up whole, on one process, to be looked at or saved."""

    def __init__(self, accelerator: Accelerator, network: nn.Module) -> None:
        """Raises SettingsError where accelerate's config names layers that the network does not have."""
        check_layers(accelerator, network)
        empty = {id(one): nn.Parameter(torch.empty_like(one, device="meta"), one.requires_grad) for one in network.parameters()}
        self.twin = copy.deepcopy(network, empty)       # where it meets a parameter, it takes the empty one

    @contextmanager
    def in_place_of(self, pipeline: Any, device: torch.device, main: bool) -> Iterator[None]:
        """Inside, the pipeline of the first process has the whole network, with the weights that the processes hold now. All processes must
        come here, and the others wait where they next exchange something."""
        spread = pipeline.unet
        tensors = gathered(dict(spread.named_parameters()), main)
        if not main:
            yield
            return
        for name, tensor in tensors.items():
            self._put(name, tensor.to(device))
        pipeline.unet = self.twin.eval()
        try:
            yield
        finally:
            pipeline.unet = spread
            for name, tensor in tensors.items():
                self._put(name, torch.empty_like(tensor, device="meta"))

    def _put(self, name: str, tensor: Tensor) -> None:
        parameter = self.twin.get_parameter(name)
        owner, _, last = name.rpartition(".")
        self.twin.get_submodule(owner).register_parameter(last, nn.Parameter(tensor, parameter.requires_grad))
