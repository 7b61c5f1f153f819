"""A run that goes on while its page is loaded anew: its news wait for whoever follows it."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Generator, Iterator
from contextvars import copy_context
from typing import Any, Generic, TypeVar

T = TypeVar("T")
FORSAKEN_SECONDS = 15.0       # a run whose news nobody has asked for so long is stopped
LOOK_SECONDS = 0.5


class Job(Generic[T]):
    """The news of a run, made in a thread of its own. One at a time follows; whoever comes last has them."""

    def __init__(self, news: Generator[T, None, None]) -> None:
        self._making, self._news = news, deque[tuple[str, Any]]()
        self._changed = threading.Condition()
        self._follower: object = None
        self._asked = time.monotonic()
        self.done = False                        # and all news taken
        context = copy_context()                 # of whose request it is
        threading.Thread(target=context.run, args=(self._make,), name="job", daemon=True).start()

    def _make(self) -> None:
        try:
            for one in self._making:
                self._tell("news", one)
                if time.monotonic() - self._asked > FORSAKEN_SECONDS:
                    self._making.close()         # which stops the work within a step
        except Exception as error:               # handed to the one who follows, who raises it
            self._tell("error", error)
        self._tell("end", None)

    def _tell(self, kind: str, value: Any) -> None:
        with self._changed:
            self._news.append((kind, value))
            self._changed.notify_all()

    def follow(self) -> Iterator[T]:
        """What comes from now on; ends early where somebody else takes over, who then has all that comes."""
        me = object()
        with self._changed:
            self._follower = me
            self._changed.notify_all()
        while (told := self._next(me)) is not None:
            kind, value = told
            if kind == "news":
                yield value
            elif kind == "error":
                raise value

    def _next(self, follower: object) -> tuple[str, Any] | None:
        """The next of the news for one who follows; None where there are no more, or somebody else follows."""
        with self._changed:
            while self._follower is follower and not self.done:
                self._asked = time.monotonic()
                if self._news:
                    told = self._news.popleft()
                    self.done = told[0] != "news"
                    return told
                self._changed.wait(LOOK_SECONDS)
        return None
