"""Editors of diffusers whose transformer reads rewards, as `train.py` leaves them: a folder with reward.json.

`mre.models.transformer.about` says what else is in it. torch and diffusers are loaded on first use.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mre.editors.capabilities import Capabilities
from mre.editors.diffusers_kind import DiffusersEditor
from mre.editors.editor import EditorInfo
from mre.editors.forms import Form
from mre.editors.repository import index_of
from mre.errors import ModelError
from mre.families import later
from mre.models.known import files_digest
from mre.models.transformer.about import ABOUT, ConditionFile, read_about

if TYPE_CHECKING:
    from mre.editors.settings import EditSettings

add_condition = later("mre.models.transformer.files:add_condition")
reward_arguments = later("mre.models.transformer.pipeline:reward_arguments")


class RewardDiffusersEditor(DiffusersEditor):
    """A pipeline of diffusers with a reward condition on its transformer, by folder."""

    @property
    def folder(self) -> Path:
        return Path(self.name).expanduser()

    @cached_property
    def about(self) -> ConditionFile:
        """What reward.json says. Raises ModelError."""
        return read_about(self.folder)

    @property
    def stock(self) -> str:
        """The whole editor in the same folder, or the one that its adapters go on."""
        return self.about.base or self.name

    @property
    def about_rewards(self) -> tuple[str, str]:
        side = self.about.resolution
        return f"it reads rewards, as it was trained to at {side} pixels", f"它读取评分，训练分辨率为 {side} 像素"

    @property
    def form(self) -> Form:
        if not index_of(self.stock):
            base = Path(self.stock).name if Path(self.stock).is_absolute() else self.stock
            raise ModelError(f"{self.folder.name} goes on the editor {base}, as its {ABOUT} says, and that one is not on this machine and "
                             "cannot be fetched")
        return super().form

    def describe(self) -> EditorInfo:
        info = super().describe()
        return replace(info, name=self.folder.name, title=self.folder.name, native_size=self.about.resolution,
                       capabilities=self._with_rewards(info.capabilities))

    @property
    def capabilities(self) -> Capabilities:
        own = super().capabilities
        try:
            return self._with_rewards(own)
        except ModelError:
            return own

    def _with_rewards(self, own: Capabilities) -> Capabilities:
        scores, texts = self.about.reads
        return replace(own, reward=scores, reward_text=texts, negative_reward=own.guidance_scale and (scores or texts), no_wish=scores)

    def _digest(self) -> str | None:
        """That of the condition, and where it goes on another editor, of that one too."""
        files = (file for place in (ABOUT, "*.safetensors", "*/*.safetensors") for file in sorted(self.folder.glob(place)))
        own = files_digest(self.folder, files)
        return f"{own} on {super()._digest()}" if self.about.base else own

    def completed(self, pipeline: Any) -> Any:
        return add_condition(pipeline, self.folder).stock

    def more_arguments(self, pipeline: Any, settings: EditSettings) -> dict[str, Any]:
        return reward_arguments(pipeline, settings.reward, settings.negative_reward)
