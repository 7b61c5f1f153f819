"""What a training step costs at the size of Stable Diffusion 1.5 with random weights: the released script's settings, and others.

    python -m tests.bench.train_speed [--batch 4] [--steps 2] [--threads 2]

A row is a set of settings, run in a process of its own by the trainer itself on drawn triplets of 256 pixels: processor seconds of a step
(forward, backward, clip, update; the first is not counted), how many times as fast as the released settings, and the peak of resident
memory. `released`: float32, gradient checkpointing, autoencoder and text encoder in every step (the released script runs an image encoder
beside them, whose output it does not use; that is left out). `cached`: bfloat16 and encoders run once, before training.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SETTINGS: dict[str, dict] = {
    "released": {"gradient_checkpointing": True},
    "released, without checkpointing": {},
    "bf16, checkpointing, cached": {"gradient_checkpointing": True, "mixed_precision": "bf16", "cache_latents": "cache"},
    "bf16, cached": {"mixed_precision": "bf16", "cache_latents": "cache"},
}


def measure(name: str, folder: Path, batch: int, steps: int, threads: int) -> dict:
    """Seconds of each step after the first, and the peak of memory in bytes."""
    import torch

    from mre.models.quiet import quiet_libraries
    from mre.training import loop
    from mre.training.config import TrainConfig
    from mre.training.examples import batches
    from tests.bench.full_size import full_size_pipeline

    torch.set_num_threads(threads)
    with quiet_libraries():
        pipeline = full_size_pipeline()
    loop.starting_pipeline = lambda config, begun=None: pipeline           # what a folder of four gigabytes would give
    settings = {key: str(folder / value) if key == "cache_latents" else value for key, value in SETTINGS[name].items()}
    config = TrainConfig(init_from="stable-diffusion", out=str(folder / "run"), data="pix2pix", data_dir=str(folder / "scenes"),
                         rewards=str(folder / "scenes" / "scenes.jsonl"), resolution=256, batch_size=batch, accumulation=1, flip=False,
                         ema=False, validation_every=0, **settings)
    run = loop.Run(config)
    loader, seconds = batches(run.triplets, config, 0, 0, 1), []
    run.learner.train()
    for _ in range(steps + 1):
        started = time.process_time()
        run._one_step(loader)
        run.samples += batch
        seconds.append(time.process_time() - started)
    return {"seconds": seconds[1:], "bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--steps", type=int, default=2, help="that count, after one that does not")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", choices=SETTINGS, nargs="+", default=list(SETTINGS),
                        help="these rows; others are compared with the first")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one, args.folder, args.batch, args.steps, args.threads)))
        return
    from mre.__main__ import main as mre

    with tempfile.TemporaryDirectory() as name:
        if mre(["scenes", "--count", str(args.batch), "--size", "256", "--out", f"{name}/scenes"]):
            raise SystemExit(1)
        print("| settings | s a step | times as fast | peak memory, GiB |\n| --- | --- | --- | --- |")
        first = 0.0
        for one in args.only:
            done = subprocess.run([sys.executable, "-m", "tests.bench.train_speed", "--one", one, "--folder", name, "--batch",
                                   str(args.batch), "--steps", str(args.steps), "--threads", str(args.threads)],
                                  stdout=subprocess.PIPE, check=True, text=True)
            found = json.loads(done.stdout.splitlines()[-1])
            seconds = statistics.median(found["seconds"])
            first = first or seconds
            print(f"| {one} | {seconds:.1f} | {first / seconds:.2f} | {found['bytes'] / 2**30:.1f} |", flush=True)


if __name__ == "__main__":
    main()
