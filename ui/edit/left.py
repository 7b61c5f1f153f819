"""Visits whose page is gone: a reload, Back, or a phone that slept finds its tab's own again, for a while."""

from __future__ import annotations

import re
import threading
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ui.edit.visit import EditVisit
    from ui.site.uploads import Caller, Uploads

KEPT_SECONDS = 15 * 60.0      # the page says so: `privacy` in ui.edit.result
RELOAD_SECONDS = 20.0         # a run whose page has not come back by then is stopped
MOST_LEFT = 100
TAB = re.compile(r"[A-Za-z0-9_-]{32}")


class LeftVisits:
    """The visits that were left, the oldest first. Each goes back to its own browser and tab alone."""

    def __init__(self, uploads: Uploads) -> None:
        self._uploads = uploads
        self._left: OrderedDict[tuple, tuple[float, EditVisit]] = OrderedDict()
        self._lock = threading.Lock()

    def leave(self, visit: EditVisit) -> None:
        """A visit's page is gone. What it runs goes on for as long as a reload takes."""
        assert visit.place is not None, "one that can be found again"
        visit.rest()
        with self._lock:
            self._left[visit.place] = time.monotonic(), visit
        self.expire()
        if visit.busy.locked():
            timer = threading.Timer(RELOAD_SECONDS, self._stop, (visit,))
            timer.daemon = True
            timer.start()

    def take(self, place: tuple | None) -> EditVisit | None:
        """The visit that was left at this place, if there is one."""
        with self._lock:
            found = self._left.pop(place, None) if place else None
        return found[1] if found else None

    def expire(self) -> None:
        """End the visits that nobody came back to."""
        oldest = time.monotonic() - KEPT_SECONDS
        with self._lock:
            over = [place for place, (since, _) in self._left.items() if since < oldest]
            over += list(self._left)[len(over):max(len(over), len(self._left) - MOST_LEFT)]
            ended = [self._left.pop(place)[1] for place in over]
        for visit in ended:
            visit.close()
            self._uploads.drop_session(visit.session)

    def __iter__(self):
        with self._lock:
            return iter([visit for _, visit in self._left.values()])

    def _stop(self, visit: EditVisit) -> None:
        with self._lock:
            gone = any(other is visit for _, other in self._left.values())
        if gone:
            visit.stop.set()


def place_of(caller: Caller, tab: Any) -> tuple | None:
    """Where a visit is looked for again: its account, browser and tab. None for a browser that keeps no cookies, or a page that does not
    tell its tab."""
    return (caller.identity, caller.visit, tab) if caller.visit and isinstance(tab, str) and TAB.fullmatch(tab) else None
