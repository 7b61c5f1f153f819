"""Guessing passwords at once, and annotators meanwhile: python -m tests.bench.login_load [--logins 60] [--guesses 40] [--addresses]

Starts `python app.py --auth` with a running study. First `--guesses` wrong passwords for one account are sent at the same moment: how many
are evaluated (401) and how many refused before their hash is computed (429). Then four annotators ask for their screen over and over, for
`--seconds` alone and for as long beside `--logins` parallel wrong logins, each under a name of its own, sent again as soon as they are
evaluated, or a second after they were refused. `--addresses` lets each login come from an address of its own, through a proxy that the
server trusts. To hold: at most 5 guesses are evaluated, and the annotators' p50 and p95 beside the logins stay below twice those without.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import psutil

from mre.study import studies
from mre.study.accounts import invite, write_account
from mre.study.design import StudyDesign
from mre.study.store import Store
from tests.conftest import ROOT
from tests.study.conftest import NO_RULES, draw_edits
from tests.study.crowd import free_port

PATIENCE = 180


def tried(client: httpx.Client, name: str, password: str, source: str | None = None) -> int:
    headers = {"X-Forwarded-For": source} if source else {}
    return client.post("/login", data={"name": name, "password": password}, headers=headers).status_code


def somebody(address: str) -> httpx.Client:
    return httpx.Client(base_url=address, timeout=60, trust_env=False, verify=False)


def guess(address: str, count: int) -> Counter:
    """Wrong passwords for one account, all at the same moment."""
    start = threading.Barrier(count)

    def one(number: int) -> int:
        with somebody(address) as client:
            start.wait()
            return tried(client, "ada", f"guess number {number}")
    with ThreadPoolExecutor(count) as pool:
        return Counter(pool.map(one, range(count)))


def annotate(address: str, study: str, link: str, until: threading.Event) -> list[float]:
    """Seconds of each call for the screen."""
    seconds = []
    with httpx.Client(base_url=address, timeout=60, headers={"X-Study": "1"}, trust_env=False) as client:
        client.post("/study/api/enter", json={"study": study, "consent": True, "language": "en", "invitation": link}).raise_for_status()
        while not until.is_set():
            began = time.perf_counter()
            client.post("/study/api/work", json={"study": study}).raise_for_status()
            seconds.append(time.perf_counter() - began)
            time.sleep(0.05)
    return seconds


def measure(address: str, study: str, link: str, seconds: float, logins: int, addresses: bool) -> tuple[np.ndarray, Counter]:
    """Annotators' latencies in ms beside so many parallel logins, and what the logins were answered."""
    until = threading.Event()

    def log_in(number: int) -> Counter:
        codes: Counter = Counter()
        source = f"198.51.100.{number + 1}" if addresses else None
        with somebody(address) as client:
            while not until.is_set():
                codes[code := tried(client, f"nobody-{number}-{codes.total()}", "not the password", source)] += 1
                until.wait(1 if code == 429 else 0)
        return codes
    with ThreadPoolExecutor(logins + 4) as pool:
        annotators = [pool.submit(annotate, address, study, link, until) for _ in range(4)]
        time.sleep(0.3)
        guessers = [pool.submit(log_in, number) for number in range(logins)]
        time.sleep(seconds)
        until.set()
        latencies = np.concatenate([future.result() for future in annotators]) * 1000
        return latencies, sum((future.result() for future in guessers), Counter())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--logins", type=int, default=60)
    parser.add_argument("--guesses", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=8)
    parser.add_argument("--addresses", action="store_true", help="each login from an address of its own")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        write_account(folder / "accounts.json", "ada", "researcher", "correct horse battery")
        store = Store.open(folder / "data")
        studies.create_from_edits(store, "load", [draw_edits(folder / "edits", 40)], StudyDesign(per_pair=20, **NO_RULES))
        study = studies.start(store, "load").public_id
        link = invite(store.secret, "annotator", study, personal=False)
        store.close()
        address = f"http://127.0.0.1:{(port := free_port())}"
        flags = ["--trusted-proxy", "127.0.0.1"] if args.addresses else []
        server = subprocess.Popen([sys.executable, "app.py", "--port", str(port), "--data", str(folder / "data"),
                                   "--auth", str(folder / "accounts.json"), *flags], cwd=ROOT, stdout=subprocess.DEVNULL)
        try:
            wait(address)
            time.sleep(12)                     # until the model is loaded: its imports are not what is measured
            codes = guess(address, args.guesses)
            print(f"{args.guesses} guesses at once: {codes[401]} evaluated, {codes[429]} refused of {codes.total()}")
            for logins in (0, args.logins):
                latencies, codes = measure(address, study, link, args.seconds, logins, args.addresses)
                print(f"beside {logins} logins: annotators p50 {np.percentile(latencies, 50):.0f} ms, "
                      f"p95 {np.percentile(latencies, 95):.0f} ms, max {latencies.max():.0f} ms of {len(latencies)} calls; "
                      f"logins answered {dict(codes)}; "
                      f"load average {psutil.getloadavg()[0]:.1f}", flush=True)
        finally:
            server.terminate()
            server.wait()


def wait(address: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{address}/login", trust_env=False).status_code == 200:
                return
        except httpx.TransportError:
            time.sleep(0.2)
    raise AssertionError("the server does not start")


if __name__ == "__main__":
    main()
