"""Bodies of trainable judges by name. A body makes Gaussians of pictures and instructions; a new one is a module and an entry in BODIES."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mre.errors import JudgeError

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image
    from torch import Tensor

    from mre.judge.reward_models.heads import RewardHeads, Scores

# kind -> module of this folder, whose `build(sizes, perspectives)` makes one
BODIES = {"target": "target", "tiny": "tiny", "vlm": "vlm"}
READER = Path(__file__).resolve().parents[2] / "assets" / "tiny-reader"
RESTS_ON = {"target": READER}                     # kind -> folder of another network that its answers depend on


class Body(Protocol):
    """What training and scoring need of a network. It is an nn.Module with a dataclass `config`, from which it can be built again.

    One that can be taught more of drawn edits than their scores also has `drawn(truths)`, which makes tensors of DrawnEdits, and
    `taught(inputs, drawn)`, which gives scores and a loss.
    """

    kind: str
    heads: RewardHeads

    def seen(self, picture: Image.Image) -> np.ndarray:
        """A picture as it is compared, (H, W, 3) uint8."""
        ...

    def inputs(self, originals: Sequence[np.ndarray], editeds: Sequence[np.ndarray], instructions: Sequence[str]) -> dict[str, Tensor]:
        """A batch as `forward` takes it."""
        ...

    def __call__(self, **inputs: Tensor) -> Scores: ...


def build(kind: str, sizes: dict[str, Any], perspectives: tuple[str, ...], where: Path) -> Any:
    """A network with weights drawn at random. Raises JudgeError for a kind or sizes that there are not."""
    if kind not in BODIES:
        raise JudgeError(f"{where}: knows no judge of the kind {kind!r}, only {', '.join(BODIES)}")
    module = import_module(f"mre.judge.reward_models.{BODIES[kind]}")
    try:
        return module.build({name: tuple(value) if isinstance(value, list) else value for name, value in sizes.items()}, perspectives)
    except (TypeError, ValueError, RuntimeError) as error:
        raise JudgeError(f"{where}: no {kind} judge has these sizes ({error})") from error


def sizes_of(network: Any) -> dict[str, Any]:
    """The sizes from which `build` makes such a network again."""
    return {name: value for name, value in dataclasses.asdict(network.config).items() if name != "perspectives"}
