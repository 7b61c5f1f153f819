"""One edit, from photo and settings to a picture of the photo's own size: what page, commands, API and benchmark all call.

torch and the model are loaded on first use, so that whoever only draws a page or a help text does not wait for them.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from PIL import Image

from mre.editors.capabilities import DEFAULT_SEED, Capabilities
from mre.errors import EditStopped, ModelError, MreError, SettingsError
from mre.files import fault_of_text
from mre.imaging import Fit, fit_size, map_back, pixel_digest
from mre.models.zoo import MAX_STEPS, SCHEDULERS
from mre.recipes import Recipe, circumstances, png_bytes
from mre.rewards import Reward

if TYPE_CHECKING:
    import torch

    from mre.models.zoo import ModelInfo

MAX_INSTRUCTION_CHARS = 1000
MAX_SEED = 2**32 - 1
MAX_GUIDANCE = 30.0


class BusyError(MreError):
    """Too many are waiting for the device already."""


# --------------------------------------------------------------------------------------------------------------- settings

@dataclass(frozen=True)
class EditSettings:
    """What is asked of an edit. None means the model's own default. Raises SettingsError or RewardError naming the field."""

    instruction: str
    reward: Reward = field(default_factory=Reward.best)
    seed: int = DEFAULT_SEED
    steps: int | None = None
    guidance_scale: float | None = None          # how strongly the instruction is followed
    image_guidance_scale: float | None = None    # how strongly the photo is kept
    scheduler: str = "default"
    negative_reward: Reward | None = None        # a lower reward as the branch to move away from; off by default
    way_back: str | None = None                  # see mre.imaging.map_back

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
        if self.scheduler not in SCHEDULERS:
            raise SettingsError(f"scheduler must be one of {', '.join(SCHEDULERS)}, got {self.scheduler!r}")
        if self.way_back not in (None, "guided", "replace"):
            raise SettingsError(f"restore must be guided or replace, got {self.way_back!r}")

    def resolved(self, info: ModelInfo) -> EditSettings:
        """The same settings with the model's defaults filled in."""
        return replace(self, steps=self.steps or info.steps,
                       guidance_scale=info.guidance_scale if self.guidance_scale is None else self.guidance_scale,
                       image_guidance_scale=info.image_guidance_scale if self.image_guidance_scale is None else self.image_guidance_scale,
                       way_back=self.way_back or ("guided" if info.size_rule == "fit" else "replace"))

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> EditSettings:
        """The settings that a recipe asks for."""
        return cls(recipe.instruction, recipe.reward, recipe.seed, recipe.steps, recipe.guidance_scale, recipe.image_guidance_scale,
                   recipe.scheduler, recipe.negative_reward, recipe.way_back)


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


@dataclass(frozen=True)
class EditResult:
    """An edited picture at the photo's own size, what the model saw and made, and how."""

    image: Image.Image
    seen: Image.Image            # the photo at the model's size
    made: Image.Image            # the model's output, same size as `seen`
    fit: Fit
    settings: EditSettings
    recipe: Recipe
    seconds: float               # of the model's work; waiting is not in it

    def png(self, with_recipe: bool = True) -> bytes:
        """The picture to take away: lossless, with its recipe inside unless it shall not travel."""
        return png_bytes(self.image, self.recipe if with_recipe else None)


@dataclass(frozen=True)
class Step:
    """Step `index` of `total` is done (0: the work begins). The time left is guessed from the edit before; None: there was none.
    `preview()` decodes the picture as far as it has come."""

    index: int
    total: int
    seconds_left: float | None
    preview: Callable[[], Image.Image | None]


# ------------------------------------------------------------------------------------------------------------------ turns

class Turns:
    """One at a time on a device, in the order of arrival, with a limit on how many may wait."""

    def __init__(self, most_waiting: int = 40) -> None:
        self.most_waiting = most_waiting
        self._line: deque[Turn] = deque()
        self._moved = threading.Condition()

    def join(self) -> Turn:
        """A place at the end of the line. Raises BusyError when too many wait already."""
        with self._moved:
            if len(self._line) > self.most_waiting:
                raise BusyError(f"{self.most_waiting} edits are waiting already; please try again in a minute")
            turn = Turn(self)
            self._line.append(turn)
            return turn

    def __len__(self) -> int:
        return len(self._line)


