"""A request to stop: noted, so that the step of a run is finished and saved."""

from __future__ import annotations

import signal
import threading
import time


class StopRequest:
    """While it lasts, Ctrl-C or SIGTERM is noted, so that a step is finished and saved; a second one stops at once.

    A launcher passes on the signal that the terminal has sent to all, so what comes within a second is the same request.
    """

    def __init__(self) -> None:
        self.asked = False
        self._asked_at = 0.0
        self._signals = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()

    def __enter__(self) -> StopRequest:
        self._before = {one: signal.signal(one, self._note) for one in self._signals}
        return self

    def __exit__(self, *exception: object) -> None:
        for one, handler in self._before.items():
            signal.signal(one, handler)

    def _note(self, number: int, frame: object) -> None:
        now = time.monotonic()
        if self.asked and now - self._asked_at > 1:
            raise KeyboardInterrupt
        self.asked, self._asked_at = True, self._asked_at if self.asked else now
