"""What a training minimises: names -> objectives. A new one is a module and an entry in the table here. Importing this loads no torch."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from mre.families import objectives

if TYPE_CHECKING:
    from mre.training.objectives.objective import Objective


@dataclass(frozen=True)
class Entry:
    """Where an objective is, and what it is for."""

    place: str              # MODULE:CLASS
    about: str


OBJECTIVES = {
    "noise": Entry("mre.training.objectives.noise:NoisePrediction", "what the model's sampler has it predict: noise, picture or velocity"),
    "flow": Entry("mre.training.objectives.flow:FlowMatching", "the straight way from noise to picture (rectified flow)"),
    **{name: Entry(*entry) for name, entry in objectives().items()},
}


def open_objective(name: str, scheduler: Any, config: Any) -> Objective:
    """The objective of that name for a model with this sampler. Raises SettingsError where the two do not fit."""
    module, _, kind = OBJECTIVES[name].place.partition(":")
    return getattr(import_module(module), kind)(scheduler, config)
