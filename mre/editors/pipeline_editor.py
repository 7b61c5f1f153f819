"""Our own pipelines behind the door. torch and the model are loaded on first use, so that whoever only draws a page does not wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from PIL import Image

from mre.device import best_device
from mre.editors import pipeline_info, tiling, weights
from mre.editors.capabilities import SCHEDULERS, Capabilities
from mre.editors.download import check_own_download
from mre.editors.editor import EditorInfo, Step, Vocabulary
from mre.editors.local_editor import EditorOptions, LocalEditor
from mre.editors.memory import check_memory
from mre.errors import EditStopped, MreError, SettingsError
from mre.models import zoo
from mre.models.known import KNOWN

if TYPE_CHECKING:
    import torch

    from mre.editors.settings import EditSettings


BITSANDBYTES = ("bitsandbytes-8bit", "bitsandbytes-4bit")       # in which a language model of ours is read


class PipelineEditor(LocalEditor):
    """A RewardEditPipeline by name, folder or hub id."""

    def __init__(self, name: str, options: EditorOptions | None = None, *, load: Callable[..., Any] = zoo.load_pipeline,
                 info: EditorInfo | None = None) -> None:
        """`load(name, device, dtype)` makes the pipeline and `info` describes it, where they do not
        come from names, folders and the hub."""
        super().__init__(name, options)
        self._load, self._info = load, info

    def describe(self) -> EditorInfo:
        return pipeline_info.describe(self.name)

    @property
    def capabilities(self) -> Capabilities:
        """What changes its pictures, as far as it is known without importing anything."""
        return self._info.capabilities if self._info else pipeline_info.capabilities_of(self.name)

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The words that an embedded model was taught."""
        return pipeline_info.vocabulary_of(self.name)

    def load(self) -> Any:
        pipeline = self._read_pipeline()
        self._most_pixels = None if self._lent else tiling.most_pixels(pipeline.vae, self.device or best_device())
        if self._info is not None and self._info.digest is None and self._load is zoo.load_pipeline:
            self._info = self.describe()                # its weights were fetched
        return pipeline

    def _read_pipeline(self) -> Any:
        options = self.loading
        if options.gguf:
            raise SettingsError(f"--gguf is for other people's pipelines, and the model {self.info.name} is read as one of ours")
        device = self.device or best_device()
        weights.check_place(options, device)
        if self._load is zoo.load_pipeline and (parts := check_own_download(self.name)):
            check_memory(parts, device, self.dtype, options, self.shown, weights.computed_dtypes(device), BITSANDBYTES)
        said = {"quantise": options.quantise, "answer": options.answer if options.answer != "forced" else None}
        pipeline = self._load(self.name, device if options.offload == "none" else "cpu", weights.torch_dtype(self.dtype),
                              **{name: value for name, value in said.items() if value})
        pipeline.set_progress_bar_config(disable=True)
        weights.add_loras(pipeline, options.loras)
        pipeline.keep_readings()
        return weights.compiled(pipeline, options) if options.offload == "none" else weights.put(pipeline, device, options.offload)

    @cached_property
    def dtype(self) -> str:
        assert self.info                        # a repository's settings are here then
        own = pipeline_info.number_format(self.name) if self._load is zoo.load_pipeline else self.silent_dtype
        return weights.dtype_of(self.loading, self.computes_on, own)

    @property
    def wants_gpu(self) -> bool:
        """Not the small ones that ship or are made without weights."""
        about = KNOWN.get(self.name)
        return about is None or not (about.folder or about.build)

    def loaded_with(self) -> dict[str, str]:
        return weights.loaded_with(self.loading, self.dtype)

    def pipeline(self) -> Any:
        """The loaded pipeline. Raises ModelError when the weights are not there or not whole."""
        return self.prepare()

    @property
    def device_kind(self) -> str:
        loaded = self._loaded if self.loading.offload == "none" else None
        at = getattr(loaded, "device", self.device or ("cpu" if self._loaded is None else best_device()))
        return str(at).split(":")[0]

    def count_tokens(self, text: str) -> tuple[int, int, str]:
        """Tokens of a text with start and end, how many the model reads, and the end of the text that it would not read."""
        pipeline = self.pipeline()
        if hasattr(pipeline, "count_tokens"):           # instructions are read by something else than the text encoder
            return pipeline.count_tokens(text)
        tokenizer = pipeline.tokenizer
        most = tokenizer.model_max_length
        encoded = tokenizer(text, return_offsets_mapping=True, verbose=False)
        count = len(encoded["input_ids"])
        return count, most, text[encoded["offset_mapping"][most - 1][0]:] if count > most else ""

    def make(self, seen: Image.Image, settings: EditSettings, on_step: Callable[[Step], None],
             should_stop: Callable[[], bool]) -> Image.Image:
        import torch

        pipeline, total = self.pipeline(), settings.filled[0]
        started = time.perf_counter()

        def after_step(pipe: Any, index: int, timestep: Any, values: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
            if should_stop():
                raise EditStopped(f"stopped after step {index + 1} of {total}")
            done, latents = index + 1, values["latents"]
            left = (time.perf_counter() - started) / done * (total - done)
            on_step(Step(done, total, left, lambda: preview(pipe, latents)))
            return values

        own = pipeline.scheduler
        tiling.share_out(pipeline.vae, 1, seen.size, self._most_pixels)
        try:
            if SCHEDULERS[settings.scheduler]:
                import diffusers
                pipeline.scheduler = getattr(diffusers, SCHEDULERS[settings.scheduler]).from_config(own.config)
            with torch.inference_mode():
                return pipeline(
                    settings.instruction, image=seen, reward=settings.reward, negative_reward=settings.negative_reward,
                    num_inference_steps=settings.steps, guidance_scale=settings.guidance_scale,
                    image_guidance_scale=settings.image_guidance_scale, generator=torch.Generator("cpu").manual_seed(settings.seed),
                    callback_on_step_end=after_step, **_interval(settings)).images[0]
        except (RuntimeError, ValueError, NotImplementedError, OSError) as error:
            if isinstance(error, MreError) or settings.scheduler == "default":
                raise
            raise SettingsError(f"the scheduler {settings.scheduler} does not work with this model") from error
        finally:
            pipeline.scheduler = own

    def make_many(self, seen: Sequence[Image.Image], settings: Sequence[EditSettings]) -> list[Image.Image]:
        import torch

        first = settings[0]
        if SCHEDULERS[first.scheduler]:
            return super().make_many(seen, settings)
        negative = None if first.negative_reward is None else [each.negative_reward for each in settings]
        pipeline = self.pipeline()
        tiling.share_out(pipeline.vae, len(seen), seen[0].size, self._most_pixels)
        with torch.inference_mode():
            return pipeline(
                [each.instruction for each in settings], image=list(seen), reward=[each.reward for each in settings],
                negative_reward=negative, num_inference_steps=first.steps, guidance_scale=first.guidance_scale,
                image_guidance_scale=first.image_guidance_scale,
                generator=[torch.Generator("cpu").manual_seed(each.seed) for each in settings], **_interval(first)).images


def _interval(settings: EditSettings) -> dict[str, Any]:
    return {} if settings.guidance_interval is None else {"guidance_interval": settings.guidance_interval}


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
