"""kill -9 of a real server process while annotators submit: nothing acknowledged is lost, nobody loses their place."""

from __future__ import annotations

import random
import time

import pytest

from mre.study import studies
from mre.study.design import StudyDesign
from mre.study.store import Store
from tests.study.conftest import NO_RULES, draw_edits, running_postgres
from tests.study.crowd import ServerProcess, Worker, check_store, finish


def kill_while_they_submit(data, kills: int, annotators: int, seed: int = 0, items: int = 120) -> dict[str, int]:
    """Ten annotators submit while the server is killed and started again; then everything is compared. Returns counts."""
    rng = random.Random(seed)
    with_edits = draw_edits(data / "edits", items, size=(16, 16))
    store = Store.open(data)
    studies.create_from_edits(store, "s", [with_edits], StudyDesign(per_pair=annotators, repeats=5, checks=5, lease_minutes=60, **NO_RULES))
    study = studies.start(store, "s")
    server = ServerProcess(data)
    server.start()
    workers = [Worker(server.address, study.public_id, seed=number) for number in range(annotators)]
    for worker in workers:
        worker.start()
    for _ in range(kills):
        wanted = rng.randint(5, 40) + sum(len(worker.acknowledged) for worker in workers)
        while sum(len(worker.acknowledged) for worker in workers) < wanted and any(worker.is_alive() for worker in workers):
            time.sleep(0.005)
        time.sleep(rng.uniform(0, 0.05))
        server.kill()
        server.start()
    for worker in workers:
        worker.stop.set()
    finish(workers)
    server.kill()
    counts = check_store(store, study, workers)
    store.close()
    assert not [jump for worker in workers for jump in worker.jumps], "an annotator lost their place"
    return counts


@pytest.mark.timeout(400)
def test_kill_9_of_the_server_loses_nothing_that_was_acknowledged(tmp_path):
    counts = kill_while_they_submit(tmp_path, kills=3, annotators=10)
    assert counts["acknowledged"] >= 15
    assert counts["stored"] == counts["acknowledged"]


@pytest.mark.timeout(400)
def test_a_postgresql_server_restarted_in_the_middle_loses_nothing(tmp_path):
    with running_postgres() as postgres:
        store = Store.open(tmp_path / "data", postgres.url)
        studies.create_from_edits(store, "s", [draw_edits(tmp_path / "e", 40, size=(16, 16))],
                                  StudyDesign(per_pair=5, repeats=0, checks=0, **NO_RULES))
        study = studies.start(store, "s")
        with ServerProcess(tmp_path / "data", postgres.url) as server:
            workers = [Worker(server.address, study.public_id, seed=number) for number in range(5)]
            for worker in workers:
                worker.start()
            for turn in range(1, 4):
                while sum(len(worker.acknowledged) for worker in workers) < 10 * turn and all(worker.is_alive() for worker in workers):
                    time.sleep(0.01)
                if turn < 3:
                    postgres.stop()
                    time.sleep(0.3)
                    postgres.start()
            for worker in workers:
                worker.stop.set()
            finish(workers)
        counts = check_store(store, study, workers)
        store.close()
    assert counts["stored"] == counts["acknowledged"] >= 30


def test_more_annotators_than_slots_at_once_fill_each_pair_exactly(tmp_path, store_url):
    store = Store.open(tmp_path / "data", store_url)
    studies.create_from_edits(store, "s", [draw_edits(tmp_path / "e", 12, size=(16, 16))],
                              StudyDesign(per_pair=3, repeats=0, checks=0, **NO_RULES))
    study = studies.start(store, "s")
    with ServerProcess(tmp_path / "data", store_url) as server:
        workers = [Worker(server.address, study.public_id, seed=number, think=0.002) for number in range(12)]
        for worker in workers:
            worker.start()
        finish(workers)
    counts = check_store(store, study, workers)
    store.close()
    assert counts == {"acknowledged": 36, "stored": 36, "slots_done": 36, "slots": 36}


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request, tmp_path):
    from tests.study.conftest import database_of_its_own
    if request.param == "sqlite":
        (tmp_path / "data").mkdir()
        yield f"sqlite:///{tmp_path / 'data' / 'studies.db'}"
        return
    with database_of_its_own(request.getfixturevalue("postgres")) as url:
        yield url
