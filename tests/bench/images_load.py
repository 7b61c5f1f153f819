"""A long run of edits on a server that fails in every way, killed again and again: none lost, none paid twice, memory flat.

`python -m tests.bench.images_load [--edits 2000] [--kills 10] [--knows-keys]`. The command `mre edit` is run on a CSV against a fake server
on this machine, killed after a share of the edits, and run again until it comes to its end. What was under way at a kill or when the
connection broke is reported and not asked for again: every edit is made or reported, and none is paid for twice. Then it is run with
`--ask-again`, which makes the rest. With `--knows-keys` the server makes each edit once by its Idempotency-Key and its name says so:
nothing is reported, all is asked again by itself. Exit code 1 where a promise does not hold.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import psutil
from PIL import Image

from tests.conftest import ROOT
from tests.editors.fake_images import KEY, FakeImages

TROUBLES = ("429", "500", "not-json", "list", "cut")            # that pass when asked again


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edits", type=int, default=2000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--faults", type=float, default=0.1, help="share of the requests that fail (default %(default)s)")
    parser.add_argument("--knows-keys", action="store_true", help="the server makes each edit once, by its Idempotency-Key")
    args = parser.parse_args()
    rng = random.Random(0)
    script = [rng.choice(TROUBLES) if rng.random() < args.faults else None for _ in range(3 * args.edits)]
    with tempfile.TemporaryDirectory() as place, FakeImages(script=script, knows_keys=args.knows_keys) as server:
        folder = Path(place)
        Image.radial_gradient("L").convert("RGB").resize((64, 64)).save(folder / "photo.png")
        rows = "".join(f"photo.png,make it {number},{number}.png\n" for number in range(args.edits))
        (folder / "jobs.csv").write_text("image,instruction,out\n" + rows)
        model = f"images:fake@{server.url}?size=64{'&idempotent=1' if args.knows_keys else ''}"
        command = [sys.executable, "-m", "mre", "edit", str(folder / "jobs.csv"), "--out", str(folder / "out"), "--model", model,
                   "--cache", str(folder / "kept.sqlite"), "--price-picture", "0.01", "--budget", str(args.edits)]
        environment = os.environ | {"OPENAI_API_KEY": KEY}
        kills, memory, started = 0, [], time.monotonic()
        while True:
            process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            goal = len(server.paid) + args.edits // (args.kills + 1) if kills < args.kills else None
            while process.poll() is None:
                if len(server.paid) % 50 < 3:
                    memory.append((len(server.paid), resident(process.pid)))
                if goal is not None and len(server.paid) >= goal:
                    process.send_signal(signal.SIGKILL)
                    kills += 1
                    process.wait()
                    break
                time.sleep(0.05)
            else:
                break
            print(f"killed {kills} times, {len(server.paid)} edits paid, {server.requests} requests", flush=True)
        assert process.stdout is not None, "a pipe"
        print(f"run to its end, exit code {process.returncode}: {process.stdout.read().strip()}")
        made, twice = count(folder), paid_twice(server)
        reported = len(server.paid) - made          # of these it is not known to the client
        last = [size for done, size in memory if size and done > args.edits * (args.kills + 0.3) / (args.kills + 1)]
        print(f"{args.edits} edits, {kills} kills, {server.requests} requests, {time.monotonic() - started:.0f} s: {made} made, "
              f"{args.edits - made} reported as perhaps paid, of which {reported} were; {twice} paid twice; memory of the last run "
              f"{min(last, default=0) / 1e6:.0f} to {max(last, default=0) / 1e6:.0f} MB")
        again = subprocess.run([*command, "--ask-again"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        print(f"with --ask-again: {again.stdout.strip()}; {count(folder)} made, {args.edits - count(folder)} lost, "
              f"{paid_twice(server)} paid twice, as was asked for")
        whole = count(folder) == args.edits and again.returncode == 0 and paid_twice(server) <= reported
        return int(twice > 0 or not whole or process.returncode != int(made < args.edits) or (args.knows_keys and made < args.edits))


def count(folder: Path) -> int:
    """Pictures that are there."""
    return len(list((folder / "out").glob("*.png")))


def paid_twice(server: FakeImages) -> int:
    """How often an edit was paid for beside the first time."""
    return sum(times - 1 for times in Counter(server.paid).values())


def resident(pid: int) -> int:
    """Bytes of memory of a process; 0 when it is gone."""
    try:
        return psutil.Process(pid).memory_info().rss
    except psutil.Error:
        return 0


if __name__ == "__main__":
    sys.exit(main())
