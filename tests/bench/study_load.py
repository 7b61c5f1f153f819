"""Annotators at once over plain HTTP: python -m tests.bench.study_load [--annotators 10 50] [--screens 20] [--per-pair K] [--database URL]

Starts the annotator's pages as a process of their own, with pictures of 512 x 512, and lets annotators look (and fetch and decode the next
screen meanwhile, as the page does), think, and submit. Measured: from submit to the next screen with its pictures decoded. To hold: ten
annotators on two cores at most 300 ms p50 and 1 s p95; fifty without a lost, doubled or misattributed row. With `--per-pair K` they go on
until nothing is left, and each pair must then have been scored by exactly K.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil

from mre.study import studies
from mre.study.design import StudyDesign
from mre.study.store import Store
from tests.study.conftest import NO_RULES, draw_edits
from tests.study.crowd import ServerProcess, Worker, check_store, finish

ITEMS = 60


def measure(annotators: int, screens: int, think: float, prefetch: bool, per_pair: int | None, database: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        edits = draw_edits(Path(folder) / "edits", ITEMS, size=(512, 512))
        store = Store.open(Path(folder), database)
        name = f"load-{annotators}-{prefetch}-{time.time_ns()}"
        studies.create_from_edits(store, name, [edits],
                                  StudyDesign(per_pair=per_pair or annotators, repeats=5, checks=5, **NO_RULES))
        screens = 2 * ITEMS if per_pair else screens
        study = studies.start(store, name)
        with ServerProcess(Path(folder), database) as server:
            workers = [Worker(server.address, study.public_id, seed=number, think=think, decode=True, prefetch=prefetch, limit=screens)
                       for number in range(annotators)]
            began = time.perf_counter()
            for worker in workers:
                worker.start()
            finish(workers, 1200)
            wall = time.perf_counter() - began
            memory = psutil.Process(server.process.pid).memory_info().rss / 1e6
        counts = check_store(store, study, workers)
        store.close()
    if per_pair:
        assert counts["slots_done"] == counts["slots"] == ITEMS * per_pair, counts
    seconds = np.concatenate([worker.seconds for worker in workers])
    how_far = f"{ITEMS} pairs, each exactly {per_pair} times" if per_pair else f"{screens} screens each"
    print(f"{annotators} annotators, {how_far}, think {think:g} s, next {'prefetched' if prefetch else 'not prefetched'}: "
          f"p50 {np.percentile(seconds, 50) * 1000:.0f} ms, p95 {np.percentile(seconds, 95) * 1000:.0f} ms, "
          f"max {seconds.max() * 1000:.0f} ms; {len(seconds) / wall:.1f} screens/s; server {memory:.0f} MB; "
          f"{counts['acknowledged']} acknowledged = {counts['stored']} stored; load average {psutil.getloadavg()[0]:.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotators", type=int, nargs="+", default=[10, 50])
    parser.add_argument("--screens", type=int, default=20)
    parser.add_argument("--think", type=float, default=4.0, help="seconds on a screen, on average")
    parser.add_argument("--per-pair", type=int)
    parser.add_argument("--database")
    args = parser.parse_args()
    for annotators in args.annotators:
        for prefetch in (True, False) if annotators <= 10 else (True,):
            measure(annotators, args.screens, args.think, prefetch, args.per_pair, args.database)


if __name__ == "__main__":
    main()
