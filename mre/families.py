"""Families of models: an architecture of its own joins as one package and one entry in the table here.

A package says in `FAMILY` what it brings, as names, so that asking loads no torch. A package that this copy of the program lacks is left
out, and with it its models; nothing else changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

PACKAGES = ("mre.embedded",)


@dataclass(frozen=True)
class Family:
    """What a family of models brings."""

    parts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)    # "unet", "vae" -> class, as saved folders name it -> its module


@lru_cache(maxsize=1)
def families() -> tuple[Family, ...]:
    """The families of this copy of the program."""
    return tuple(import_module(package).FAMILY for package in PACKAGES if find_spec(package))


def part_modules(part: str) -> dict[str, str]:
    """Classes of the families that can be a part ("unet", "vae") of a pipeline -> their modules."""
    return {name: module for family in families() for name, module in family.parts.get(part, {}).items()}


def part_classes(part: str) -> dict[str, type]:
    """The same as classes, by name. Loads torch."""
    return {name: getattr(import_module(module), name) for name, module in part_modules(part).items()}


def find_class(name: str) -> Any:
    """A family's class of this name; none if no family has one."""
    for family in families():
        for modules in family.parts.values():
            if name in modules:
                return getattr(import_module(modules[name]), name)
    return None
