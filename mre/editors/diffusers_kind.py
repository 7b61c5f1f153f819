"""Any editing pipeline of diffusers, by folder or hub id. torch and diffusers are loaded on first use.

`forms` says how a class is called, `repository` what its folder says of itself, `weights` how they are read and placed.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from mre.device import best_device
from mre.editors import tiling, weights
from mre.editors.capabilities import NOTHING, Capabilities
from mre.editors.compatibility import agreeing, class_of, processors_without_video, tokenizers_for_processors
from mre.editors.download import check_download
from mre.editors.editor import EditorInfo, Step
from mre.editors.forms import Form, capabilities_of, form_of
from mre.editors.local_editor import LocalEditor, mask_at
from mre.editors.memory import check_memory, parts_of
from mre.editors.repository import (
    INDEX,
    about_licence,
    about_licence_zh,
    check_index,
    folder_of,
    index_from_hub,
    index_of,
    licence_of,
    missing_of,
    say_if_not_commercial,
)
from mre.editors.weights import first_line
from mre.errors import EditRefused, EditStopped, ModelError, MreError, SettingsError

if TYPE_CHECKING:
    import torch

    from mre.editors.settings import EditSettings


RESULTS = ("images", "image", "frames", "video")       # what classes call what they give


class DiffusersEditor(LocalEditor):
    """A pipeline of diffusers that edits a picture by an instruction."""

    @property
    def stock(self) -> str:
        """Folder or hub id of what diffusers reads."""
        return self.name

    @property
    def about_rewards(self) -> tuple[str, str]:
        """What it makes of rewards, in English and Chinese."""
        return "it knows no rewards", "它不读取评分"

    def completed(self, pipeline: Any) -> Any:
        """The pipeline as it was read, with what is not diffusers' own; not on its device yet. Raises ModelError."""
        return pipeline

    def more_arguments(self, pipeline: Any, settings: EditSettings) -> dict[str, Any]:
        """Arguments of a call that its form does not say."""
        return {}

    @property
    def form(self) -> Form:
        """How it is called. Raises ModelError."""
        kind = index_of(self.stock).get("_class_name")
        if not isinstance(kind, str):
            raise ModelError(f"{self.shown} holds no pipeline of diffusers")
        return form_of(kind, self.shown)

    def describe(self) -> EditorInfo:
        index, form, rewards = index_of(self.stock), self.form, self.about_rewards
        native = index.get("native_size", form.native)
        if not isinstance(native, int) or isinstance(native, bool) or not 16 <= native <= 4096:
            raise ModelError(f"{self.shown}/{INDEX}: native_size must be a whole number between 16 and 4096")
        licence = licence_of(self.stock)
        limits = f"{index['_class_name']} of diffusers; {rewards[0]}. {about_licence(licence)}".strip()
        return EditorInfo(
            name=Path(self.name).name, title=Path(self.name).name, limits=limits,
            limits_zh=f"diffusers 的 {index['_class_name']}；{rewards[1]}。{about_licence_zh(licence)}",
            licence=licence,
            native_size=native, size_rule=form.size_rule, steps=form.steps, guidance_scale=form.scale,
            image_guidance_scale=form.image_scale, guidable=bool(form.guidance), capabilities=capabilities_of(form), digest=self._digest())

    @property
    def capabilities(self) -> Capabilities:
        """What changes its pictures; nothing where that cannot be told: loading says why."""
        try:
            return capabilities_of(self.form)
        except ModelError:
            return NOTHING

    def _digest(self) -> str | None:
        """Of a folder the digest of its weights, of a repository its revision; none while it is not on this machine."""
        from mre.models.known import weight_digest

        folder = Path(self.stock).expanduser()
        if folder.is_dir():
            return weight_digest(folder)
        return f"revision {index_from_hub(self.stock).parent.name}"

    def load(self) -> Any:
        from mre.models.quiet import quiet_libraries

        with quiet_libraries():
            index, options = index_of(self.stock), self.loading
            check_index(index, self.shown)
            form = form_of(str(index.get("_class_name")), self.shown)         # raises ModelError for a class that does not edit
            device = self._device
            weights.check_place(options, device)
            if options.answer != "forced":
                raise SettingsError(f"--answer {options.answer} is for the language model of a SmartEdit, and the model {self.shown} has "
                                    "none")
            dtype = self.dtype
            folder = Path(self.stock).expanduser()
            place = str(folder) if folder.is_dir() else self.stock
            parts = parts_of(folder) if folder.is_dir() else check_download(self.stock, index)
            say_if_not_commercial(self.shown, licence_of(self.stock))
            check_memory(parts, device, dtype, options, self.shown, weights.computed_dtypes(device))
            try:
                texts_alone = tokenizers_for_processors(index, place)
                pipeline = class_of(index["_class_name"]).from_pretrained(
                    place, use_safetensors=True, low_cpu_mem_usage=True, torch_dtype=weights.torch_dtype(dtype),
                    **dict.fromkeys(texts_alone), **processors_without_video(index, place), **weights.quantised(options, index, dtype),
                    **weights.gguf_part(options, index, folder_of(self.stock), dtype))
            except (OSError, ValueError, ImportError, TypeError, AttributeError, NameError) as error:   # the last: of an absent package
                if isinstance(error, MreError):
                    raise
                said = _without_folder(first_line(error), folder_of(self.stock))
                if not folder.is_dir() and (missing := missing_of(self.stock, index)):
                    said = f"it is not whole on this machine ({', '.join(missing)} is missing), and could not be fetched: {said}"
                raise ModelError(f"the model {self.shown} cannot be loaded: {said}") from error
            pipeline.set_progress_bar_config(disable=True)
            pipeline.register_modules(**texts_alone)
            if form.vae_dtype:
                pipeline.vae.to(dtype=weights.torch_dtype(form.vae_dtype))
            pipeline = self.completed(agreeing(pipeline))
            weights.add_loras(pipeline, options.loras)
            pipeline = weights.compiled(weights.put(pipeline, device, options.offload), options)
            self._most_pixels = None if self._lent else tiling.most_pixels(getattr(pipeline, "vae", None), device)
            return pipeline

    @property
    def _device(self) -> str:
        return self.device or best_device()

    def loaded_with(self) -> dict[str, str]:
        return weights.loaded_with(self.loading, self.dtype)

    @cached_property
    def dtype(self) -> str:
        return weights.dtype_of(self.loading, self.computes_on, "auto")

    @property
    def silent_dtype(self) -> str:
        return "float32" if self.computes_on == "cpu" else "bfloat16"

    @property
    def device_kind(self) -> str:
        return (self.device or "cpu" if self._loaded is None else self._device).split(":")[0]

    def make(self, seen: Image.Image, settings: EditSettings, on_step: Callable[[Step], None],
             should_stop: Callable[[], bool]) -> Image.Image:
        import torch

        pipeline, form = self.prepare(), self.form
        total, guidance_scale, image_guidance_scale, _ = settings.filled
        tiling.share_out(getattr(pipeline, "vae", None), 1, seen.size, self._most_pixels)
        steps = Steps(total - int(total - total * form.strength), on_step, should_stop)
        takes = inspect.signature(pipeline.__call__).parameters
        arguments: dict[str, Any] = {
            "prompt": form.prompt(settings.instruction),
            form.image: [seen] if form.is_list else seen, "num_inference_steps": total,
            "generator": torch.Generator("cpu").manual_seed(settings.seed)}
        if form.guidance:
            arguments[form.guidance] = guidance_scale
        if form.image_guidance:
            arguments[form.image_guidance] = image_guidance_scale
        if form.blank is not None and guidance_scale > 1:
            arguments["negative_prompt"] = form.blank
        if form.mask and (settings.mask is not None or form.unmasked == "white"):
            arguments[form.mask] = mask_at(settings.mask, seen.size)
        elif form.mask and form.unmasked == "refused":
            raise EditRefused(f"the model {self.shown} paints inside a mask only; say with a mask what may change")
        if form.sized:
            arguments |= {"width": seen.width, "height": seen.height}
        arguments |= form.told(*seen.size) | self.more_arguments(pipeline, settings)
        try:
            tells = "callback_on_step_end" in takes
            with torch.inference_mode(), seeded(settings.seed, self._device), nullcontext() if tells else steps.counted(pipeline.scheduler):
                result = pipeline(**arguments, **({"callback_on_step_end": steps.after} if tells else {}))
        except NameError as error:               # an optional package that the class wants, and that was not imported
            raise ModelError(f"the model {self.shown} needs the package {error.name}, which is not installed") from error
        except (ValueError, AssertionError) as error:       # what a pipeline says of its arguments
            if isinstance(error, MreError):
                raise
            raise ModelError(f"the model {self.shown}: {first_line(error)}") from error
        made = last_picture(next((found for name in RESULTS if (found := getattr(result, name, None)) is not None), None))
        return made if made.size == seen.size else made.resize(seen.size, Image.Resampling.LANCZOS)


