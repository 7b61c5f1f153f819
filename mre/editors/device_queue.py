"""First in, first out access to one device, with a limit on how many may wait."""

from __future__ import annotations

import threading
from collections import deque

from mre.errors import MreError


class BusyError(MreError):
    """Too many are waiting for the device already."""


class DeviceQueue:
    """Who waits for a device, in the order of arrival."""

    def __init__(self, most_waiting: int = 40) -> None:
        self.most_waiting = most_waiting
        self.restoring = threading.Lock()        # one photo at a time gets its detail back, while the next edit has the device
        self._tickets: deque[Ticket] = deque()
        self._moved = threading.Condition()

    def join(self) -> Ticket:
        """A ticket at the end of the queue. Raises BusyError when too many wait already."""
        with self._moved:
            if len(self._tickets) > self.most_waiting:
                raise BusyError(f"{self.most_waiting} edits are waiting already; please try again in a minute")
            ticket = Ticket(self)
            self._tickets.append(ticket)
            return ticket

    def __len__(self) -> int:
        return len(self._tickets)


class Ticket:
    """A place in the queue; leave it by `with` or `leave()`."""

    def __init__(self, queue: DeviceQueue) -> None:
        self._queue = queue

    @property
    def place(self) -> int:
        """How many are ahead; 0: the device is this one's."""
        with self._queue._moved:
            return self._queue._tickets.index(self)

    def wait(self, seconds: float) -> bool:
        """Wait for the device, at most so long. Returns whether it is this one's."""
        with self._queue._moved:
            return self._queue._moved.wait_for(lambda: self._queue._tickets[0] is self, timeout=seconds)

    def leave(self) -> None:
        """Out of the queue, from whatever place."""
        with self._queue._moved:
            if self in self._queue._tickets:
                self._queue._tickets.remove(self)
                self._queue._moved.notify_all()

    def __enter__(self) -> Ticket:
        return self

    def __exit__(self, *error: object) -> None:
        self.leave()
