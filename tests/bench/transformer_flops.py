"""What the reward condition costs a transformer editor: floating-point operations of a denoising step at full size, with it and without.

    python -m tests.bench.transformer_flops [--size 1024]

The models are built on the meta device, which holds shapes and no numbers, and one forward pass is counted by torch.utils.flop_counter:
multiplications and additions of matrix products and attention. One branch of guidance; others cost the same again.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from mre.models.quiet import quiet_libraries
from mre.models.transformer.models import RewardFlux2Transformer2DModel, RewardQwenImageTransformer2DModel
from mre.models.transformer.texts import TEXT_TOKENS
from mre.rewards import PERSPECTIVES

MOST = 0.02
INSTRUCTION_TOKENS = 512
PATCH = 16              # pixels of a token's side
# name -> class, its published settings, the width of its text encoder's states, the keyword of its attention
FULL_SIZE: dict[str, tuple[type, dict[str, Any], int, str]] = {
    "FLUX.2 klein 4B": (RewardFlux2Transformer2DModel,
                        {"num_layers": 5, "num_single_layers": 20, "num_attention_heads": 24, "joint_attention_dim": 7680,
                         "guidance_embeds": False}, 2560, "joint_attention_kwargs"),
    "Qwen-Image-Edit": (RewardQwenImageTransformer2DModel, {}, 3584, "attention_kwargs")}


def shapes() -> tuple[str, ...]:
    """The models that are counted."""
    return tuple(FULL_SIZE)


def step(name: str, size: int) -> dict[str, Any]:
    """The arguments of one step of an edit of a square picture: noise and photo as image tokens."""
    kind = FULL_SIZE[name][0]
    side = size // PATCH
    channels, text = (128, 7680) if kind is RewardFlux2Transformer2DModel else (64, 3584)
    given: dict[str, Any] = {"hidden_states": torch.empty(1, 2 * side**2, channels), "timestep": torch.empty(1),
                             "encoder_hidden_states": torch.empty(1, INSTRUCTION_TOKENS, text)}
    if kind is RewardFlux2Transformer2DModel:
        return given | {"img_ids": torch.empty(2 * side**2, 4), "txt_ids": torch.empty(INSTRUCTION_TOKENS, 4)}
    return given | {"img_shapes": [[(1, side, side)] * 2]}


def counted(name: str, size: int = 1024, blocks: int | None = None) -> tuple[int, int]:
    """Operations of a step without reward, and with one. blocks: of each kind, fewer than the model has, where the condition's share is
    larger than that of the whole."""
    kind, settings, width, keyword = FULL_SIZE[name]
    if blocks:
        settings = {**settings, "num_layers": blocks, **({"num_single_layers": blocks} if "num_single_layers" in settings else {})}
    counts = []
    with quiet_libraries(), torch.device("meta"), torch.no_grad():
        model = kind(**settings, reward_text_dim=width)
        reward = {"reward_scores": torch.empty(1, 3), "reward_text": torch.empty(1, len(PERSPECTIVES), TEXT_TOKENS, width)}
        for given in (None, {"reward": reward}):
            with FlopCounterMode(display=False) as counter:
                model(**step(name, size), **{keyword: given})
            counts.append(counter.get_total_flops())
    return counts[0], counts[1]


def main(argv: list[str] | None = None) -> int:
    """Count and print. Returns 1 where the condition costs more than it may."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024, help="side of the picture in pixels")
    size = parser.parse_args(argv).size
    print(f"| {size} px | plain, TFLOP | with reward, TFLOP | more |\n| --- | --- | --- | --- |")
    worst = 0.0
    for name in shapes():
        plain, rewarded = counted(name, size)
        worst = max(worst, rewarded / plain - 1)
        print(f"| {name} | {plain / 1e12:.3f} | {rewarded / 1e12:.3f} | {rewarded / plain - 1:.5%} |")
    return 0 if worst <= MOST else 1


if __name__ == "__main__":
    sys.exit(main())
