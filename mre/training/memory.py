"""Memory of a training process: what it needs, and how a CPU's is kept."""

from __future__ import annotations

import ctypes
import ctypes.util
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from mre.errors import ModelError, SettingsError
from mre.machine import free_memory
from mre.training.optimizer import EIGHT_BIT

if TYPE_CHECKING:
    from mre.editors.memory import Part
    from mre.training.config import TrainConfig

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4     # names of mallopt's settings in malloc.h
_KEPT = 2**31 - 1           # bytes


def keep_freed_memory() -> bool:
    """Let the C library keep what is freed, for the next step asks for the same blocks again. Returns whether it could be told.

    glibc maps each large block anew and gives it back at once; clearing those pages took a third to a half of a small model's
    training time on two cores. Other C libraries are left as they are.
    """
    name = ctypes.util.find_library("c")
    mallopt = getattr(ctypes.CDLL(name), "mallopt", None) if name else None
    if mallopt is None:
        return False
    return all([mallopt(_M_MMAP_MAX, 0), mallopt(_M_TRIM_THRESHOLD, _KEPT), mallopt(_M_TOP_PAD, 2**28)])


def check_memory(config: TrainConfig, parts: Mapping[str, Part], device: str, processes: int, shares: int) -> None:
    """Raises ModelError, before anything is read, where what a run holds for certain is more than the memory that is free, with what would
    fit. Activations come on top of it.

    parts:     the models of the pipeline, by name
    device:    of one of the `processes` that share its memory
    shares:    over how many processes weights are spread; 1 = each holds all of them
    """
    free = free_memory(device)
    if not parts or free is None or (least := needed(config, parts, device, processes, shares)) <= free:
        return
    said = []
    for name, value in (("cache_latents", "FOLDER"), ("optimizer", "adamw-8bit"), ("ema", False), ("lora_rank", 16)):
        try:
            if getattr(config, name) != value and needed(replace(config, **{name: value}), parts, device, processes, shares) <= free:
                said.append(f"--{name.replace('_', '-')} {str(value).lower() if value is False else value}")
        except SettingsError:           # does not go with the other settings
            continue
    raise ModelError(f"training {config.init_from} takes {least / 1e9:.3g} GB and what single layers work on, and {free / 1e9:.3g} GB of "
                     f"memory are free on {device}; " + (f"what would fit: {' or '.join(said)}" if said else
                                                  "nothing makes it fit here: spread it over several GPUs, or train a smaller model"))


def needed(config: TrainConfig, parts: Mapping[str, Part], device: str, processes: int, shares: int) -> int:
    """Bytes that are in a device's memory at once: of what is trained weights, gradients, moments and average, and what is frozen."""
    learning = {"unet", *(("text_encoder",) if config.train_text_encoder else ()), *config.train_readers}
    frozen_format = "float32" if device == "cpu" or config.mixed_precision == "no" else "float16"
    trained = sum(part.numbers for name, part in parts.items() if name in learning)
    frozen = sum(part.size(frozen_format, None) for name, part in parts.items() if name not in learning)
    average = 4 * trained if config.ema else 0
    a_number = 4 if config.lora_rank else 4 + 4 + (2 if config.optimizer == EIGHT_BIT else 8)
    if config.lora_rank:
        average = 0                     # adapters are small
    later, first = a_number * trained // shares + (0 if config.cache_latents else frozen), 4 * trained + frozen
    each = max(later, first)            # first all of it is read
    return each * processes + (average if shares == 1 else average // shares * processes)
