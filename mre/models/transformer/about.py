"""What the folder of an editor with a reward condition says of itself. Importing this loads no torch.

    reward.json             the settings of the condition, and which editor it goes on
    reward.safetensors      the weights of the condition

Where adapters were trained, `pytorch_lora_weights.safetensors`, which diffusers reads, is beside them, and `base` names the editor that all
go on. Where the whole transformer was trained, the editor is in the same folder as diffusers saves it, and `base` is empty.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mre.errors import DataError, ModelError
from mre.files import read_json

ABOUT = "reward.json"
WEIGHTS = "reward"                                  # .safetensors
ADAPTERS = "pytorch_lora_weights.safetensors"       # diffusers' own name


@dataclass(frozen=True)
class ConditionFile:
    """What reward.json says. Raises ModelError for values of other kinds."""

    base: str = ""                                              # folder or hub id of the editor; empty: the same folder
    resolution: int = 1024                                      # the root of the area that it was trained at, in pixels
    condition: dict[str, Any] = field(default_factory=dict)     # settings of a RewardTransformer

    def __post_init__(self) -> None:
        if not isinstance(self.base, str) or not isinstance(self.condition, dict) or not isinstance(self.resolution, int):
            raise ModelError(f"{ABOUT} must hold base (text), resolution (a whole number) and condition (settings)")

    @property
    def reads(self) -> tuple[bool, bool]:
        """Whether the editor reads scores, and reward texts."""
        used = self.condition.get("use_attention", True) or self.condition.get("use_addition", True)
        return bool(used and self.condition.get("use_score", True)), bool(used and self.condition.get("use_text", True))


def has_condition(name: str) -> bool:
    """Whether a folder holds an editor with a reward condition of ours."""
    return (Path(name).expanduser() / ABOUT).is_file()


def read_about(folder: Path) -> ConditionFile:
    """What reward.json of a folder says. Raises ModelError naming the folder."""
    try:
        values = read_json(folder / ABOUT)
        return ConditionFile(**values)
    except (DataError, TypeError, ModelError) as error:
        raise ModelError(f"{folder.name}/{ABOUT} cannot be read: {error}") from error
