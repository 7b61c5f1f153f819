"""Which controls change what an editor makes. Pages offer these and no others; programs are told when they ask for one that is not there.

Importing this loads no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from mre.errors import SettingsError
from mre.rewards import PERSPECTIVES, SCORE_MAX, Reward

if TYPE_CHECKING:
    from mre.editors.editor import EditorInfo
    from mre.editors.settings import EditSettings

MAX_STEPS = 200
SCHEDULERS = {"default": None, "ddim": "DDIMScheduler", "dpm-solver": "DPMSolverMultistepScheduler", "unipc": "UniPCMultistepScheduler",
              "euler": "EulerDiscreteScheduler", "euler-ancestral": "EulerAncestralDiscreteScheduler"}      # name -> class of diffusers
FAST_SCHEDULER = "dpm-solver"           # of second order: half the steps of the default
MOST_AT_ONCE = 256            # pictures; what fits in memory is for whoever asks for a batch


@dataclass(frozen=True)
class Capabilities:
    """What changes the picture. `python -m tests.bench.controls` measures it."""

    reward: bool                    # the three scores
    reward_text: bool
    negative_reward: bool           # a lower reward to move away from
    seed: bool                      # another seed is another picture, at some scores if not at all; else the same one but for traces
    steps: range | None             # numbers of denoising steps that may be asked for; None: always its own
    guidance_scale: bool
    image_guidance_scale: bool
    schedulers: tuple[str, ...]     # beside its own
    mask: bool
    preview: bool                   # there is something to see between the steps
    batch: int                      # pictures that it can edit at once
    open_vocabulary: bool           # it was taught no closed list of words
    guidance_interval: bool = False     # guidance can be left out at some noise levels
    no_wish: bool = False           # a score may be left out, perspective by perspective
    why: Mapping[str, str] = field(default_factory=dict, compare=False)         # why it lacks a control, where WHY is not the reason

    @property
    def guided(self) -> bool:
        return self.guidance_scale or self.image_guidance_scale

    @property
    def fast(self) -> bool:
        """Whether it can be asked for fast edits: it takes fewer steps by the solver for that, or guidance at some noise levels alone."""
        return self.guidance_interval or (self.steps is not None and FAST_SCHEDULER in self.schedulers)

    def as_json(self) -> dict[str, Any]:
        """For programs: steps as the smallest and the largest number, or null."""
        values = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "why"}
        return values | {"steps": self.steps and [self.steps[0], self.steps[-1]], "schedulers": list(self.schedulers), "fast": self.fast}


NOTHING = Capabilities(reward=False, reward_text=False, negative_reward=False, seed=False, steps=None, guidance_scale=False,
                       image_guidance_scale=False, schedulers=(), mask=False, preview=False, batch=1, open_vocabulary=True)


def unused(settings: EditSettings, info: EditorInfo) -> dict[str, Any]:
    """The settings that ask for something which this model has no control for, by name. A model's own value asks for nothing."""
    has = info.capabilities
    best = Reward.best()
    asked = {
        "reward_words": True if settings.reward_words and has.reward else None,
        "scores": None if has.reward or settings.reward_words or settings.reward.scores == best.scores
        else settings.reward.shown(","),
        "no_wish": None if has.no_wish or not has.reward or not settings.reward.without_wish else settings.reward.shown(","),
        "reward_text": None if has.reward_text or settings.reward.texts == best.texts else settings.reward.text,
        "negative_reward": None if has.negative_reward else settings.negative_reward,
        "seed": None if has.seed or settings.seed == DEFAULT_SEED else settings.seed,
        "steps": None if settings.steps in (None, info.steps) or (has.steps and settings.steps in has.steps) else settings.steps,
        "guidance_scale": None if has.guidance_scale or settings.guidance_scale == info.guidance_scale else settings.guidance_scale,
        "image_guidance_scale": None if has.image_guidance_scale or settings.image_guidance_scale == info.image_guidance_scale
        else settings.image_guidance_scale,
        "guidance_interval": None if has.guidance_interval else settings.guidance_interval,
        "scheduler": None if settings.scheduler in ("default", *has.schedulers) else settings.scheduler,
        "fast": True if settings.fast and settings.guidance_interval is None and not settings.faster(info) else None}
    return {name: value for name, value in asked.items() if value is not None}


DEFAULT_SEED = 42               # the released evaluation's
WHY = {
    "reward_words": "reads scores by themselves",
    "scores": "reads no scores", "no_wish": "needs a score of each perspective",
    "reward_text": "reads no reward text", "negative_reward": "cannot move away from a reward",
    "seed": "makes the same picture, but for traces, from every seed", "steps": "always works in its own number of steps",
    "guidance_scale": "was not made for guidance", "image_guidance_scale": "was not made for guidance",
    "guidance_interval": "was not made for guidance", "scheduler": "has no other scheduler",
    "fast": "has no steps and no guidance to leave out of an edit with these settings"}


def refuse_unused(settings: EditSettings, info: EditorInfo, flag: Callable[[str], str] = str,
                  accepted: Mapping[str, Any] | None = None) -> None:
    """Raise SettingsError, one line with flag and model, for a setting that this model has no control for.

    `flag` turns a name of `unused` into what the caller knows it by; `accepted` are values that pass all the same: those of a recipe.
    """
    for name, value in unused(settings, info).items():
        if value == (accepted or {}).get(name):
            continue
        shown = "" if isinstance(value, Reward | bool) else f" {value:g}" if isinstance(value, float) else f" {str(value)[:60]}"
        raise SettingsError(f"{flag(name)}{shown}: the model {info.name} {why(name, info.capabilities)}; leave it out")


def why(name: str, has: Capabilities) -> str:
    """Why a model has no use for a control of this name."""
    return f"takes {has.steps[0]} to {has.steps[-1]} steps" if name == "steps" and has.steps else has.why.get(name) or WHY[name]


FIELDS = {"no_wish": "reward"}          # controls that are part of a setting of another name


def limited(settings: EditSettings, info: EditorInfo) -> EditSettings:
    """The same settings without what this model has no control for. The reward stays: a model that reads none is not harmed; one that
    needs a score of each perspective is asked for the best where there is no wish."""
    wanted = Reward.of((SCORE_MAX if wish is None else wish for wish in settings.reward.wishes), settings.reward.texts)
    defaults = {"no_wish": wanted, "reward_words": False, "negative_reward": None, "seed": DEFAULT_SEED, "steps": None,
                "guidance_scale": None, "image_guidance_scale": None, "guidance_interval": None, "scheduler": "default", "fast": False}
    return replace(settings, **{FIELDS.get(name, name): defaults[name] for name in unused(settings, info) if name in defaults})


AXES = dict.fromkeys(("scores", *PERSPECTIVES), "scores") | {
    name: name for name in ("reward_text", "seed", "steps", "guidance_scale", "image_guidance_scale")}


def can_vary(name: str, has: Capabilities) -> bool:
    """Whether an axis of a sweep changes what the model makes; other axes than those of AXES always do."""
    control = AXES.get(name)
    return control is None or bool(has.reward if control == "scores" else getattr(has, control))
