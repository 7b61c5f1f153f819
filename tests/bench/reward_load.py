"""Many clients on one reward server.

    python -m tests.bench.reward_load                                  64 clients, 2,000 requests of one edit each, judge `measured`
    python -m tests.bench.reward_load --judge tiny-judge --edits 4     four edits a request

Every request brings a picture of its own, whose score is worked out beside it, so that a reply given to the wrong request is seen. Says how
many requests were lost or wrong, how many had to wait for a place (503), requests a second, latency, and the server's memory and batches.
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import statistics
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import numpy as np
import psutil
from PIL import Image


def png(pixels: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    return base64.b64encode(buffer.getvalue()).decode()


def ask(url: str, body: dict | None = None) -> dict:
    request = urllib.request.Request(url, json.dumps(body).encode() if body else None, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=600) as reply:
        return json.load(reply)


class Load:
    """Clients that share a number of requests between them."""

    def __init__(self, url: str, requests: int, edits: int, size: int) -> None:
        self.url, self.edits, self.left = url, edits, list(range(requests))
        rough = Image.fromarray(np.random.default_rng(0).integers(40, 180, (6, 6, 3), dtype=np.uint8))
        self.photo = np.asarray(rough.resize((size, size), Image.Resampling.BICUBIC))
        self.original = png(self.photo)
        self.latencies: list[float] = []
        self.replies: dict[int, dict] = {}
        self.busy = 0
        self.faults: list[str] = []
        self.lock = threading.Lock()

    def body(self, number: int) -> dict:
        """The edits of a request: a cast whose size depends on its number."""
        cast = np.uint8(number % 60)
        return {"prompt": [f"make it {number} levels lighter"] * self.edits, "image": [png(self.photo + cast)] * self.edits,
                "condition_images": [[self.original]] * self.edits}

    def client(self) -> None:
        while True:
            with self.lock:
                if not self.left:
                    return
                number = self.left.pop()
            body, started = self.body(number), time.perf_counter()
            while True:
                try:
                    reply = ask(f"{self.url}/compute", body)
                except urllib.error.HTTPError as error:
                    if error.code == 503:
                        with self.lock:
                            self.busy += 1
                        time.sleep(float(error.headers.get("Retry-After", 1)))
                        continue
                    with self.lock:
                        self.faults.append(f"{error.code} {error.read()[:200]!r}")
                    break
                except OSError as error:
                    with self.lock:
                        self.faults.append(str(error))
                    break
                with self.lock:
                    self.latencies.append(time.perf_counter() - started)
                    self.replies[number] = reply
                break


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--edits", type=int, default=1, help="of each request")
    parser.add_argument("--size", type=int, default=64, help="pixels")
    parser.add_argument("--judge", default="measured")
    args = parser.parse_args()
    server = subprocess.Popen([sys.executable, "-m", "mre", "serve-rewards", "--judge", args.judge, "--port", "0"], stderr=subprocess.PIPE,
                              text=True)
    try:
        assert server.stderr is not None
        line = server.stderr.readline()
        url = line.split(" on ", 1)[1].split(": POST")[0]
        load = Load(url, args.requests, args.edits, args.size)
        ask(f"{url}/compute", load.body(0))             # loads the judge
        threads = [threading.Thread(target=load.client) for _ in range(args.clients)]
        started = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - started
        health = ask(f"{url}/health")
        memory = psutil.Process(server.pid).memory_info().rss / 2**20
    finally:
        server.terminate()
        server.wait(10)
    by_cast: dict[int, set[tuple]] = {}
    for number, reply in load.replies.items():
        by_cast.setdefault(number % 60, set()).update(tuple(sorted(scores.items())) for scores in reply["scores"])
    wrong = sum(len(found) > 1 for found in by_cast.values()) if args.judge == "measured" else 0
    lost = args.requests - len(load.replies)
    p50, p95 = (np.percentile(load.latencies, level) for level in (50, 95))
    print(f"{args.clients} clients, {args.requests} requests of {args.edits}: {lost} lost, {wrong} pictures with more than one score, "
          f"{load.busy} asked to come again")
    print(f"{seconds:.1f} s, {args.requests / seconds:.1f} requests/s; latency p50 {p50:.2f} s, p95 {p95:.2f} s, longest "
          f"{max(load.latencies):.2f} s, mean {statistics.mean(load.latencies):.2f} s")
    print(f"server: {health['scored']} edits in {health['batches']} batches, {memory:.0f} MiB at the end")
    for fault in load.faults[:5]:
        print(fault)
    return 1 if lost or wrong else 0


if __name__ == "__main__":
    sys.exit(main())
