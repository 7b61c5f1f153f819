"""Edits by a tiny pipeline, exact, and what its U-Net hears: for the tests of the pipeline."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from PIL import Image

from mre import Reward

LOW = Reward(0, 1, 2, texts=("wrong object", "None", "blurry"))
STEPS = {"num_inference_steps": 2}


def photo(seed: int = 0, width: int = 16, height: int = 16) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def latents(batch: int = 1, seed: int = 1) -> torch.Tensor:
    return torch.randn(batch, 4, 8, 8, generator=torch.Generator().manual_seed(seed))


def edited(editor, prompt, image, reward=None, **kwargs) -> torch.Tensor:
    """The edit's latents, exact."""
    rewards = {} if reward is None else {"reward": reward}
    return editor(prompt, image, **{"output_type": "latent", "latents": latents(), **STEPS, **rewards, **kwargs}).images


@contextmanager
def hearing(editor) -> Iterator[list[dict]]:
    """What the U-Net is given at each step, and what it says."""
    calls: list[dict] = []

    def hear(module, args, kwargs, output):
        calls.append({**kwargs["cross_attention_kwargs"]["reward"], "said": output[0]})

    hook = editor.unet.register_forward_hook(hear, with_kwargs=True)
    try:
        yield calls
    finally:
        hook.remove()
