"""A hundred thousand rows scored by a run that is killed again and again.

    python -m tests.bench.score_kill                                    100,000 rows, ten kills
    python -m tests.bench.score_kill --rows 5000 --kills 3              shorter
    python -m tests.bench.score_kill --judge tiny-judge

Says how many rows the file holds, how many were lost or doubled, rows a second, and how memory went in the last run, which goes from
start to end: its growth between a tenth and the end of what it scored should not depend on the number of rows.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

KINDS = 64              # different pictures; each row words its instruction anew


def write_manifest(folder: Path, rows: int, size: int) -> Path:
    rng = np.random.default_rng(0)
    for number in range(KINDS):
        rough = Image.fromarray(rng.integers(0, 200, (6, 6, 3), dtype=np.uint8))
        original = np.asarray(rough.resize((size, size), Image.Resampling.BICUBIC))
        Image.fromarray(original).save(folder / f"{number}.png")
        Image.fromarray(original + np.uint8(number // 4)).save(folder / f"{number}-edited.png")
    path = folder / "manifest.jsonl"
    with path.open("w") as file:
        for row in range(rows):
            kind = row % KINDS
            file.write(json.dumps({"id": f"row-{row:06d}", "instruction": f"make it lighter, {row}", "original": f"{kind}.png",
                                   "edited": f"{kind}-edited.png"}) + "\n")
    return path


def lines_of(path: Path) -> int:
    return path.read_bytes().count(b"\n") if path.exists() else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--size", type=int, default=32, help="pixels")
    parser.add_argument("--judge", default="measured")
    args = parser.parse_args()
    rng = random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        out = folder / "scores.jsonl"
        command = [sys.executable, "-m", "mre", "score", str(write_manifest(folder, args.rows, args.size)), "--judge", args.judge,
                   "--out", str(out), "--cache", str(folder / "answers.sqlite")]
        for kill in range(args.kills):
            run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            wanted = args.rows * 0.6 * (kill + rng.random()) / args.kills
            while run.poll() is None and lines_of(out) < wanted:
                time.sleep(0.2)
            run.send_signal(signal.SIGKILL)
            run.wait()
            print(f"killed {kill + 1}: {lines_of(out)} rows", flush=True)
        before, started, memory = lines_of(out), time.perf_counter(), []
        run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        process = psutil.Process(run.pid)
        while run.poll() is None:
            memory.append((lines_of(out), process.memory_info().rss / 2**20))
            time.sleep(0.5)
        seconds = time.perf_counter() - started
        ids = [json.loads(line)["id"] for line in out.read_text().splitlines()]
        lost = args.rows - len(set(ids))
        doubled = len(ids) - len(set(ids))
        early = next(mib for rows, mib in memory if rows >= before + (args.rows - before) / 10)
        made = args.rows - before
        print(f"{len(ids)} rows in the file, {lost} lost, {doubled} doubled after {args.kills} kills")
        print(f"last run: {made} rows in {seconds:.0f} s, {made / seconds:.0f} rows/s; memory {early:.0f} MiB at a tenth, "
              f"{memory[-2][1]:.0f} at the end")
    return 0 if not lost and not doubled and run.returncode == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
