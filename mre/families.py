"""Families of models: an architecture of its own joins as one package and one entry in the table here.

A package says in `FAMILY` what it brings, as names, so that asking loads no torch. A package that this copy of the program lacks is left
out, and with it its models; nothing else changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mre.errors import ModelError

PACKAGES = ("mre.embedded", "mre.models.smartedit")


@dataclass(frozen=True)
class Known:
    """A model that has a short name: what to say of it, and where it leads."""

    title: str
    limits: str
    folder: str = ""                # of weights that ship, in the assets
    hub_id: str = ""
    subfolder: str | None = None
    build: str = ""                 # MODULE:NAME of what makes it with random weights
    defaults: Mapping[str, Any] = field(default_factory=dict)       # of a model without an index: what that would say
    digest: str | None = None       # and its digest
    reads_rewards: bool = True      # of public weights


@dataclass(frozen=True)
class Family:
    """What a family of models brings. Functions and classes are named as MODULE:NAME."""

    name: str
    parts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)    # "unet", "vae" -> class, as saved folders name it -> its module
    pipelines: Mapping[str, str] = field(default_factory=dict)              # class, as saved folders name it -> its module
    more_parts: Mapping[str, str] = field(default_factory=dict)     # folders of those pipelines beside every editor's -> stem of weights
    layout: str = ""                # module that reads folders in a layout of the family's own: see `layout_of`
    fresh: Mapping[str, tuple[str, str]] = field(default_factory=dict)      # what `init_from` may be -> function that builds it, help
    first_words: str = ""           # (config, folder, steps) writes a fresh model whose text encoder has learned what its words mean
    reader: str = ""                # folder -> what says which request an instruction is: `network.values`, `probabilities`, `read`
    settings: str = ""              # a group of settings of its own in a TrainConfig
    presets: str = ""               # of training: name -> settings
    training_example: str = ""      # a command line
    loss_term: str = ""             # a LossTerm that every objective takes along
    objectives: Mapping[str, tuple[str, str]] = field(default_factory=dict)     # name -> MODULE:CLASS of an Objective, what it is for
    models: str = ""                # short names -> Known
    capabilities: str = ""          # (class of the U-Net, scores, texts: whether it reads them) -> Capabilities
    vocabulary: str = ""            # name -> Vocabulary of the model
    dtype: str = "auto"             # number format of its models where none is asked for: see `mre.editors.load_options.DTYPES`


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


def pipeline_class(name: object) -> type | None:
    """The family's pipeline of this name; none if no family has one. Loads torch."""
    for family in families():
        if name in family.pipelines:
            return getattr(import_module(family.pipelines[str(name)]), str(name))
    return None


def more_parts() -> dict[str, str]:
    """Folders of parts that the families' pipelines have beside those of every editor -> the stem of their files of weights, or ""."""
    return {part: stem for family in families() for part, stem in family.more_parts.items()}


def pipeline_names() -> tuple[str, ...]:
    """Pipelines of the families."""
    return tuple(name for family in families() for name in family.pipelines)


def layout_of(name: str, folder: Path | None = None) -> Any:
    """The module that reads the model of this short name, or in this folder, where a family has a layout of its own for it; else none.

    It has `holds(folder)`, `find(hub_id, local_files_only)`, `load(folder, dtype, condition)`, and DEFAULTS, what an index would say.
    """
    for family in families():
        if family.layout and (name in (named(family.models) if family.models else ()) if folder is None
                              else import_module(family.layout).holds(folder)):
            return import_module(family.layout)
    return None


def fresh_models() -> dict[str, str]:
    """What `init_from` may be for an untrained model of a family -> what that is."""
    return {name: about for family in families() for name, (_, about) in family.fresh.items()}


def build_fresh(name: str, config: Any, **switches: object) -> Any:
    """The untrained pipeline of that name. Loads torch."""
    [build] = [family.fresh[name][0] for family in families() if name in family.fresh]
    return named(build)(config, **switches)


def write_first_words(config: Any, folder: Path, steps: int) -> None:
    """The untrained model that `config.init_from` names, into a folder, its text encoder taught words alone for so many steps."""
    [write] = [family.first_words for family in families() if config.init_from in family.fresh]
    named(write)(config, folder, steps)


def request_reader(folder: Path) -> Any:
    """What reads requests, from its folder. Raises ModelError where no family of this copy brings one."""
    for family in families():
        if family.reader:
            return named(family.reader)(folder)
    raise ModelError("nothing in this copy of the program reads requests, which this model rests on")


def settings_groups() -> dict[str, type]:
    """Groups of settings that families add to those of a training run, by the family's name."""
    return {family.name: named(family.settings) for family in families() if family.settings}


def training_presets() -> dict[str, dict[str, Any]]:
    """Presets of training by name."""
    return {name: dict(values) for family in families() if family.presets for name, values in named(family.presets).items()}


def loss_terms() -> list[type]:
    """What families add to an objective: classes that are made with the config of a run."""
    return [named(family.loss_term) for family in families() if family.loss_term]


def objectives() -> dict[str, tuple[str, str]]:
    """Objectives of training that families add, by name: where each is, and what it is for."""
    return {name: entry for family in families() for name, entry in family.objectives.items()}


def known_models() -> dict[str, Known]:
    """Models of the families that have a short name."""
    return {name: known for family in families() if family.models for name, known in named(family.models).items()}


def family_of(name: str, unet: str | None) -> Family | None:
    """The family of the model with this short name, or with a U-Net of this class; none for other models."""
    for family in families():
        if (family.models and name in named(family.models)) or str(unet) in family.parts.get("unet", {}):
            return family
    return None


def named(place: str) -> Any:
    """What stands at MODULE:NAME. Loads the module."""
    module, _, name = place.partition(":")
    return getattr(import_module(module), name)


def later(place: str) -> Callable:
    """The function or class at MODULE:NAME, whose module is loaded when it is first called."""
    return lambda *args, **options: named(place)(*args, **options)


def find_class(name: str) -> Any:
    """A family's class of this name; none if no family has one."""
    for family in families():
        for modules in family.parts.values():
            if name in modules:
                return getattr(import_module(modules[name]), name)
    return None
