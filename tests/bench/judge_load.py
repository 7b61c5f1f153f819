"""Tens of thousands of judge calls against a server on this machine, and runs killed again and again.

    python -m tests.bench.judge_load                                   60,000 calls, 64 in flight, 1 s latency (about 16 minutes)
    python -m tests.bench.judge_load --calls 6000 --latency 0.25       shorter
    python -m tests.bench.judge_load --troubles                        with throttling, errors, lost connections and nonsense
    python -m tests.bench.judge_load --kills 20                        kill -9 at random points, resume, have it ask again, count payments
    python -m tests.bench.judge_load --ceiling                         latency 0: what client and server on this machine can do at most

Says what the server allowed (calls in flight / latency), what was reached, how memory went, what was asked twice and what was lost.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from PIL import Image

from mre.judge.kinds import make_judge
from mre.judge.verdicts import Ask
from tests.judge.fake_openai import KEY

TROUBLES = {"429": 0.01, "500": 0.01, "cut": 0.005, "garbage": 0.005, "unreadable": 0.005, "refusal": 0.002}


@contextmanager
def server(latency: float, rates: dict[str, float]) -> Iterator[str]:
    """A fake server in a process of its own. Gives its address."""
    command = [sys.executable, "-m", "tests.judge.fake_openai", "--latency", str(latency), "--rates", json.dumps(rates)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.wait(10)


def tell(url: str, what: str) -> dict:
    """What the server knows."""
    with urllib.request.urlopen(url.removesuffix("/v1") + what, timeout=60) as reply:
        return json.load(reply)


def edits(count: int) -> Iterator[Ask]:
    """Edits with a picture each of its own, made as they are needed."""
    original = Image.new("RGB", (64, 64), (90, 120, 150))
    for index in range(count):
        edited = Image.new("RGB", (64, 64), (index % 256, index // 256 % 256, 7))
        yield Ask(f"item-{index:06d}", f"make it number {index}", original, edited)


def judge_at(url: str, concurrency: int, cache: Path, **options: bool) -> Any:
    os.environ["OPENAI_API_KEY"] = KEY
    return make_judge("gpt-4o-2024-08-06", base_url=url, cache=cache, concurrency=concurrency, picture_size=64, **options)


def client(url: str, count: int, concurrency: int, cache: Path, ask_again: bool = False) -> None:
    """The run that is measured: judges all edits and prints what came of it."""
    judge = judge_at(url, concurrency, cache, ask_again=ask_again)
    process, memory, heard = psutil.Process(), [], []
    started = time.perf_counter()

    def on_verdicts(ask: Ask, verdicts) -> None:
        heard.append(int(ask.item[5:]))
        if len(heard) % max(1, count // 20) == 0:
            memory.append(round(process.memory_info().rss / 2**20, 1))
            done, seconds = len(heard), time.perf_counter() - started
            print(f"  {done}/{count} edits, {seconds:.0f} s, {memory[-1]} MiB", file=sys.stderr, flush=True)

    tally = judge.score_all(edits(count), "reward", on_verdicts)
    seconds = time.perf_counter() - started
    print(json.dumps({"seconds": seconds, "memory_mib": memory, "in_order": heard == list(range(count)), "calls": tally.calls,
                      "retries": tally.retries, "failed": tally.failed, "cached": tally.cached, "answers_kept": len(judge.cache),
                      "client_cpu_seconds": sum(process.cpu_times()[:2])}))


def start_client(url: str, count: int, concurrency: int, cache: Path, quiet: bool = False, ask_again: bool = False) -> subprocess.Popen:
    command = [sys.executable, "-m", "tests.bench.judge_load", "--client", url, "--calls", str(count * 3),
               "--concurrency", str(concurrency), "--cache", str(cache), *(["--ask-again"] if ask_again else [])]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL if quiet else None, text=True)


def load(calls: int, concurrency: int, latency: float, rates: dict[str, float]) -> bool:
    """One long run. Prints its numbers; false when it falls short."""
    with tempfile.TemporaryDirectory() as folder, server(latency, rates) as url:
        child = start_client(url, calls // 3, concurrency, Path(folder) / "answers.sqlite", ask_again=bool(rates))
        report = json.loads(child.communicate()[0])
        ledger = tell(url, "/ledger")
    reached = ledger["requests"] / report["seconds"]
    allowed = concurrency / latency if latency else float("inf")
    memory = report["memory_mib"]
    growth = memory[-1] - memory[len(memory) // 5]
    share = f"the server allows {allowed:.1f}/s: {100 * reached / allowed:.1f} %" if latency else "no latency, so this is the ceiling"
    print(f"{calls} calls, {concurrency} in flight, latency {latency} s: {report['seconds']:.1f} s, {reached:.1f} requests/s; {share} "
          f"(the server took {ledger['mean_service_seconds']:.3f} s for a request)")
    print(f"memory {memory[0]} MiB at 5 %, {memory[len(memory) // 5]} at 25 %, {memory[-1]} at 100 %; processor time a request: "
          f"client {1000 * report['client_cpu_seconds'] / ledger['requests']:.2f} ms, server "
          f"{1000 * ledger['cpu_seconds'] / ledger['requests']:.2f} ms; most in flight {ledger['most_in_flight']}")
    print(f"requests {ledger['requests']}, questions {ledger['questions']}, answered twice {ledger['answered_twice']}, kept "
          f"{report['answers_kept']}, failed {report['failed']}, reported in order {report['in_order']}; troubles {ledger['troubles']}")
    whole = report["answers_kept"] == calls and report["in_order"] and not report["failed"]
    troubles = ledger["troubles"]
    no_verdicts = troubles.get("unreadable", 0) + troubles.get("refusal", 0)       # whole replies that had to be asked for again
    once = ledger["requests"] == calls + sum(troubles.values()) and ledger["answered_twice"] == no_verdicts
    said = f"none lost: {whole}; none repeated without need: {once}; memory grew {growth:.1f} MiB"
    if rates or not latency:
        print(said)
        return whole and once and growth < 60
    fast = reached >= 0.9 * allowed
    print(f"{said}; at least 90 % of what the server allows: {fast}")
    return whole and once and fast and growth < 60


def kills(times: int, count: int, concurrency: int, latency: float, quiet: bool = False, seed: int = 0) -> dict[str, int]:
    """Kill a run at random points until it has been killed so often, let it finish, then have it ask again. Counts what was paid for.

    `perhaps_paid`: answers that were under way when a run was killed, as the last run reports them; `were_paid`: of these, that the server
    had sent or was about to send, so that nobody could keep them.
    """
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder, server(latency, {}) as url:
        cache = Path(folder) / "answers.sqlite"
        whole = count * 3 * latency / concurrency
        done = 0
        while done < times:
            before = tell(url, "/ledger")["requests"]
            child = start_client(url, count, concurrency, cache, quiet)
            while child.poll() is None and tell(url, "/ledger")["requests"] == before:
                time.sleep(0.02)            # it is still starting
            try:
                child.wait(rng.random() * whole * 2 / times)
                break                       # it finished before it could be killed
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            done += 1
            time.sleep(latency + 0.3)       # what was in flight is answered by now, to nobody
        finished = judge_at(url, concurrency, cache)
        told = finished.score_all(edits(count), "reward", lambda ask, verdicts: None).perhaps_paid
        kept, once = len(finished.cache), tell(url, "/paid")
        asked = judge_at(url, concurrency, cache, ask_again=True)
        asked.score_all(edits(count), "reward", lambda ask, verdicts: None)
        twice = tell(url, "/paid")
        return {"kills": done, "questions": count * 3, "perhaps_paid": told, "kept_before": kept, "answers_kept": len(asked.cache),
                "were_paid": len(once) - kept, "paid_twice_unasked": sum(times - 1 for times in once.values()),
                "paid_twice_as_asked": sum(times - 1 for times in twice.values())}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=60_000)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--latency", type=float, default=1.0)
    parser.add_argument("--troubles", action="store_true")
    parser.add_argument("--ceiling", action="store_true")
    parser.add_argument("--kills", type=int, default=0)
    parser.add_argument("--client", help=argparse.SUPPRESS)
    parser.add_argument("--cache", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--ask-again", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.client:
        client(options.client, options.calls // 3, options.concurrency, options.cache, options.ask_again)
        return 0
    if options.kills:
        found = kills(options.kills, 2000, options.concurrency, min(options.latency, 0.5))
        print(found)
        good = found["answers_kept"] == found["questions"] and not found["paid_twice_unasked"]
        return 0 if good and found["perhaps_paid"] <= found["kills"] * options.concurrency else 1
    return 0 if load(options.calls, options.concurrency, 0.0 if options.ceiling else options.latency,
                     TROUBLES if options.troubles else {}) else 1


if __name__ == "__main__":
    sys.exit(main())