@contextmanager
def seeded(seed: int, device: str) -> Iterator[None]:
    """For the classes that draw some of their numbers beside the generator which they are given: what they draw is the seed's too, and
    what others draw is not."""
    import torch

    with torch.random.fork_rng([device] if device.startswith("cuda") else []):
        torch.manual_seed(seed)
        yield


class Steps:
    """Tells the steps of one edit as they are done, and ends it when it is to stop."""

    def __init__(self, total: int, on_step: Callable[[Step], None], should_stop: Callable[[], bool]) -> None:
        self.total, self.done = total, 0
        self._on_step, self._should_stop = on_step, should_stop
        self._started = time.perf_counter()

    def after(self, pipeline: Any, index: int, timestep: Any, values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """For `callback_on_step_end`."""
        self._tell(index + 1)
        return values

    @contextmanager
    def counted(self, scheduler: Any) -> Iterator[None]:
        """For a pipeline without a callback: each call of its scheduler's `step` is a step."""
        own = scheduler.step

        def step(*values: Any, **named: Any) -> Any:
            result = own(*values, **named)
            self._tell(self.done + 1)
            return result
        scheduler.step = step
        try:
            yield
        finally:
            del scheduler.step

    def _tell(self, done: int) -> None:
        if self._should_stop():
            raise EditStopped(f"stopped after step {done} of {self.total}")
        self.done = done
        left = (time.perf_counter() - self._started) / done * max(self.total - done, 0)
        self._on_step(Step(min(done, self.total), self.total, left, lambda: None))


def last_picture(pictures: Any) -> Image.Image:
    """The edit: the last frame of the first of what a pipeline gives. Raises ModelError for what is no picture."""
    while isinstance(pictures, (list, tuple)) and pictures:
        pictures = pictures[0] if isinstance(pictures[0], (list, tuple)) else pictures[-1]
    if not isinstance(pictures, Image.Image):
        raise ModelError(f"the model gave no picture, but {type(pictures).__name__}")
    return pictures.convert("RGB")


def _without_folder(text: str, folder: Path) -> str:
    return text.replace(f"{folder}/", "").replace(str(folder), folder.name)
