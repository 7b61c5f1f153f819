"""An import while people score: python -m tests.bench.study_import [--scores 800000] [--annotators 10] [--database URL]

A server process shows a study to annotators; then the same process imports a file of that many scores in the background, as the Research
tab does. Measured: the annotators' time from submit to the next screen before and during the import, and how much memory the server needs
more for it. To hold with a file of 200 MB: p95 below 1 s, memory below 500 MB.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace

import httpx
import numpy as np
import psutil

from mre.study import records, studies
from mre.study.design import StudyDesign
from mre.study.export import export_file
from mre.study.store import Store
from tests.bench.study_export import fill
from tests.study.conftest import NO_RULES, draw_edits
from tests.study.crowd import ServerProcess, Worker, check_store, finish

ITEMS = 300
BEFORE_SECONDS = 40


def serve(data: str, port: str, database: str | None = None) -> None:
    """The server process: annotators' pages, and two routes that stand for the Research tab."""
    import uvicorn
    from fastapi import FastAPI

    from mre.study.importer import import_file
    from ui.research.jobs import Jobs
    from ui.study.pages.routes import add_routes

    app, store, jobs = FastAPI(), Store.open(Path(data), database), Jobs()
    add_routes(app, SimpleNamespace(store=store))

    @app.post("/import")
    def begin(path: str) -> str:
        return jobs.start("import", "imported", lambda job, file: import_file(store, "imported", file, on_progress=job.on_progress),
                          Path(path)).id

    @app.get("/import/{job}")
    def look(job: str) -> dict:
        found = jobs.get(job)
        return {"ended": found.ended, "error": str(found.error or ""), "stage": found.stage}

    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="error")


def measure(scores: int, annotators: int, think: float, database: str | None) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "import.csv"
        source = Store.open(Path(folder) / "source")
        fill(source, scores)
        export_file(source, "million", file)
        source.close()
        size = file.stat().st_size
        store = Store.open(Path(folder) / "live", database)
        name = f"live-{time.time_ns()}"
        studies.create_from_edits(store, name, [draw_edits(Path(folder) / "edits", ITEMS, size=(256, 256))],
                                  StudyDesign(per_pair=annotators, repeats=5, checks=5, **NO_RULES))
        study = studies.start(store, name)
        with ServerProcess(Path(folder) / "live", database, "tests.bench.study_import") as server:
            workers = [Worker(server.address, study.public_id, seed=number, think=think, decode=True) for number in range(annotators)]
            for worker in workers:
                worker.start()
            time.sleep(BEFORE_SECONDS)
            before = [len(worker.seconds) for worker in workers]
            process = psutil.Process(server.process.pid)
            memory, peak, stages, seconds = process.memory_info().rss, 0, {}, 0.0
            began = time.perf_counter()
            job = httpx.post(f"{server.address}/import", params={"path": str(file)}).json()
            while not (state := httpx.get(f"{server.address}/import/{job}", timeout=60).json())["ended"]:
                stages[state["stage"]] = stages.get(state["stage"], 0) + 1
                peak = max(peak, process.memory_info().rss)
                time.sleep(0.2)
            seconds = time.perf_counter() - began
            for worker in workers:
                worker.stop.set()
            finish(workers, 300)
        counts = check_store(store, study, workers)
        assert not state["error"], state["error"]
        assert records.find_study(store, "imported").state == "closed"
        store.close()
    parts = (("before", [part for worker, count in zip(workers, before, strict=True) for part in worker.seconds[:count]]),
             ("during the import", [part for worker, count in zip(workers, before, strict=True) for part in worker.seconds[count:]]))
    for what, found in parts:
        print(f"{annotators} annotators {what}: {len(found)} screens, p50 {np.percentile(found, 50) * 1000:.0f} ms, "
              f"p95 {np.percentile(found, 95) * 1000:.0f} ms, max {max(found) * 1000:.0f} ms", flush=True)
    print(f"import of {scores} scores, {size / 1e6:.0f} MB: {seconds:.0f} s; server {memory / 1e6:.0f} MB before, "
          f"{(peak - memory) / 1e6:.0f} MB more at its peak; {counts['acknowledged']} answers acknowledged = {counts['stored']} stored; "
          f"load average {psutil.getloadavg()[0]:.1f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scores", type=int, default=800_000, help="of about 255 bytes each (default: %(default)s)")
    parser.add_argument("--annotators", type=int, default=10)
    parser.add_argument("--think", type=float, default=3.0, help="seconds on a screen, on average")
    parser.add_argument("--database")
    args = parser.parse_args()
    measure(args.scores, args.annotators, args.think, args.database)


if __name__ == "__main__":
    serve(*sys.argv[1:]) if len(sys.argv) > 2 and sys.argv[2].isdigit() and not sys.argv[1].startswith("-") else main()
