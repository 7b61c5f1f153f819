"""Settings as frozen dataclasses: each field knows its default, its help and what values it takes; flags and YAML files give them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import Field, field, fields
from typing import Any, get_args, get_origin, get_type_hints

from mre.errors import SettingsError


def setting(default: Any, text: str, choices: Sequence[str] | None = None, low: float | None = None, high: float | None = None,
            resume: bool = False) -> Any:
    """A field: default, help text, and what values it takes. `resume`: a resumed run may change it."""
    return field(default=default, metadata={"help": text, "choices": choices, "low": low, "high": high, "resume": resume})


class Settings:
    """A group of settings: a frozen dataclass whose fields are made by `setting`. Groups are put together by inheriting from several."""

    def check(self) -> None:
        """Raise SettingsError for values of the group that do not go together; `self` may hold those of other groups too."""


def checked(settings: Settings) -> None:
    """Convert every field to its type and compare it with its rule, in place. Raises SettingsError naming the field."""
    hints = get_type_hints(type(settings))
    for one in fields(settings):        # type: ignore[arg-type]
        value = converted(one.name, hints[one.name], getattr(settings, one.name))
        object.__setattr__(settings, one.name, value)
        _compare(one.name, value, one.metadata)


def converted(name: str, kind: Any, value: Any) -> Any:
    """`value`, from a flag or a YAML file, as the type of its field. Raises SettingsError naming the field."""
    if get_origin(kind) is tuple:
        parts = [part for part in value.split(",") if part.strip()] if isinstance(value, str) else value
        if not isinstance(parts, list | tuple):
            raise SettingsError(f"{name} must be a list, got {value!r}")
        return tuple(converted(name, get_args(kind)[0], part.strip() if isinstance(part, str) else part) for part in parts)
    try:
        if kind is bool:
            if isinstance(value, bool):
                return value
            return {"true": True, "false": False}[str(value).lower()]
        if kind is str:
            if not isinstance(value, str | os.PathLike):
                raise TypeError
            return os.fspath(value)
        if isinstance(value, bool):
            raise TypeError
        number = float(value)
        if kind is int and number != int(number):
            raise ValueError
        return kind(number)
    except (KeyError, TypeError, ValueError, OverflowError):
        word = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[kind]
        raise SettingsError(f"{name} must be {word}, got {value!r}") from None


def _compare(name: str, value: Any, rule: Mapping[str, Any]) -> None:
    for part in value if isinstance(value, tuple) else (value,):
        if rule["choices"] and part not in rule["choices"]:
            raise SettingsError(f"{name} must be one of {', '.join(rule['choices'])}, got {part!r}")
        if rule["low"] is not None and not part >= rule["low"]:          # NaN fails this too
            raise SettingsError(f"{name} must be at least {rule['low']:g}, got {part}")
        if rule["high"] is not None and not part <= rule["high"]:
            raise SettingsError(f"{name} must be at most {rule['high']:g}, got {part}")


def shown(one: Field) -> str:
    """The default of a field as help shows it."""
    value = one.default
    if isinstance(value, tuple):
        return ",".join(map(str, value)) or "empty"
    return str(value).lower() if isinstance(value, bool) else str(value) if value != "" else "empty"
