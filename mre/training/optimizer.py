"""The optimizer, its learning rate over a run, and its state as plain tensors."""

from __future__ import annotations

import math
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mre.errors import SettingsError

if TYPE_CHECKING:
    from mre.training.config import TrainConfig


EIGHT_BIT = "adamw-8bit"
_QUANTISED = "__bnb_optimizer_quant_state__"        # where bitsandbytes keeps what is in 8 bits, in its state_dict


def check_optimizer(config: TrainConfig) -> None:
    """Raises SettingsError where the package of an optimizer is not installed."""
    if config.optimizer == EIGHT_BIT and find_spec("bitsandbytes") is None:
        raise SettingsError(f"optimizer {EIGHT_BIT} needs the package bitsandbytes, which is not installed: "
                            "python -m pip install bitsandbytes")


def build_optimizer(learner: nn.Module, config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW over everything that is trained, torch's own in one kernel, or that of bitsandbytes with moments in 8 bits; each group keeps in
    `rate` what its learning rate is a multiple of."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    leading = tuple(f"unet.{name}" for name in getattr(getattr(learner, "unet", None), "leading_layers", ()))
    for name, parameter in learner.named_parameters():
        if parameter.requires_grad:
            rate = config.learning_rate * (1.0 if name.startswith(leading) else config.parent_rate)
            rate *= config.text_encoder_rate if name.startswith("text_encoder.") else 1.0
            decay = config.weight_decay if config.decay_all or parameter.ndim > 1 else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
    settings = [{"params": params, "lr": rate, "rate": rate, "weight_decay": decay} for (rate, decay), params in groups.items()]
    adam: dict[str, Any] = {"betas": (config.adam_beta1, config.adam_beta2), "eps": config.adam_epsilon}
    if config.optimizer == EIGHT_BIT:
        return import_module("bitsandbytes.optim").AdamW8bit(settings, **adam)
    return torch.optim.AdamW(settings, fused=True, **adam)


def set_learning_rate(optimizer: torch.optim.Optimizer, config: TrainConfig, step: int, progress: float) -> float:
    """Learning rate of optimizer step `step` (from 0) at `progress` (0..1) of the run. Returns its share of the peak."""
    share = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    if config.schedule == "cosine" and progress > config.cosine_from:
        share *= 0.5 * (1 + math.cos(math.pi * (min(progress, 1.0) - config.cosine_from) / (1 - config.cosine_from)))
    for group in optimizer.param_groups:
        group["lr"] = group["rate"] * share
    return share


def optimized(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """What it changes, in the order by which `optimizer_tensors` numbers it."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def optimized_by(name: str) -> int:
    """The number in a name that `optimizer_tensors` gave."""
    return int(name.partition(".")[0])


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state, one tensor per entry, named by the parameter's number."""
    tensors: dict[str, Tensor] = {}
    for index, entry in optimizer.state_dict()["state"].items():
        for key, value in entry.items():
            if key == _QUANTISED:           # tables are common to all parameters there; files hold each tensor for itself
                tensors |= {f"{index}.{key}.{part}": tensor.clone() for part, tensor in value.items()}
            else:
                tensors[f"{index}.{key}"] = torch.as_tensor(value)
    return tensors


def load_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave."""
    state: dict[int, dict[str, Any]] = {}
    for name, value in tensors.items():
        index, key, *part = name.split(".")
        entry = state.setdefault(int(index), {})
        if part:
            entry.setdefault(key, {})[part[0]] = value
        else:
            entry[key] = value
    for entry in state.values():
        if _QUANTISED in entry:
            entry["step"] = int(entry["step"])
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
