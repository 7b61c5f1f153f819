"""What a model's score sliders do, measured by `python -m mre bench scenes --write-effects` and kept beside its weights."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mre.errors import DataError
from mre.files import read_json, write_whole
from mre.rewards import PERSPECTIVES

FILE = "effects.json"
Effect = tuple[float, float | None, float | None]       # mean change, and its 95 % interval where there is one


@dataclass(frozen=True)
class Effects:
    """How far each perspective's score changes when one slider goes from 5 to 0 while the others stay at 5.

    judge: who scored; scenes: over how many; weights: digest of the weights that were measured
    changes: slider -> perspective -> effect, all nine
    """

    judge: str
    scenes: int
    weights: str
    changes: Mapping[str, Mapping[str, Effect]]

    def __post_init__(self) -> None:
        if not isinstance(self.judge, str) or not isinstance(self.weights, str) or not isinstance(self.scenes, int) or self.scenes < 1:
            raise DataError("judge and weights must be texts, scenes a whole number from 1")
        for slider in PERSPECTIVES:
            for name in PERSPECTIVES:
                value, low, high = self._effect(slider, name)
                if not (_is_change(value) and (low is None or _is_change(low)) and (high is None or _is_change(high))):
                    raise DataError(f"the change of {name} by {slider} must be numbers from -5 to 5, got {[value, low, high]}")

    def _effect(self, slider: str, name: str) -> Effect:
        try:
            value, low, high = self.changes[slider][name]
        except (LookupError, TypeError, ValueError):
            raise DataError(f"the change of {name} by {slider} must be a value with the ends of its interval") from None
        return value, low, high

    def write(self, folder: Path) -> Path:
        """Into a model's folder, in place of what was measured before."""
        told = {"judge": self.judge, "scenes": self.scenes, "weights": self.weights, "changes": self.changes}
        write_whole(folder / FILE, json.dumps(told, indent=1) + "\n")
        return folder / FILE


def read_effects(folder: Path, weights: str) -> Effects | None:
    """What was measured of the weights in a folder; None where nothing was, or of others. Raises DataError for a file that is none."""
    path = folder / FILE
    if not path.is_file():
        return None
    told = read_json(path)
    if not isinstance(told, dict) or told.keys() != {"judge", "scenes", "weights", "changes"}:
        raise DataError(f"{path}: must hold judge, scenes, weights and changes")
    try:
        found = Effects(**told)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    return found if found.weights == weights else None


def _is_change(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and abs(value) <= 5
