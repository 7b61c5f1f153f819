"""Undo and redo: the form as it was, step by step, with the edit that was shown."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ui.edit.visit import Entry

MOST_STEPS = 100
MOST_CHARS = 4000             # of a value: longer ones are no step to go back to
MOST_CHOSEN = 10              # of a group of boxes
SAME_SECONDS = 1.5            # changes of one field within this are one step: typing, a slider that is dragged
BURST_SECONDS = 0.4           # changes of any fields within this are one step: an example, another model
SETTLE_SECONDS = 0.8          # after undo, until the form shows what it was told: what it says meanwhile is half old


@dataclass
class Step:
    """What the form's fields held, by name."""

    values: dict[str, Any]
    changed: set[str]          # since the step before
    at: float                  # by time.monotonic, of the last change
    shown: Entry | None = None


class Steps:
    """The steps of a visit, and which of them the form shows."""

    def __init__(self) -> None:
        self._steps: list[Step] = []
        self._place = -1
        self._settled = 0.0

    @property
    def now(self) -> Step | None:
        return self._steps[self._place] if self._steps else None

    @property
    def can_undo(self) -> bool:
        return self._place > 0

    @property
    def can_redo(self) -> bool:
        return self._place < len(self._steps) - 1

    def __len__(self) -> int:
        return len(self._steps)

    def record(self, values: dict[str, Any], shown: Entry | None) -> None:
        """The form holds other values: a new step, or more of the last one. What was undone before it is gone then."""
        if not all(map(_can_be_kept, values.values())):
            return                               # not what the page sends
        now, before = time.monotonic(), self.now
        if before is None:
            self._steps, self._place = [Step(values, set(), now, shown)], 0
            return
        changed = {name for name, value in values.items() if before.values.get(name) != value}
        if not changed or now < self._settled:
            return
        del self._steps[self._place + 1:]
        goes_on = now - before.at < (SAME_SECONDS if changed <= before.changed else BURST_SECONDS)
        if goes_on and self._place > 0:
            before.values, before.at, before.shown = values, now, shown
            before.changed |= changed
            return
        self._steps.append(Step(values, changed, now, shown))
        del self._steps[:-MOST_STEPS]
        self._place = len(self._steps) - 1

    def show(self, entry: Entry) -> None:
        """Another edit is shown with the form as it is."""
        if self.now:
            self.now.shown = entry

    def move(self, by: int) -> Step | None:
        """The step before (-1) or after (1), which the form shows from now on; None where there is none."""
        if not 0 <= self._place + by < len(self._steps):
            return None
        self._place += by
        self._settled = time.monotonic() + SETTLE_SECONDS
        return self._steps[self._place]

    def settle(self) -> None:
        """The form is being filled with what it held."""
        self._settled = time.monotonic() + SETTLE_SECONDS


def _can_be_kept(value: Any) -> bool:
    """A text, a number, nothing, or a few texts (what is chosen of a group)."""
    if isinstance(value, list):
        return len(value) <= MOST_CHOSEN and all(isinstance(one, str) and len(one) <= MOST_CHARS for one in value)
    return len(value) <= MOST_CHARS if isinstance(value, str) else isinstance(value, int | float | None)
