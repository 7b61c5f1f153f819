"""How often passwords may be tried, and how many are looked at together. All of it is bounded, in memory and in work."""

from __future__ import annotations

import ipaddress
import os
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future

from fastapi import Request

# wrong tries within so many seconds, by what they have in common: a device on which the account has signed in before has an allowance of
# its own, so that nobody's guessing keeps its owner out; everybody else shares the three others
LIMITS: dict[str, tuple[tuple[int, int], ...]] = {
    "device": ((10, 60), (60, 3600)),                   # one account on one device that is known
    "account and address": ((5, 60), (20, 3600)),
    "address": ((60, 60), (300, 3600)),
    "account": ((300, 3600),),                          # from all unknown devices together: takes more than 15 addresses
    "invitation": ((60, 60), (300, 3600)),              # sessions begun by links, from one address
    "personal code": ((30, 60), (100, 3600))}           # unknown codes on the annotator's pages, from one address
MOST_KEYS = 20_000
MOST_WAITING = 300
Key = tuple[str, Hashable]


class Tries:
    """Tries lately. Each is counted before it is looked at, so that many at the same moment count too, and taken back when it was right."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, most_keys: int = MOST_KEYS) -> None:
        self.clock, self.most_keys = clock, most_keys
        self._tries: OrderedDict[Key, list[float]] = OrderedDict()      # least recently tried first
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._tries)

    def take(self, *keys: Key) -> float:
        """Count one try under each key (kind in `LIMITS`, whatever tells it from others), or none of them when one has had its tries.
        Returns 0, or the seconds after which another may be made."""
        now = self.clock()
        with self._lock:
            if wait := max(self._wait(key, now) for key in keys):
                return wait
            for key in keys:
                self._tries.setdefault(key, []).append(now)
                self._tries.move_to_end(key)
            while len(self._tries) > self.most_keys:
                self._tries.popitem(last=False)
        return 0.0

    def take_back(self, *keys: Key) -> None:
        """The latest try under each key was none after all."""
        with self._lock:
            for key in keys:
                if times := self._tries.get(key):
                    times.pop()
                    if not times:
                        del self._tries[key]

    def forget(self, key: Key) -> None:
        """All tries under this key."""
        with self._lock:
            self._tries.pop(key, None)

    def _wait(self, key: Key, now: float) -> float:
        limits = LIMITS[key[0]]
        times = self._tries.get(key, [])
        times[:] = [moment for moment in times if moment > now - max(seconds for _, seconds in limits)]
        waits = [sorted(times)[-count] + seconds - now for count, seconds in limits if len(times) >= count]
        return max(0.0, *waits) if waits else 0.0


class TooManyWaiting(Exception):
    """More is asked for than will be done soon."""


class FairPool:
    """Does work on a few threads that leave the processor to others. Who waits takes turns by key: asking a lot delays only oneself."""

    def __init__(self, threads: int = max(1, (os.cpu_count() or 1) // 4), most_waiting: int = MOST_WAITING) -> None:
        self.most_waiting = most_waiting
        self._queues: tuple[OrderedDict[Hashable, deque], ...] = (OrderedDict(), OrderedDict())      # the first is served first
        self._changed = threading.Condition()
        self._threads = threads

    def submit(self, key: Hashable, work: Callable[[], object], *, first: bool = False) -> Future:
        """What the work returns, later. `first`: before all that is not. Raises TooManyWaiting."""
        future: Future = Future()
        with self._changed:
            queues = self._queues[0 if first else 1]
            if sum(map(len, queues.values())) >= self.most_waiting:
                raise TooManyWaiting
            queues.setdefault(key, deque()).append((future, work))
            self._changed.notify()
            if self._threads:                           # started on first use
                self._threads -= 1
                threading.Thread(target=self._run, name="passwords", daemon=True).start()
        return future

    def _run(self) -> None:
        if sys.platform == "linux":                     # where a thread can be nicer than its process
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), min(19, os.getpriority(os.PRIO_PROCESS, 0) + 10))
        while True:
            with self._changed:
                while not (queues := next((queues for queues in self._queues if queues), None)):
                    self._changed.wait()
                key, queue = queues.popitem(last=False)
                future, work = queue.popleft()
                if queue:
                    queues[key] = queue                 # to the end of the line
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except BaseException as error:          # told by whoever waits for it
                    future.set_exception(error)


def address_of(request: Request) -> str:
    """What stands for whoever sent a request, as `network_of` has it."""
    return network_of(request.client.host if request.client else "")


def network_of(address: str) -> str:
    """What one household or machine has: an IPv4 address, or the first half of an IPv6 address. Anything else, cut short."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address[:60]
    if found.version == 6 and found.ipv4_mapped:
        found = found.ipv4_mapped
    return str(ipaddress.ip_network((found, 64), strict=False)) if found.version == 6 else str(found)
