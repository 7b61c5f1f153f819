"""What a second process costs a training on CPUs: one process against two with the same batch in all, a thread each.

    OMP_NUM_THREADS=1 python -m tests.bench.two_processes [--batch 24] [--steps 4] [--rounds 2] [--size 128]

A fresh embedded editor in the settings of `--preset tiny`, on triplets drawn as it goes. Rows in turn, `--rounds` times: one process; two
that average gradients at every step; two that average parameters at every eighth. A step's seconds are those of the slower process.
`by the clock` is triplets a second and core; on a machine with other work it says more of that than of us, so beside it stands `of CPU
time`: triplets a second of processor time, of all processes and their threads together. The last column, what is to be held to at least
0.9, is the latter against one process. The load of the machine is printed with it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WAYS = {"one process": (1, 0), "two, gradients averaged": (2, 0), "two, parameters averaged": (2, 8)}       # processes, local_sgd_steps
MARK = "measured "


def measure(out: Path, batch: int, local: int, steps: int, size: int) -> None:
    """In each process: train; the first prints the seconds of a step by the clock and those of all processors together."""
    import torch
    import torch.distributed as dist

    from mre.training.config import TrainConfig
    from mre.training.examples import batches
    from mre.training.loop import Run

    torch.set_num_threads(1)
    flags = {"preset": "tiny", "resolution": size, "batch_size": batch, "local_sgd_steps": local, "validation_every": 0, "out": out}
    run = Run(TrainConfig.from_flags([f"--{name.replace('_', '-')}={value}" for name, value in flags.items()]))
    loader = batches(run.triplets, run.config, 0, run.rank, run.world)
    run.learner.train()

    def go(count: int) -> None:
        for _ in range(count):
            run._one_step(loader)
            run.step += 1
            run.samples += batch * run.world
            run._synchronise()

    go(2)                                   # the first ones ask for memory
    run.accelerator.wait_for_everyone()
    clock, processor = time.perf_counter(), time.process_time()
    go(steps)
    taken = torch.tensor([time.perf_counter() - clock, time.process_time() - processor], dtype=torch.float64)
    if run.world > 1:
        longest, together = taken.clone(), taken.clone()
        dist.all_reduce(longest, dist.ReduceOp.MAX)
        dist.all_reduce(together)
        taken = torch.stack([longest[0], together[1]])
    if run.main:
        print(MARK + json.dumps((taken / steps).tolist()), flush=True)
    if run.world > 1:
        dist.destroy_process_group()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=24, help="triplets a step, of all processes together")
    parser.add_argument("--steps", type=int, default=4, help="that count, after two that do not")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--size", type=int, default=128, help="pixels")
    parser.add_argument("--one", nargs=2, type=int, help=argparse.SUPPRESS)         # triplets of this process, local_sgd_steps
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        measure(args.out, args.one[0], args.one[1], args.steps, args.size)
        return
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(args.rounds):
            for number, (way, (processes, local)) in enumerate(WAYS.items()):
                launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"] if processes > 1 else []
                done = subprocess.run([sys.executable, *launcher, "-m", "tests.bench.two_processes", "--one", str(args.batch // processes),
                                       str(local), "--steps", str(args.steps), "--size", str(args.size), "--out",
                                       f"{folder}/{turn}-{number}"],
                                      stdout=subprocess.PIPE, text=True, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
                line = next(line for line in done.stdout.splitlines() if line.startswith(MARK))
                clock, processor = json.loads(line.removeprefix(MARK))
                found[way].append((clock * processes, processor))
    print(f"load of the machine {', '.join(f'{load:.1f}' for load in os.getloadavg())} on {os.cpu_count()} cores\n")
    print("| way | triplets/s and core, by the clock | of CPU time | against one process |\n| --- | --- | --- | --- |")
    alone = 0.0
    for way, rounds in found.items():
        clock, processor = (args.batch / statistics.median(seconds) for seconds in zip(*rounds, strict=True))
        alone = alone or processor
        print(f"| {way} | {clock:.2f} | {processor:.2f} | {processor / alone:.2f} |")


if __name__ == "__main__":
    main()
