"""What a researcher has asked for that takes long: it goes on in the background, whatever becomes of the page that asked, and every page
of the Research tab can show how far it is."""

from __future__ import annotations

import os
import secrets
import shutil
import tempfile
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from mre.errors import MreError, StudyError
from ui.site.uploads import own_folder

if TYPE_CHECKING:
    from mre.study.records import Study

MOST_WAITING = 20
MOST_KEPT = 100


@dataclass
class Job:
    """One import, new study or training. `stage` is a word that `research_words` knows as `res_stage_...`."""

    kind: str                           # import, create or judge
    name: str                           # of the study that is to be, or is trained on
    id: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    stage: str = "waiting"
    done: int = 0
    total: int = 0                      # 0: not known
    made: str | None = None             # the name of the study or judge, once it is there
    stop: threading.Event = field(default_factory=threading.Event)      # set when somebody cancels it
    error: Exception | None = None

    @property
    def ended(self) -> bool:
        return self.made is not None or self.error is not None

    def on_progress(self, stage: str, done: int, total: int) -> None:
        self.stage, self.done, self.total = stage, done, total


class Jobs:
    """Long jobs, one at a time in the order of arrival, each in a thread that ends with the process."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._turn, self._lock = threading.Lock(), threading.Lock()

    def start(self, kind: str, name: str, make: Callable[[Job, Path | None], Study | Path], upload: Path | None = None) -> Job:
        """Begin a job, or have it wait for those before it. An `upload` is the job's own from now on: the page may close and its uploads
        go. Raises StudyError when too many wait, or the upload is gone."""
        if sum(not known.ended for known in list(self._jobs.values())) >= MOST_WAITING:
            raise StudyError(f"{MOST_WAITING} imports and new studies are waiting already; please try again later")
        job, own = Job(kind, name), _taken_over(upload) if upload else None
        with self._lock:
            self._jobs[job.id] = job
            while len(self._jobs) > MOST_KEPT:
                self._jobs.pop(next(key for key, known in self._jobs.items() if known.ended))
        threading.Thread(target=self._run, args=(job, make, own), name=f"{kind} {name}", daemon=True).start()
        return job

    def _run(self, job: Job, make: Callable[[Job, Path | None], Study | Path], upload: Path | None) -> None:
        with self._turn:
            job.stage = "starting"
            try:
                job.made = make(job, upload).name
            except MreError as error:
                job.error = error
            except Exception as error:      # told on the page and in the log, like any other fault of ours
                job.error = error
            finally:
                if upload:
                    shutil.rmtree(upload.parent, ignore_errors=True)

    def get(self, job_id: str | None) -> Job | None:
        return self._jobs.get(job_id) if job_id else None

    def latest(self) -> Job | None:
        """The job that runs, or the next that waits."""
        with self._lock:
            return next((job for job in self._jobs.values() if not job.ended), None)


def _taken_over(upload: Path) -> Path:
    """An uploaded file under a second name, in a folder of its own."""
    own = Path(tempfile.mkdtemp(prefix="job-", dir=own_folder())) / upload.name
    try:
        try:
            os.link(upload, own)
        except OSError:                         # another file system
            shutil.copyfile(upload, own)
    except OSError as error:
        shutil.rmtree(own.parent, ignore_errors=True)
        raise StudyError(f"{upload.name}: cannot be read ({error.strerror}); please upload it again") from error
    return own
