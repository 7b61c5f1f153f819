"""What is asked of an edit: one dataclass that page, API, commands, recipes, sweeps and benchmarks share. Importing this loads no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mre.editors.capabilities import DEFAULT_SEED, FAST_SCHEDULER, MAX_STEPS, SCHEDULERS
from mre.errors import SettingsError
from mre.rewards import Reward
from mre.text import fault_of_text

if TYPE_CHECKING:
    from mre.editors.editor import EditorInfo
    from mre.masks import Mask
    from mre.recipes import Recipe

MAX_INSTRUCTION_CHARS = 1000
MAX_SEED = 2**32 - 1
MAX_GUIDANCE = 30.0
FAST_INTERVAL = (0.1, 0.8)              # of the noise levels; about what Kynkaanniemi et al. (arXiv 2404.07724) found best


@dataclass(frozen=True)
class EditSettings:
    """What is asked of an edit. None means the editor's own default. Raises SettingsError or RewardError naming the field."""

    instruction: str
    reward: Reward = field(default_factory=Reward.best)
    seed: int = DEFAULT_SEED
    steps: int | None = None
    guidance_scale: float | None = None          # how strongly the instruction is followed
    image_guidance_scale: float | None = None    # how strongly the photo is kept
    scheduler: str = "default"
    negative_reward: Reward | None = None        # a lower reward as the branch to move away from; off by default
    way_back: str | None = None                  # see mre.imaging.map_back
    mask: Mask | None = None                     # what may change; everything else is put back
    put_back: bool = False                       # put back what should not have changed, see mre.put_back; with a mask always
    reward_words: bool = False                   # say the scores in the instruction, to an editor that has no condition for them
    as_typed: bool = False                       # hand the words to the model as they are, also to one whose editor reads them
    guidance_interval: tuple[float, float] | None = None     # of the noise levels, 0 to 1, between which there is guidance; None: all
    fast: bool = False                           # half the steps, guidance where it matters: what `faster` makes of it

    def __post_init__(self) -> None:
        if not isinstance(self.instruction, str) or not self.instruction.strip():
            raise SettingsError("the instruction is empty; say what to change")
        if len(self.instruction) > MAX_INSTRUCTION_CHARS:
            raise SettingsError(f"the instruction has {len(self.instruction)} characters; at most {MAX_INSTRUCTION_CHARS} are accepted")
        if fault := fault_of_text(self.instruction):
            raise SettingsError(f"the instruction holds {fault}")
        object.__setattr__(self, "instruction", " ".join(self.instruction.split()))
        object.__setattr__(self, "seed", _whole(self.seed, "seed", 0, MAX_SEED))
        if self.steps is not None:
            object.__setattr__(self, "steps", _whole(self.steps, "steps", 1, MAX_STEPS))
        for name in ("guidance_scale", "image_guidance_scale"):
            if (value := getattr(self, name)) is not None:
                object.__setattr__(self, name, _number(value, name.replace("_", " "), 0.0, MAX_GUIDANCE))
        if self.guidance_interval is not None:
            low, high = (_number(value, "guidance interval", 0.0, 1.0) for value in self.guidance_interval)
            if low >= high:
                raise SettingsError(f"guidance interval must end above where it begins, got {low:g} to {high:g}")
            object.__setattr__(self, "guidance_interval", (low, high))
        if self.scheduler not in SCHEDULERS:
            raise SettingsError(f"scheduler must be one of {', '.join(SCHEDULERS)}, got {self.scheduler!r}")
        if self.way_back not in (None, "guided", "replace"):
            raise SettingsError(f"restore must be guided or replace, got {self.way_back!r}")
        if not isinstance(self.put_back, bool):
            raise SettingsError(f"put back must be true or false, got {str(self.put_back)[:40]!r}")
        if not isinstance(self.reward_words, bool):
            raise SettingsError(f"reward words must be true or false, got {str(self.reward_words)[:40]!r}")
        if not isinstance(self.fast, bool):
            raise SettingsError(f"fast must be true or false, got {str(self.fast)[:40]!r}")
        object.__setattr__(self, "put_back", self.put_back or self.mask is not None)

    def resolved(self, info: EditorInfo) -> EditSettings:
        """The same settings with the editor's defaults filled in, and with what `fast` means for it."""
        asked = replace(self, fast=False, **self.faster(info)) if self.fast else self
        return replace(asked, steps=asked.steps or info.steps,
                       guidance_scale=info.guidance_scale if self.guidance_scale is None else self.guidance_scale,
                       image_guidance_scale=info.image_guidance_scale if self.image_guidance_scale is None else self.image_guidance_scale,
                       way_back=self.way_back or ("guided" if info.size_rule == "fit" else "replace"))

    def faster(self, info: EditorInfo) -> dict[str, Any]:
        """The settings that make this edit fast, by name: half the steps by a solver that needs no more, and guidance only where it
        matters. What of this the editor can do, and what is not said otherwise; nothing where there is nothing to leave out."""
        has = info.capabilities
        quick: dict[str, Any] = {}
        if self.steps is None and has.steps and FAST_SCHEDULER in has.schedulers and self.scheduler in ("default", FAST_SCHEDULER):
            quick = {"steps": max(has.steps[0], info.steps // 2), "scheduler": FAST_SCHEDULER}
        if self.guidance_interval is None and has.guidance_interval and info.is_guided(self.guidance_scale, self.image_guidance_scale):
            quick["guidance_interval"] = FAST_INTERVAL
        return quick

    def is_fast(self, info: EditorInfo) -> bool:
        """Whether these settings, those of a recipe too, ask for what `fast` does beside steps and a scheduler that are said: for fields
        that show them."""
        is_guided = info.is_guided(self.guidance_scale, self.image_guidance_scale)
        return info.capabilities.fast and (self.fast or (self.guidance_interval == FAST_INTERVAL and is_guided))

    @property
    def filled(self) -> tuple[int, float, float, str]:
        """Steps, both guidance scales and the way back, of settings that are `resolved`."""
        if self.steps is None or self.guidance_scale is None or self.image_guidance_scale is None or self.way_back is None:
            raise ValueError("settings without the editor's defaults")
        return self.steps, self.guidance_scale, self.image_guidance_scale, self.way_back

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> EditSettings:
        """The settings that a recipe asks for. One that says nothing of a reading was made with the words as they are."""
        return cls(recipe.instruction, recipe.reward, recipe.seed, recipe.steps, recipe.guidance_scale, recipe.image_guidance_scale,
                   recipe.scheduler, recipe.negative_reward, recipe.way_back, recipe.mask, recipe.put_back,
                   reward_words="reward_words" in recipe.made_with, as_typed="reading" not in recipe.made_with,
                   guidance_interval=recipe.guidance_interval)


def _whole(value: Any, name: str, low: int, high: int) -> int:
    number = _number(value, name, low, high)
    if number != int(number):
        raise SettingsError(f"{name} must be a whole number, got {value}")
    return int(number)


def _number(value: Any, name: str, low: float, high: float) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not low <= number <= high:                # NaN fails this too
        raise SettingsError(f"{name} must be a number between {low:.10g} and {high:.10g}, got {str(value)[:40]!r}")
    return number
