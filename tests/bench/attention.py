"""Long self-attention in bfloat16 on a CPU: torch's own kernel and `mre.models.attention`, in turns.

    python -m tests.bench.attention [--threads 1] [--repeats 7]      shapes of an edit at 512 and 256 pixels, random inputs
    python -m tests.bench.attention --step 512                       a denoising step of three branches, random weights
    python -m tests.bench.attention --trained                        how far either is from float32 in the layers of `tiny`

Times are CPU seconds, the median of the repeats; on a busy machine only their ratios say anything. Errors are root mean squares over that
of the exact answer, which is computed in float64 from the same rounded inputs (`--trained`: the layer in float32).
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from mre.models import attention, zoo
from mre.models.quiet import quiet_libraries
from tests.bench.condition_cost import inputs, reward
from tests.bench.full_size import full_size_pipeline

SHAPES = ((512, 4096, 40), (512, 1024, 80), (256, 1024, 40))       # pixels, tokens, width of a head; 3 branches, 8 heads
BRANCHES, HEADS = 3, 8


def stock(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    return F.scaled_dot_product_attention(query, key, value).transpose(1, 2)


def in_turns(repeats: int, *ways: Callable[[], object]) -> list[float]:
    """CPU seconds of each, the median."""
    taken: list[list[float]] = [[] for _ in ways]
    for _ in range(repeats):
        for way, seconds in zip(ways, taken, strict=True):
            started = time.process_time()
            way()
            seconds.append(time.process_time() - started)
    return [statistics.median(seconds) for seconds in taken]


def away(made: Tensor, wanted: Tensor) -> float:
    return float((made.double() - wanted.double()).norm() / wanted.double().norm())


def shapes(repeats: int) -> None:
    print("| pixels | tokens | width | stock, s | ours, s | times as fast | stock's error | ours |\n|" + " --- |" * 8)
    for pixels, tokens, width in SHAPES:
        generator = torch.Generator().manual_seed(0)
        q, k, v = (torch.randn(BRANCHES, tokens, HEADS, width, generator=generator).bfloat16().transpose(1, 2) for _ in range(3))
        slow, fast = in_turns(repeats, partial(stock, q, k, v), partial(attention.chunked_attention, q, k, v))
        one = [each[:1, :2] for each in (q, k, v)]
        wanted = stock(*(each.double() for each in one))
        print(f"| {pixels} | {tokens} | {width} | {slow:.3f} | {fast:.3f} | {slow / fast:.2f} | {away(stock(*one), wanted):.4f} | "
              f"{away(attention.chunked_attention(*one), wanted):.4f} |", flush=True)


def step(pixels: int, repeats: int) -> None:
    unet = full_size_pipeline().unet.to(torch.bfloat16)
    given = {**inputs(pixels, torch.bfloat16, BRANCHES), "added_cond_kwargs": reward("released", torch.bfloat16, BRANCHES)}
    said: dict[bool, Tensor] = {}

    def run(is_quick: bool) -> None:
        with patch.object(attention, "gains_nothing_by_bfloat16", lambda: is_quick), attention.quick_attention(unet):
            said[is_quick] = unet(**given).sample
    slow, fast = in_turns(repeats, lambda: run(False), lambda: run(True))
    print(f"{pixels} pixels: {slow:.2f} s of CPU time with torch's attention, {fast:.2f} s with ours, {slow / fast:.2f} times as fast; "
          f"their answers are {away(said[True], said[False]):.4f} apart")


def trained() -> None:
    pipeline = zoo.load_pipeline("tiny", "cpu", torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    seen: list[tuple[Any, Tensor]] = []
    layers = [layer for name, layer in pipeline.unet.named_modules() if name.endswith(".attn1")]
    hooks = [layer.register_forward_pre_hook(lambda layer, args: seen.append((layer, args[0].clone()))) for layer in layers]
    photo = np.kron(np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8), np.ones((64, 64, 1), np.uint8))
    pipeline("make the sky red", Image.fromarray(photo), num_inference_steps=4, generator=torch.Generator().manual_seed(0))
    for hook in hooks:
        hook.remove()
    found: dict[int, list[tuple[float, float, float]]] = {}         # by tokens
    with patch.object(attention, "LONG", 1):
        for layer, hidden in seen:
            wanted, shape = layer(hidden), (*hidden.shape[:2], layer.heads, -1)
            q, k = (project(hidden).view(shape).transpose(1, 2) for project in (layer.to_q, layer.to_k))
            largest = float((q @ k.mT).abs().amax()) / q.shape[-1] ** 0.5
            half, rounded = copy.deepcopy(layer).bfloat16(), hidden.bfloat16()
            slow = away(half(rounded), wanted)
            half.set_processor(attention.ChunkedAttention())
            found.setdefault(hidden.shape[1], []).append((largest, slow, away(half(rounded), wanted)))
    print("| tokens | layers x steps | largest score | stock's error, mean | ours | ours / stock's, mean | at most |\n|" + " --- |" * 7)
    for tokens, rows in sorted(found.items()):
        ratios = [fast / slow for _, slow, fast in rows]
        slow, fast = (statistics.fmean(row[place] for row in rows) for place in (1, 2))
        print(f"| {tokens} | {len(rows)} | {max(row[0] for row in rows):.0f} | {slow:.4f} | {fast:.4f} | {statistics.fmean(ratios):.3f} | "
              f"{max(ratios):.3f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--step", type=int, metavar="PIXELS", help="time a denoising step of this size")
    parser.add_argument("--trained", action="store_true", help="compare the layers of `tiny`")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with quiet_libraries(), torch.inference_mode():
        if args.step:
            step(args.step, args.repeats)
        elif args.trained:
            trained()
        else:
            shapes(args.repeats)


if __name__ == "__main__":
    main()