class Turn:
    """A place in the line; leave it by `with` or `leave()`."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns

    @property
    def place(self) -> int:
        """How many are ahead; 0: it is this one's turn."""
        with self._turns._moved:
            return self._turns._line.index(self)

    def wait(self, seconds: float) -> bool:
        """Wait until it is this one's turn, at most so long. Returns whether it is."""
        with self._turns._moved:
            return self._turns._moved.wait_for(lambda: self._turns._line[0] is self, timeout=seconds)

    def leave(self) -> None:
        """Out of the line, from whatever place."""
        with self._turns._moved:
            if self in self._turns._line:
                self._turns._line.remove(self)
                self._turns._moved.notify_all()

    def __enter__(self) -> Turn:
        return self

    def __exit__(self, *error: object) -> None:
        self.leave()


# ----------------------------------------------------------------------------------------------------------------- editor

class Editor:
    """A model that edits: loaded on first use, once; one edit at a time, whoever asks.

    Editors of one device share its `turns`. All methods may be called from many threads.
    """

    def __init__(self, name: str, *, turns: Turns | None = None, device: str | None = None,
                 load: Callable[[str, str | None], Any] | None = None, info: ModelInfo | None = None) -> None:
        """`load(name, device)` makes the pipeline and `info` describes it, where they do not come from the zoo."""
        self.name = name
        self.turns = Turns() if turns is None else turns
        self.device = device
        self._load = load or _load_from_zoo
        self._pipeline: Any = None
        self._failure: ModelError | None = None
        self._loading = threading.Lock()
        self._info = info
        self.pace: float | None = None           # seconds per step of the last edit, the way in and back included; for forecasts

    @property
    def info(self) -> ModelInfo:
        """What is known of the model without loading it: title, sizes, defaults, limits. Imports torch the first time."""
        if self._info is None:
            from mre.models import zoo
            self._info = zoo.describe(self.name)
        return self._info

    @property
    def capabilities(self) -> Capabilities:
        """Which controls change what the model makes, as far as it is known without importing anything."""
        if self._info is not None:
            return self._info.capabilities
        from mre.models import zoo
        return zoo.capabilities_of(self.name)

    @property
    def default_steps(self) -> int | None:
        """The model's own number of steps, as far as it is known without importing anything."""
        return self._info.steps if self._info else None

    @property
    def status(self) -> str:
        """`cold`, `loading`, `ready` or `failed`."""
        if self._pipeline is not None:
            return "ready"
        return "failed" if self._failure else "loading" if self._loading.locked() else "cold"

    @property
    def failure(self) -> str | None:
        """Why loading failed, in one line."""
        return str(self._failure) if self._failure else None

    def warm(self) -> None:
        """Start loading in the background; `status` tells how it goes."""
        def load_quietly() -> None:
            with suppress(MreError):             # kept in `failure`, and raised for whoever edits
                self.pipeline()
        threading.Thread(target=load_quietly, name=f"load {self.name}", daemon=True).start()

    def unload(self) -> None:
        """Give the memory back; the next edit loads again."""
        with self._loading:
            self._pipeline = None

    def pipeline(self) -> Any:
        """The loaded pipeline. Raises ModelError when the weights are not there or not whole; asking again tries again."""
        if (pipeline := self._pipeline) is not None:
            return pipeline
        with self._loading:
            if self._pipeline is None:
                self._failure = None
                try:
                    self._info = self.info
                    self._pipeline = self._load(self.name, self.device)
                    self._pipeline.set_progress_bar_config(disable=True)
                except MreError as error:
                    self._failure = error if isinstance(error, ModelError) else ModelError(str(error))
                    raise
                except (OSError, ValueError, RuntimeError, ImportError) as error:
                    self._failure = ModelError(f"the model {self.name} cannot be loaded")
                    raise self._failure from error
            return self._pipeline

    def edit(self, photo: Image.Image, settings: EditSettings, *, on_step: Callable[[Step], None] | None = None,
             on_wait: Callable[[int], None] | None = None, on_restore: Callable[[float], None] | None = None,
             should_stop: Callable[[], bool] | None = None) -> EditResult:
        """Edit the photo. The same photo, settings, model, code and kind of device give the same bytes.

        `on_wait(place)` is called while others are ahead, `on_step` before the first and after each step, `on_restore` with the share of
        the photo whose own detail is back in its place, 0 to 1; when `should_stop` says so no further step begins and EditStopped is
        raised. Raises BusyError, ModelError, SettingsError.
        """
        stop = should_stop or (lambda: False)
        with self.turns.join() as turn:
            while not turn.wait(0):
                if stop():
                    raise EditStopped("stopped while waiting")
                if on_wait and (place := turn.place):
                    on_wait(place)
                turn.wait(0.2)
            if stop():
                raise EditStopped("stopped before the first step")
            pipeline = self.pipeline()
            settings = settings.resolved(self.info)
            fit = fit_size(photo.size, self.info.size_rule, self.info.native_size)
            seen = fit.apply(photo)
            started = time.perf_counter()
            made = self._run(pipeline, seen, settings, on_step or (lambda step: None), stop)
            restored = on_restore or (lambda share: None)
            restored(0.0)

            def on_share(share: float) -> None:
                if stop():
                    raise EditStopped("stopped after the last step")
                restored(share)
            image = map_back(photo, made, fit, settings.way_back, on_share)
            seconds = time.perf_counter() - started
            self.pace = seconds / settings.steps
        return EditResult(image, seen, made, fit, settings, self.recipe(photo, settings, fit), seconds)

    def recipe(self, photo: Image.Image, settings: EditSettings, fit: Fit | None = None) -> Recipe:
        """The recipe that an edit of this photo with these settings would carry, here and now."""
        settings = settings.resolved(self.info)
        fit = fit or fit_size(photo.size, self.info.size_rule, self.info.native_size)
        device = str(getattr(self._pipeline, "device", self.device or "cpu")).split(":")[0]
        made_with = circumstances(model=self.name_to_show, weights=self.info.digest or "", input_digest=pixel_digest(photo),
                                  size=fit.seen, device=device)
        return Recipe(settings.instruction, settings.reward, settings.seed, settings.steps, settings.guidance_scale,
                      settings.image_guidance_scale, settings.scheduler, settings.negative_reward, settings.way_back, made_with)

    @property
    def name_to_show(self) -> str:
        """The model's name without the folders that lead to it."""
        return self.info.name

    def count_tokens(self, text: str) -> tuple[int, int, str]:
        """Tokens of a text with start and end, how many the model reads, and the end of the text that it would not read."""
        tokenizer = self.pipeline().tokenizer
        most = tokenizer.model_max_length
        encoded = tokenizer(text, return_offsets_mapping=True, verbose=False)
        count = len(encoded["input_ids"])
        return count, most, text[encoded["offset_mapping"][most - 1][0]:] if count > most else ""

    def _run(self, pipeline: Any, seen: Image.Image, settings: EditSettings, on_step: Callable[[Step], None],
             stop: Callable[[], bool]) -> Image.Image:
        import torch

        started = time.perf_counter()
        total = settings.steps

        def after_step(pipe: Any, index: int, timestep: Any, values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            if stop():
                raise EditStopped(f"stopped after step {index + 1} of {total}")
            done, latents = index + 1, values["latents"]
            left = (time.perf_counter() - started) / done * (total - done)
            on_step(Step(done, total, left, lambda: preview(pipe, latents)))
            return values

        on_step(Step(0, total, self.pace and self.pace * total, lambda: None))
        own = pipeline.scheduler
        try:
            if SCHEDULERS[settings.scheduler]:
                import diffusers
                pipeline.scheduler = getattr(diffusers, SCHEDULERS[settings.scheduler]).from_config(own.config)
            with torch.inference_mode():
                return pipeline(
                    settings.instruction, image=seen, reward=settings.reward, negative_reward=settings.negative_reward,
                    num_inference_steps=settings.steps, guidance_scale=settings.guidance_scale,
                    image_guidance_scale=settings.image_guidance_scale, generator=torch.Generator("cpu").manual_seed(settings.seed),
                    callback_on_step_end=after_step).images[0]
        except (RuntimeError, ValueError, NotImplementedError, OSError) as error:
            if isinstance(error, MreError):
                raise
            if settings.scheduler != "default":
                raise SettingsError(f"the scheduler {settings.scheduler} does not work with this model") from error
            raise ModelError(f"the model {self.name} failed on this picture") from error
        finally:
            pipeline.scheduler = own


def preview(pipeline: Any, latents: torch.Tensor) -> Image.Image | None:
    """A picture of latents on the way: as an autoencoder itself says that has a `preview`, a linear guess at colours for a VAE of 4
    channels, none for others."""
    import torch
    with torch.inference_mode():
        first = latents[:1].detach().float().cpu()
        if hasattr(pipeline.vae, "preview"):
            pixels = pipeline.vae.preview(first)[0].float()
        elif first.shape[1] == 4:
            pixels = torch.einsum("chw,cr->rhw", first[0], torch.tensor(LATENT_TO_RGB))
        else:
            return None
        values = ((pixels.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return Image.fromarray(values)


# Colours of the four latent channels of Stable Diffusion 1's autoencoder, as a linear map to RGB in [-1, 1]: a well-known approximation.
LATENT_TO_RGB = [[0.298, 0.207, 0.208], [0.187, 0.286, 0.173], [-0.158, 0.189, 0.264], [-0.184, -0.271, -0.473]]


def _load_from_zoo(name: str, device: str | None) -> Any:
    from mre.models import zoo
    return zoo.load_pipeline(name, device=device)
