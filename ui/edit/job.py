"""A run that goes on while its page is loaded anew: its news wait for whoever follows it."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Generator, Iterator
from contextvars import copy_context
from typing import Any, Generic, TypeVar

T = TypeVar("T")
FORSAKEN_SECONDS = 15.0       # a run whose news nobody has asked for so long is stopped
LOOK_SECONDS = 0.5


class Job(Generic[T]):
    """The news of a run, made in a thread of its own. One at a time follows; whoever comes last has them."""

    def __init__(self, news: Generator[T, None, None]) -> None:
        self._making, self._news = news, queue.Queue[tuple[str, Any]]()
        self._follower: object = None
        self._asked = time.monotonic()
        self.done = False                        # and all news taken
        context = copy_context()                 # of whose request it is
        threading.Thread(target=context.run, args=(self._make,), name="job", daemon=True).start()

    def _make(self) -> None:
        try:
            for one in self._making:
                self._news.put(("news", one))
                if time.monotonic() - self._asked > FORSAKEN_SECONDS:
                    self._making.close()         # which stops the work within a step
        except Exception as error:               # handed to the one who follows, who raises it
            self._news.put(("error", error))
        self._news.put(("end", None))

    def follow(self) -> Iterator[T]:
        """What comes from now on; ends early where somebody else takes over."""
        me = self._follower = object()
        while self._follower is me and not self.done:
            self._asked = time.monotonic()
            try:
                kind, value = self._news.get(timeout=LOOK_SECONDS)
            except queue.Empty:
                continue
            if kind == "news":
                yield value
            else:
                self.done = True
                if kind == "error":
                    raise value
