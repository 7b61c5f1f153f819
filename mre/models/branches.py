"""Guidance branches whose predictions cancel, left out of the U-Net's batch.

Classifier-free guidance over an instruction and an image sums three predictions (Eq. 3 of InstructPix2Pix, arXiv 2211.09800):

    e = e_neither + s_T (e_both - e_image) + s_I (e_image - e_neither) = s_T e_both + (s_I - s_T) e_image + (1 - s_I) e_neither

so that one with a weight of zero need not be computed, and may be any other's in the sum.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

BRANCHES = 3        # instruction and image; image alone; neither


def computed_branches(guidance_scale: float, image_guidance_scale: float, is_guided: bool = True) -> tuple[int, ...]:
    """For each branch, in the stock order, the branch whose prediction stands in its place: its own, unless that cancels. Where nothing is
    guided the first, of instruction and image, stands for all: their sum is this one."""
    if not is_guided:
        return 0, 0, 0
    if image_guidance_scale == 1:
        return 0, 1, 1
    if image_guidance_scale == guidance_scale:
        return 0, 2, 2
    return 0, 1, 2


@contextmanager
def without_idle_branches(unet: nn.Module, branches: Callable[[Any], tuple[int, ...]]) -> Iterator[None]:
    """Inside, a call of the U-Net with a batch of all branches computes those that count alone, and gives the others their predictions.

    unet:      called with sample (3 B, C, h, w), timestep, and whatever else has 3 B rows
    branches:  of the timestep of a call, what `computed_branches` says then: a callback may change the scales
    """
    places: tuple[int, ...] = ()

    def fewer(module: nn.Module, args: tuple, kwargs: dict[str, Any]) -> tuple[Any, Any]:
        nonlocal places
        places = branches(args[1] if len(args) > 1 else kwargs["timestep"])
        computed = sorted(set(places))
        rows = (args[0] if args else kwargs["sample"]).shape[0]
        return (args, kwargs) if len(computed) == BRANCHES else (_rows_of(args, rows, computed), _rows_of(kwargs, rows, computed))

    def all_again(module: nn.Module, args: tuple, output: Any) -> Any:
        computed = sorted(set(places))
        if len(computed) == BRANCHES:
            return output
        parts = output[0].chunk(len(computed))                                  # (B, C, h, w) each
        sample = torch.cat([parts[computed.index(place)] for place in places])  # (3 B, C, h, w)
        if isinstance(output, tuple):
            return sample, *output[1:]
        output.sample = sample
        return output
    hooks = unet.register_forward_pre_hook(fewer, with_kwargs=True), unet.register_forward_hook(all_again)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _rows_of(value: Any, rows: int, computed: list[int]) -> Any:
    """The same with the rows of these branches alone, of every tensor that has a row for each branch and picture."""
    if isinstance(value, Tensor):
        if value.ndim == 0 or value.shape[0] != rows:
            return value
        parts = value.chunk(BRANCHES)
        return torch.cat([parts[place] for place in computed])
    if isinstance(value, dict):
        return {name: _rows_of(one, rows, computed) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_rows_of(one, rows, computed) for one in value)
    return value
