"""Long jobs of the Research tab: one at a time, in the background, on files of their own."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from mre.errors import DataError, StudyError
from ui.research.jobs import MOST_WAITING, Jobs


def wait_for(job) -> None:
    deadline = time.monotonic() + 60
    while not job.ended:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_job_keeps_its_upload_when_the_page_closes_and_leaves_nothing_behind(tmp_path):
    upload, go_on, seen = tmp_path / "s.csv", threading.Event(), []

    def make(job, file: Path):
        go_on.wait(60)
        job.on_progress("reading", 1, 2)
        seen.append((file, file.name, file.read_text()))
        return SimpleNamespace(name="made")

    upload.write_text("hello")
    jobs = Jobs()
    job = jobs.start("import", "s", make, upload)
    upload.unlink()                         # the page has closed
    assert jobs.latest() is job
    go_on.set()
    wait_for(job)
    assert (job.made, job.error, job.stage, job.done, job.total) == ("made", None, "reading", 1, 2)
    assert seen[0][1:] == ("s.csv", "hello")
    while seen[0][0].parent.exists():
        time.sleep(0.01)
    assert jobs.latest() is None
    assert jobs.get(job.id) is job
    assert jobs.get("other") is None


def test_jobs_run_one_after_the_other_and_a_failed_one_holds_up_none():
    running, order, jobs = threading.Semaphore(1), [], Jobs()

    def make(number):
        def run(job, _file):
            assert running.acquire(blocking=False)
            order.append(number)
            time.sleep(0.02)
            running.release()
            if number == 1:
                raise DataError("row 3: faulty")
            if number == 2:
                raise ZeroDivisionError
            return SimpleNamespace(name=f"study-{number}")
        return run

    started = [jobs.start("create", f"s{number}", make(number)) for number in range(4)]
    for job in started:
        wait_for(job)
    assert sorted(order) == [0, 1, 2, 3]
    assert [job.made for job in started] == ["study-0", None, None, "study-3"]
    assert str(started[1].error) == "row 3: faulty"
    assert isinstance(started[2].error, ZeroDivisionError)


def test_too_many_waiting_jobs_and_uploads_that_are_gone_are_refused(tmp_path):
    jobs, go_on = Jobs(), threading.Event()
    for number in range(MOST_WAITING):
        jobs.start("create", f"s{number}", lambda job, _file: go_on.wait(60))
    with pytest.raises(StudyError, match="are waiting already"):
        jobs.start("create", "one more", lambda job, _file: None)
    go_on.set()
    with pytest.raises(StudyError, match="please upload it again"):
        Jobs().start("import", "s", lambda job, file: None, tmp_path / "gone.csv")
