"""Annotators as threads over plain HTTP, and a server process that can be killed: for tests and benchmarks of the study."""

from __future__ import annotations

import io
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from PIL import Image

from tests.conftest import ROOT
from tests.processes import Program, forge_is_open

PATIENCE = 180.0        # seconds an annotator goes on trying, and a server may take to start on a busy machine


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class ServerProcess:
    """The annotator's pages as a real process (`tests.study.server`, or another module that takes the same arguments)."""

    def __init__(self, data: Path, database: str | None = None, module: str = "tests.study.server") -> None:
        self.data, self.database, self.module = data, database, module
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen | Program | None = None

    def start(self) -> None:
        arguments = ["-m", self.module, str(self.data), str(self.port), *([self.database] if self.database else [])]
        self.process = Program(*arguments) if forge_is_open() else subprocess.Popen([sys.executable, *arguments], cwd=ROOT)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                if httpx.get(f"{self.address}/study/static/icon.svg").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError("the server does not start")

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def __enter__(self) -> ServerProcess:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.kill()


@dataclass
class Worker(threading.Thread):
    """One annotator: looks, thinks, submits, and sends again with the same key until the server has answered."""

    address: str
    study: str
    seed: int
    think: float = 0.03
    decode: bool = False                                               # fetch and decode pictures
    prefetch: bool = True                                              # those of the next screen while looking at this one
    limit: int = 10**9
    label: str = ""
    acknowledged: dict[str, tuple] = field(default_factory=dict)       # key -> scores
    seconds: list[float] = field(default_factory=list)                 # submit to the next screen, pictures decoded
    jumps: list[str] = field(default_factory=list)                     # a screen other than the one before a cut
    fault: BaseException | None = None

    def __post_init__(self) -> None:
        super().__init__(daemon=True)
        self.rng = random.Random(self.seed)
        self.stop = threading.Event()

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        try:
            with httpx.Client(base_url=self.address, timeout=30) as self.http:
                entered = self._call("enter", consent=True, language="en", ids={"participant": f"worker-{self.seed}"})
                self.label = entered["me"]["label"]
                self._visit(self._call("work"))
        except BaseException as error:      # told by whoever joins the thread
            self.fault = error

    def _visit(self, work: dict) -> None:
        ready = {}
        while work["current"] and not self.stop.is_set() and len(self.acknowledged) < self.limit:
            shown = work["current"]
            self._decoded(shown, ready)
            if work["upcoming"] and self.prefetch:
                self._decoded(work["upcoming"], ready)          # while the annotator looks at the current one
            time.sleep(self.rng.uniform(0.3, 1.7) * self.think)
            key = f"{self.rng.getrandbits(128):032x}"
            scores = [[self.rng.randrange(6) for _ in range(3)] for _ in range(2)]
            began = time.perf_counter()
            work = self._call("submit", screen=shown["screen"], key=key, revision=0, scores=scores, comment="", active_ms=1000)
            if work["current"]:
                self._decoded(work["current"], ready)
            self.seconds.append(time.perf_counter() - began)
            self.acknowledged[key] = tuple(map(tuple, scores))
            ready.pop(shown["screen"], None)

    def _decoded(self, shown: dict, ready: dict[str, bool]) -> None:
        if not self.decode or shown["screen"] in ready:
            return
        for token in shown["pictures"]:
            reply = self.http.get(f"/study/p/{self.study}/{token}")
            assert reply.status_code == 200, reply.text
            Image.open(io.BytesIO(reply.content)).load()
        ready[shown["screen"]] = True

    def _call(self, action: str, **body) -> dict:
        """A call that is made again until the server answers it, as the page does."""
        deadline, cut = time.monotonic() + PATIENCE, False
        while True:
            try:
                reply = self.http.post(f"/study/api/{action}", json={"study": self.study, **body}, headers={"X-Study": "1"})
                if reply.status_code < 500:
                    break
            except httpx.TransportError:
                cut = True
            assert time.monotonic() < deadline, f"{action}: no answer"
            time.sleep(0.05)
        assert reply.status_code == 200, f"{action}: {reply.status_code} {reply.text}"
        if cut and action == "submit":
            self._check_place(body["screen"], reply.json())
        return reply.json()

    def _check_place(self, answered: str, work: dict) -> None:
        """After a cut: the answered screen is behind, and asking again shows the same next one."""
        again = self._call("work")
        if work["current"] and (work["current"]["screen"] == answered or again["current"]["screen"] != work["current"]["screen"]):
            self.jumps.append(answered)


def check_store(store, study, workers: list[Worker]) -> dict[str, int]:
    """Compare what workers were told was stored with what the store holds. Raises AssertionError; returns counts."""
    import sqlalchemy as sa

    from mre.rewards import PERSPECTIVES
    from mre.study import events
    from mre.study.schema import annotators, answers, assignments, ratings

    with store.read() as connection:
        rows = connection.execute(
            sa.select(annotators.c.label, answers.c.idempotency_key, answers.c.id, answers.c.is_final, answers.c.revision)
            .join(assignments, assignments.c.id == answers.c.assignment_id).join(annotators, annotators.c.id == assignments.c.annotator_id)
            .where(answers.c.study_id == study.id)).all()
        scores: dict[int, list] = {}
        for row in connection.execute(sa.select(ratings).where(ratings.c.study_id == study.id).order_by(ratings.c.shown_as)):
            scores.setdefault(row.answer_id, []).append(tuple(getattr(row, name) for name in PERSPECTIVES))
        main = connection.execute(sa.select(assignments).where(assignments.c.study_id == study.id, assignments.c.kind == "main")).all()
        faults = events.verify(connection, study.id)
    held = {(row.label, row.idempotency_key): row for row in rows}
    assert len(held) == len(rows), "an answer is there twice"
    told = {(worker.label, key): given for worker in workers for key, given in worker.acknowledged.items()}
    lost = [key for key in told if key not in held]
    assert not lost, f"{len(lost)} acknowledged answers are not there"
    assert all(tuple(scores[held[key].id]) == given for key, given in told.items()), "scores differ from those sent"
    assert all(len(scores[row.id]) == 2 for row in rows), "half a screen"
    assert all(row.is_final and row.revision == 1 for row in rows)
    assert not faults, faults[:3]
    by_pair: dict[int, list] = {}
    for row in main:
        if row.annotator_id:
            by_pair.setdefault(row.pair_id, []).append(row.annotator_id)
    assert all(len(who) == len(set(who)) for who in by_pair.values()), "an annotator has one pair twice"
    return {"acknowledged": len(told), "stored": len(rows), "slots_done": sum(row.state == "done" for row in main), "slots": len(main)}


def finish(workers: list[Worker], seconds: float = 300) -> None:
    """Wait for workers and raise the first fault that one met."""
    for worker in workers:
        worker.join(seconds)
    for worker in workers:
        if worker.fault:
            raise worker.fault
    assert not any(worker.is_alive() for worker in workers), "a worker hangs"
