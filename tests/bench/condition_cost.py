"""What the reward condition costs over the plain U-Net at the size of Stable Diffusion 1.5: time and memory of a denoising step.

    python -m tests.bench.condition_cost [--size 512] [--repeats 5] [--dtype bfloat16|float32] [--threads N]

The same weights run as one model with all switches on and with all off, in turns within one process: the ratio of each pair of
neighbours is what counts, not the seconds; and of processor time, which other programs on the machine disturb less than the clock's.
On a busy machine the pairs still scatter by more than the cost, so the reward layers are timed by themselves too. Memory is that of
the weights, and the peak of the process above them during a step.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import threading
import time
from pathlib import Path

import torch

from mre.models.quiet import quiet_libraries
from mre.models.unet import RewardUNet2DConditionModel

FULL_SIZE = {"sample_size": 64, "in_channels": 8, "out_channels": 4, "cross_attention_dim": 768}
TEXT_TOKENS, TEXT_DIM = 77, 768
MOST = 0.02         # of time and of memory


def inputs(size: int, dtype: torch.dtype, branches: int) -> dict[str, torch.Tensor]:
    """One step of one guided edit: all branches in one batch."""
    generator = torch.Generator().manual_seed(0)
    return {"sample": torch.randn(branches, 8, size // 8, size // 8, generator=generator).to(dtype), "timestep": torch.tensor(500),
            "encoder_hidden_states": torch.randn(branches, TEXT_TOKENS, TEXT_DIM, generator=generator).to(dtype)}


def reward(variant: str, dtype: torch.dtype, branches: int) -> dict[str, torch.Tensor]:
    """The condition of that step."""
    shape = (branches, TEXT_TOKENS, TEXT_DIM) if variant == "paper" else (branches, TEXT_DIM)
    return {"reward_scores": torch.full((branches, 3), 5.0), "reward_text": torch.randn(shape).to(dtype)}


def resident() -> int:
    """Bytes of memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def peak_of(step) -> int:
    """Largest growth of the process's memory while `step` runs."""
    before, most, done = resident(), 0, threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.005):
            most = max(most, resident() - before)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        step()
    finally:
        done.set()
        watcher.join()
    return most


def build(dtype: torch.dtype, variant: str | None, parent: torch.nn.Module | None = None) -> RewardUNet2DConditionModel:
    """A U-Net at full size; with `parent`, on the parent's own tensors, so that both fit into memory."""
    switches = {"variant": variant} if variant else dict.fromkeys(("use_score", "use_text", "use_attention", "use_addition"), False)
    with quiet_libraries():
        with torch.device("meta"):
            unet = RewardUNet2DConditionModel(**FULL_SIZE, **switches, reward_init="released")
        shared = parent.state_dict() if parent is not None else {}
        tensors = {name: shared.get(name, torch.empty(value.shape, dtype=dtype)) for name, value in unet.state_dict().items()}
        for name in tensors.keys() - shared.keys():
            torch.nn.init.normal_(tensors[name], std=0.02)
        unet.load_state_dict(tensors, assign=True)
    return unet.eval().requires_grad_(False)


@torch.inference_mode()
def reward_layers(unet: RewardUNet2DConditionModel, sample: torch.Tensor, hidden: torch.Tensor, condition: dict) -> float:
    """Processor seconds of what the reward adds to a step: its condition, the encoder, the term in the time embedding."""
    emb = torch.zeros(len(sample), unet.time_embedding.linear_2.out_features, dtype=sample.dtype)
    started = time.process_time()
    signal = unet.reward_signal(sample, condition)
    unet.read_reward(hidden, signal)
    emb + unet.get_aug_embed(emb, None, {"reward_signal": signal})
    return time.process_time() - started


def print_times(name: str, pairs: list[tuple[float, float]]) -> float:
    """One row of the table. Returns the median of the pairs' ratios."""
    ratios = sorted(after / before for before, after in pairs)
    print(f"| {name} (median) | {statistics.median(p[0] for p in pairs):.2f} | {statistics.median(p[1] for p in pairs):.2f} | "
          f"{statistics.median(ratios):.4f} ({ratios[0]:.4f} to {ratios[-1]:.4f}) |")
    return statistics.median(ratios)


def main(argv: list[str] | None = None) -> int:
    """Measure and print. Returns 1 when a ratio is above what it may be."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=512, help="side of the picture in pixels")
    parser.add_argument("--repeats", type=int, default=5, help="pairs of steps")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--branches", type=int, default=3, help="guidance branches of a step: 3, or 1 without guidance")
    parser.add_argument("--variant", choices=("released", "paper"), default="released")
    parser.add_argument("--threads", type=int, default=0, help="0 = torch's own choice")
    args = parser.parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    dtype = getattr(torch, args.dtype)
    plain = build(dtype, None)
    rewarded = build(dtype, args.variant, plain)
    given, condition = inputs(args.size, dtype, args.branches), reward(args.variant, dtype, args.branches)

    @torch.inference_mode()
    def step(unet: RewardUNet2DConditionModel) -> tuple[float, float]:
        started = time.process_time(), time.perf_counter()
        unet(**given, added_cond_kwargs=condition if unet.conditioned else None)
        return time.process_time() - started[0], time.perf_counter() - started[1]

    peaks = {unet: peak_of(lambda unet=unet: step(unet)) for unet in (plain, rewarded, plain, rewarded)}      # the second time counts
    pairs = []
    for repeat in range(args.repeats):
        first, second = (plain, rewarded) if repeat % 2 else (rewarded, plain)
        seconds = {first: step(first), second: step(second)}
        pairs.append((seconds[plain], seconds[rewarded]))
    hidden = rewarded.conv_in(given["sample"])
    alone = statistics.median(reward_layers(rewarded, given["sample"], hidden, condition) for _ in range(4 * args.repeats + 1))
    weights = {unet: sum(p.numel() * p.element_size() for p in unet.parameters()) for unet in (plain, rewarded)}
    held = {unet: weights[unet] + peaks[unet] for unet in (plain, rewarded)}
    memory_ratio = held[rewarded] / held[plain]
    print(f"{args.size} px, {args.branches} branches, {args.dtype}, {args.variant} variant, {torch.get_num_threads()} threads, "
          f"{args.repeats} pairs\n")
    print("| | plain | with reward | ratio |\n| --- | --- | --- | --- |")
    time_ratio = print_times("processor seconds per step", [(before[0], after[0]) for before, after in pairs])
    share = alone / statistics.median(before[0] for before, _ in pairs)
    print(f"| of these, in the reward layers alone | | {alone:.3f} | {1 + share:.4f} |")
    print_times("seconds by the clock", [(before[1], after[1]) for before, after in pairs])
    print(f"| parameters | {sum(p.numel() for p in plain.parameters()):,} | {sum(p.numel() for p in rewarded.parameters()):,} | "
          f"{weights[rewarded] / weights[plain]:.4f} |")
    print(f"| MB of weights and peak of a step | {held[plain] / 2**20:.0f} | {held[rewarded] / 2**20:.0f} | {memory_ratio:.4f} |")
    worst = max(time_ratio - 1, share, memory_ratio - 1)
    print(f"\n{'within' if worst <= MOST else 'ABOVE'} {MOST:.0%} of time and memory")
    return 0 if worst <= MOST else 1


if __name__ == "__main__":
    sys.exit(main())
