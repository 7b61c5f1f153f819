"""The optimizer, its learning rate over a run, and its state as plain tensors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from mre.training.config import TrainConfig


def build_optimizer(learner: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """AdamW over everything that is trained; each group keeps in `rate` what its learning rate is a multiple of."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    leading = tuple(f"unet.{name}" for name in getattr(getattr(learner, "unet", None), "leading_layers", ()))
    for name, parameter in learner.named_parameters():
        if parameter.requires_grad:
            rate = config.learning_rate * (1.0 if name.startswith(leading) else config.parent_rate)
            rate *= config.text_encoder_rate if name.startswith("text_encoder.") else 1.0
            decay = config.weight_decay if config.decay_all or parameter.ndim > 1 else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
    settings = [{"params": params, "lr": rate, "rate": rate, "weight_decay": decay} for (rate, decay), params in groups.items()]
    return torch.optim.AdamW(settings, betas=(config.adam_beta1, config.adam_beta2), eps=config.adam_epsilon, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, config: TrainConfig, step: int, progress: float) -> float:
    """Learning rate of optimizer step `step` (from 0) at `progress` (0..1) of the run. Returns its share of the peak."""
    share = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    if config.schedule == "cosine" and progress > config.cosine_from:
        share *= 0.5 * (1 + math.cos(math.pi * (min(progress, 1.0) - config.cosine_from) / (1 - config.cosine_from)))
    for group in optimizer.param_groups:
        group["lr"] = group["rate"] * share
    return share


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The optimizer's state, one tensor per entry, named by the parameter's number."""
    return {f"{index}.{key}": value for index, entry in optimizer.state_dict()["state"].items() for key, value in entry.items()}


def load_optimizer_tensors(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Put back what `optimizer_tensors` gave."""
    state: dict[int, dict[str, Tensor]] = {}
    for name, value in tensors.items():
        index, key = name.split(".", 1)
        state.setdefault(int(index), {})[key] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
