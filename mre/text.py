"""Texts that can be kept: neither database nor file takes a NUL character or half of a character."""

from __future__ import annotations

import re
from typing import Any

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def fault_of_text(text: str) -> str | None:
    """Why a text can be kept in no database and no file; None when it can."""
    found = _UNSTORABLE.search(text)
    if found is None:
        return None
    return "a NUL character" if found[0] == "\0" else "half of a character (a lone surrogate)"


def storable(text: str) -> str:
    """The text with U+FFFD in place of what no database and no file can keep."""
    return _UNSTORABLE.sub("\ufffd", text)


def fault_of_values(value: Any) -> str | None:
    """The same for all text inside a value of JSON, keys among it."""
    parts = [value]
    while parts:
        part = parts.pop()
        if isinstance(part, str):
            if fault := fault_of_text(part):
                return fault
        elif isinstance(part, dict):
            parts += [*part, *part.values()]
        elif isinstance(part, list | tuple):
            parts += part
    return None
