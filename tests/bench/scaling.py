"""How a training run at full size spreads over nodes, on paper, from parts that are measured or given.

    python -m tests.bench.scaling --step-seconds 0.42                     as measured on your device (log.csv, or tests.bench.train_speed)
    python -m tests.bench.scaling --step-seconds 0.42 --devices 8 --link 50 --inside 300 --batch 4

A step is the longest of its parts where they overlap and their sum where they do not:

    compute   the step of one device with its batch, given; it does not depend on the number of devices
    exchange  gradients in float32, 4 N bytes, by a ring: 2 (n - 1) / n of them pass each link; first inside a node, then between nodes.
              `--overlap` of it hides behind the backward pass (two thirds of the compute)
    data      triplets that a node must decode and crop, by `--workers` cores each: seconds of a triplet are measured here, on files

Efficiency is the throughput of n devices over n times that of one. What is left out: stragglers, a network that others use, checkpoints.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import torch

from mre.__main__ import main as mre
from mre.models.unet import RewardUNet2DConditionModel
from mre.training.config import TrainConfig
from mre.training.stored_examples import StoredExamples

NODES = (1, 2, 4, 8, 16, 32, 64)
BACKWARD = 2 / 3            # of the compute
TRIPLETS = 24


def parameters() -> int:
    """Of Reward-InstructPix2Pix at the size of Stable Diffusion 1.5."""
    with torch.device("meta"):
        return sum(parameter.numel() for parameter in RewardUNet2DConditionModel(in_channels=8, cross_attention_dim=768).parameters())


def seconds_of_a_triplet(pixels: int) -> float:
    """Processor time of reading, decoding, resizing and cropping one stored triplet, its pictures of 512 pixels."""
    with tempfile.TemporaryDirectory() as name:
        if mre(["scenes", "--count", str(TRIPLETS), "--size", "512", "--out", name]):
            raise SystemExit(1)
        examples = StoredExamples(TrainConfig(data="pix2pix", data_dir=name, rewards=str(Path(name) / "scenes.jsonl"), resolution=pixels))
        started = time.process_time()
        for sample in range(TRIPLETS):
            examples.example(examples.row(sample))
        return (time.process_time() - started) / TRIPLETS


def exchange_seconds(size: float, devices: int, nodes: int, inside: float, link: float) -> float:
    """A ring inside each node, then one between nodes, of `size` bytes; bandwidths in bytes a second."""
    within = 2 * (devices - 1) / devices * size / inside if devices > 1 else 0.0
    between = 2 * (nodes - 1) / nodes * size / link if nodes > 1 else 0.0
    return within + between


def step_seconds(compute: float, exchange: float, overlap: float, data: float) -> float:
    """Of one step: what of the exchange does not hide is added; data are prepared meanwhile."""
    hidden = min(overlap * exchange, BACKWARD * compute)
    return max(compute + exchange - hidden, data)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--step-seconds", type=float, required=True, help="of one device, with its batch")
    parser.add_argument("--batch", type=int, default=4, help="triplets a device and step")
    parser.add_argument("--devices", type=int, default=8, help="of a node")
    parser.add_argument("--workers", type=int, default=8, help="cores that prepare data for a device")
    parser.add_argument("--inside", type=float, default=300, help="bandwidth between devices of a node, GB/s each way")
    parser.add_argument("--link", type=float, default=25, help="bandwidth of a node to the others, GB/s each way")
    parser.add_argument("--overlap", type=float, default=0.8, help="share of the exchange that can run beside the backward pass")
    parser.add_argument("--pixels", type=int, default=256)
    args = parser.parse_args()
    count, triplet = parameters(), seconds_of_a_triplet(args.pixels)
    data = args.batch * triplet / args.workers
    print(f"{count / 1e6:.0f} million parameters, {4 * count / 1e9:.2f} GB of gradients; a stored triplet takes {1000 * triplet:.1f} ms "
          f"of a core, {1000 * data:.1f} ms a step on {args.workers}\n")
    print("| nodes | devices | exchange, s | step, s | triplets/s | efficiency |\n| --- | --- | --- | --- | --- | --- |")
    alone = step_seconds(args.step_seconds, 0.0, args.overlap, data)
    for nodes in NODES:
        exchange = exchange_seconds(4 * count, args.devices, nodes, 1e9 * args.inside, 1e9 * args.link)
        step = step_seconds(args.step_seconds, exchange, args.overlap, data)
        total = nodes * args.devices
        print(f"| {nodes} | {total} | {exchange:.3f} | {step:.3f} | {total * args.batch / step:.0f} | {100 * alone / step:.0f} % |")


if __name__ == "__main__":
    main()
