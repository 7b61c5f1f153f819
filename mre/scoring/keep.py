"""Which scored triplets training keeps, as a setting says it. No torch here."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mre.errors import DataError, SettingsError

if TYPE_CHECKING:
    from mre.scoring.selection import Opinion

KEEP_FORMS = 'top:20000 or "p>0.8"'


@dataclass(frozen=True)
class Keep:
    """Which triplets are kept: the `top` ones by their lower bounds, or those that are good with more than `chance`."""

    top: int | None = None
    chance: float | None = None

    @classmethod
    def parse(cls, text: str) -> Keep:
        """From `top:20000` or `p>0.8`. Raises SettingsError."""
        if match := re.fullmatch(r"top:(\d+)", text.strip()):
            if int(match[1]):
                return cls(top=int(match[1]))
        elif (match := re.fullmatch(r"p\s*>\s*(\d*\.?\d+)", text.strip())) and float(match[1]) < 1:
            return cls(chance=float(match[1]))
        raise SettingsError(f"keep must look like {KEEP_FORMS}, with a probability below 1; got {text!r}")

    def chosen(self, opinions: Mapping[str, Opinion], bar: float) -> list[str]:
        """Names of what is kept, in the order of `opinions`. Raises DataError where that is nothing, or fewer than were asked for."""
        if self.top is not None:
            if self.top > len(opinions):
                raise DataError(f"keep top:{self.top}: there are scores of {len(opinions)} triplets only")
            best = set(sorted(opinions, key=lambda name: (*opinions[name].floor, name), reverse=True)[:self.top])
            return [name for name in opinions if name in best]
        assert self.chance is not None
        found = [name for name, opinion in opinions.items() if opinion.chance(bar) > self.chance]
        if not found:
            raise DataError(f"keep p>{self.chance:g}: no one of {len(opinions)} triplets is above {bar:g} on every perspective with more "
                            "than that probability")
        return found
