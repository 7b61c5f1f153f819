"""Cells of a study's files: times and durations as text."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from functools import lru_cache

from mre.errors import DataError

SIMULATED_LABEL = "simulated-"                                  # simulated annotators are simulated-001 and so on; nobody else is
SIMULATED = re.compile(rf"({SIMULATED_LABEL}|drawn-)\d{{3,}}")     # what exports call them; `drawn-` before


def time_cell(milliseconds: int | None) -> str:
    """ISO 8601 UTC with milliseconds, such as 2026-11-21T03:40:00.123Z; empty for None."""
    if milliseconds is None:
        return ""
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{_minute(minutes)}:{rest // 1000:02d}.{rest % 1000:03d}Z"


@lru_cache(maxsize=4096)
def _minute(minutes: int) -> str:
    """The part of a time that an export repeats a million times over."""
    return f"{datetime.fromtimestamp(60 * minutes, UTC):%Y-%m-%dT%H:%M}"


def time_of(cell: str) -> int | None:
    """The milliseconds behind a time cell. Raises DataError."""
    if not cell:
        return None
    try:
        moment = datetime.fromisoformat(cell)
    except ValueError as error:
        raise DataError(f"{cell!r} is not an ISO 8601 time") from error
    if moment.tzinfo is None:
        raise DataError(f"{cell!r} has no time zone; write Z for UTC")
    return round(moment.timestamp() * 1000)


def seconds_cell(milliseconds: int | None) -> str:
    return "" if milliseconds is None else f"{milliseconds // 1000}.{milliseconds % 1000:03d}"
