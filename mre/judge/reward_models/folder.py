"""Folders of trained judges: what a judge is, in `judge.json`, and its weights as safetensors. Nothing that is read here is run."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mre.errors import DataError, JudgeError
from mre.files import read_json, write_whole, written_whole
from mre.judge.reward_models.bodies import RESTS_ON, build
from mre.rewards import PERSPECTIVES

if TYPE_CHECKING:
    from torch import nn

FACTS, WEIGHTS = "judge.json", "model.safetensors"
FORMAT = 1


@dataclasses.dataclass(frozen=True)
class Calibration:
    """What held-out labels say of one perspective. deviation: what a reported deviation is multiplied by, so that one of them holds 68 %;
    win: the same for differences of pairs, so that P(win) is how often the first wins; half_width: of a tie, in points."""

    deviation: float = 1.0
    win: float = 1.0
    half_width: float = 0.5

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < math.inf:
                raise JudgeError(f"calibration: {field.name} must be a positive number, got {value!r}")


@dataclasses.dataclass(frozen=True)
class JudgeFacts:
    """What is known of a trained judge without its weights."""

    kind: str                               # which body: a name in `bodies`
    network: dict[str, Any]                 # the body's sizes
    perspectives: tuple[str, ...]
    calibration: dict[str, Calibration]     # one for each perspective
    trained: dict[str, Any] = dataclasses.field(default_factory=dict)       # on what, for how long, and what was measured

    def as_json(self) -> dict[str, Any]:
        return {"format": FORMAT, **dataclasses.asdict(self)}


def is_judge(folder: Path) -> bool:
    """Whether a folder says that it is a judge."""
    return (folder / FACTS).is_file()


def judges_in(folder: Path) -> dict[str, Path]:
    """Judges that were trained into a folder, by name."""
    return {path.name: path for path in sorted(folder.iterdir()) if is_judge(path)} if folder.is_dir() else {}


def read_facts(folder: Path) -> JudgeFacts:
    """Raises JudgeError for a folder that is no judge, or of a form that this program does not know."""
    if not is_judge(folder):
        raise JudgeError(f"{folder} is not the folder of a judge: it has no {FACTS}")
    where = folder / FACTS
    try:
        given = read_json(where)
    except DataError as error:
        raise JudgeError(str(error)) from error
    form = given.get("format") if isinstance(given, dict) else None
    if form != FORMAT:
        raise JudgeError(f"{where}: its format is {form}, this program reads {FORMAT}")
    try:
        perspectives = tuple(given["perspectives"])
        if not perspectives or list(perspectives) != [name for name in PERSPECTIVES if name in perspectives]:
            raise JudgeError(f"{where}: perspectives must be some of {', '.join(PERSPECTIVES)}, in this order, got {perspectives}")
        calibration = {name: Calibration(**given["calibration"][name]) for name in perspectives}
        return JudgeFacts(str(given["kind"]), dict(given["network"]), perspectives, calibration, dict(given.get("trained") or {}))
    except (KeyError, TypeError, ValueError) as error:
        raise JudgeError(f"{where}: {error!r} is missing or not what it should be") from error
    except JudgeError as error:
        raise error if str(error).startswith(str(where)) else JudgeError(f"{where}: {error}") from error


def judge_version(folder: Path) -> str:
    """A digest of what the answers depend on: the folder, and the reader of a judge that has its requests read."""
    digest = hashlib.sha256()
    other = RESTS_ON.get(read_facts(folder).kind)
    for path in (folder / FACTS, folder / WEIGHTS, *(sorted(other.glob("reader.*")) if other else ())):
        try:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise JudgeError(f"{path.parent}: {path.name} cannot be read ({error.strerror})") from error
    return digest.hexdigest()[:12]


def save_judge(folder: Path, network: nn.Module, facts: JudgeFacts, half: bool = True) -> None:
    """Write a judge: `judge.json` last, so that a folder that has one is whole. half: weights in half precision."""
    import torch
    from safetensors.torch import save

    tensors = {name: value.detach().to("cpu", torch.float16 if half and value.is_floating_point() else value.dtype).contiguous()
               for name, value in kept_state(network).items()}
    with written_whole(folder / WEIGHTS, None) as file:
        file.write(save(tensors))
    write_whole(folder / FACTS, json.dumps(facts.as_json(), indent=1, ensure_ascii=False) + "\n")


def kept_state(network: Any) -> dict[str, Any]:
    """What of a network a folder holds: all of it, or what the body says, where the rest is another's model."""
    return network.kept_state() if hasattr(network, "kept_state") else network.state_dict()


def load_network(folder: Path, facts: JudgeFacts) -> nn.Module:
    """The network of a folder in float32, ready to score. Raises JudgeError for weights of another layout or size."""
    network = build(facts.kind, facts.network, facts.perspectives, folder)
    fill_network(network, read_weights(folder / WEIGHTS), folder / WEIGHTS)
    return network.eval()


def read_weights(path: Path) -> dict[str, Any]:
    """All tensors of a safetensors file. Raises JudgeError."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise JudgeError(f"{path}: cannot be read ({error})") from error


def fill_network(network: nn.Module, tensors: Mapping[str, Any], where: Path) -> None:
    """Give a network its tensors, all of them and no others. Raises JudgeError that names what is missing, left over, or misshapen."""
    expected = kept_state(network)
    for what, names in (("missing", expected.keys() - tensors.keys()), ("unexpected", tensors.keys() - expected.keys())):
        if names:
            raise JudgeError(f"{where}: {what} tensor {min(names)}" + (f" and {len(names) - 1} more" if len(names) > 1 else ""))
    for name, value in expected.items():
        if value.shape != tensors[name].shape:
            raise JudgeError(f"{where}: tensor {name} must be {tuple(value.shape)}, it is {tuple(tensors[name].shape)}")
    network.load_state_dict({name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}, strict=False)
