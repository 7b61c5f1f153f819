"""RewardEditPipeline: the stock InstructPix2Pix pipeline, with a reward beside the instruction."""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, cast

import numpy as np
import PIL.Image
import torch
from diffusers.callbacks import MultiPipelineCallbacks, PipelineCallback
from diffusers.schedulers import KarrasDiffusionSchedulers
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer

from mre import families
from mre.errors import EditStopped, MreError, RewardError, SettingsError
from mre.models.attention import quick_attention
from mre.models.branches import BRANCHES, computed_branches, without_idle_branches
from mre.models.condition import RESIDUAL
from mre.models.instruction import CLIPInstructionEncoder, EditCondition, InstructionEncoder
from mre.models.kept_readings import KeptReadings, tensor_key
from mre.models.quiet import quiet_libraries
from mre.models.reward_text import RewardTextEncoder
from mre.models.unet import RewardUNet2DConditionModel, refuse_pickle
from mre.rewards import Reward

with quiet_libraries():         # importing the stock pipeline warns four times of a torchvision that nothing here needs
    from diffusers import AutoencoderKL, StableDiffusionInstructPix2PixPipeline, UNet2DConditionModel

Rewards = Reward | Sequence[Reward]


class RewardEditPipeline(StableDiffusionInstructPix2PixPipeline):
    """Edits pictures by an instruction, towards the reward asked for.

    The stock denoising loop runs as it is. The reward is encoded here, repeated over the branches of guidance, and travels to the U-Net
    in `cross_attention_kwargs["reward"]`. The U-Net may also be a plain one, or one with its reward condition switched off: then this is
    InstructPix2Pix. What a model was made for stands in the pipeline's own config: `default_steps`, `default_guidance_scale`,
    `default_image_guidance_scale` (the released evaluation's unless the model brings its own), `native_size` in pixels, and
    `size_rule`, which `mre.imaging.fit_size` reads.
    """

    _kept_device: Any = None
    more_settings: tuple[str, ...] = ()             # of the pipeline's config, beside those of all
    own_format: tuple[str, ...] = ()                # parts that keep their number format whatever that of the others becomes
    unet_class = RewardUNet2DConditionModel         # what `from_pretrained` makes of a U-Net that is of no other known class

    def __init__(self, vae: AutoencoderKL, text_encoder: CLIPTextModel, tokenizer: CLIPTokenizer,
                 unet: UNet2DConditionModel | RewardUNet2DConditionModel, scheduler: KarrasDiffusionSchedulers,
                 safety_checker: Any = None, feature_extractor: Any = None, image_encoder: Any = None,
                 requires_safety_checker: bool = False, default_steps: int = 30, default_guidance_scale: float = 7.5,
                 default_image_guidance_scale: float = 1.5, native_size: int | None = None, size_rule: str = "released") -> None:
        """The types, and those of the families of models, say which parts of another pipeline `from_pipe` takes over.
        native_size: pixels; none = the size of the U-Net's."""
        super().__init__(vae, text_encoder, tokenizer, unet, scheduler, safety_checker, feature_extractor, image_encoder,
                         requires_safety_checker)
        native_size = native_size or _native_size(unet, vae)
        self.register_to_config(default_steps=default_steps, default_guidance_scale=default_guidance_scale,
                                default_image_guidance_scale=default_image_guidance_scale, native_size=native_size, size_rule=size_rule)
        if tokenizer is not None and text_encoder is not None:      # a tokenizer without a limit of its own would overrun the encoder
            tokenizer.model_max_length = min(tokenizer.model_max_length, text_encoder.config.max_position_embeddings)

    @property
    def conditioned(self) -> bool:
        """Whether the model reads rewards."""
        return bool(getattr(self.unet, "conditioned", False))

    @property
    def knows_no_wish(self) -> bool:
        """Whether rewards may leave out perspectives."""
        return bool(getattr(self.unet.config, "knows_no_wish", False))

    @property
    def instruction_encoder(self) -> InstructionEncoder:
        """What the instructions are read by."""
        return CLIPInstructionEncoder(self.tokenizer, self.text_encoder, self._execution_device)

    @property
    def reward_text_encoder(self) -> RewardTextEncoder:
        """What the reward texts are read by."""
        return RewardTextEncoder(self.unet.config, self.tokenizer, self.text_encoder, self._execution_device)

    def keep_place(self, folder: Path, loading: Any) -> None:
        """Told where this pipeline was read from, and how: a kind of model that reads more parts later notes it."""

    def load_readers(self) -> None:
        """Read what else an instruction encoder needs, where that is not in memory: nothing, for a CLIP text encoder."""

    def quantise_readers(self, way: str) -> None:
        """Have `load_readers` read a language model in fewer bits. Raises SettingsError: a CLIP text encoder is none."""
        raise SettingsError(f"--quantise {way} is for other people's pipelines and for the language model of a SmartEdit, and this model "
                            "is read as one of ours")

    def answer_greedily(self) -> None:
        """Have a language model decode its answer rather than be given it. Raises SettingsError: a CLIP text encoder answers nothing."""
        raise SettingsError("--answer greedy is for the language model of a SmartEdit, and this model has none")

    def drop_readers(self) -> None:
        """Give the memory of what `load_readers` reads back. What was read before can still be asked for."""

    def trainable_parts(self, text_encoder: bool = False, readers: Sequence[str] = ()) -> dict[str, torch.nn.Module]:
        """What a training may change, by name: the U-Net, the text encoder if so asked, and of what else reads instructions the parts
        named. A pipeline of another architecture names its own; all other parts are frozen. Raises SettingsError for parts it lacks."""
        if readers:
            raise SettingsError(f"train_readers names {', '.join(readers)}, and this model has no such part")
        return {"unet": self.unet, **({"text_encoder": self.text_encoder} if text_encoder else {})}

    @property
    def interrupt(self) -> bool:
        """Whether someone has asked to stop, by setting `_interrupt`, as in diffusers."""
        return getattr(self, "_interrupt", False)

    @torch.no_grad()
    def __call__(self, prompt: str | list[str] | None = None, image: Any = None, num_inference_steps: int | None = None,
                 guidance_scale: float | None = None, image_guidance_scale: float | None = None,
                 negative_prompt: str | list[str] | None = None, num_images_per_prompt: int = 1, eta: float = 0.0, generator: Any = None,
                 latents: Tensor | None = None, prompt_embeds: Tensor | None = None, negative_prompt_embeds: Tensor | None = None,
                 ip_adapter_image: Any = None, ip_adapter_image_embeds: list[Tensor] | None = None, output_type: str | None = "pil",
                 return_dict: bool = True, callback_on_step_end: Callable | None = None,
                 callback_on_step_end_tensor_inputs: Sequence[str] = ("latents",), cross_attention_kwargs: dict[str, Any] | None = None, *,
                 reward: Rewards | None = None, negative_reward: Rewards | None = None,
                 guidance_interval: tuple[float, float] | None = None, **older: Any):
        """Edit one picture or a batch. Returns a StableDiffusionPipelineOutput with `.images`.

        Arguments by position are the stock pipeline's, and mean what they mean there. Beside them:

        image            PIL picture, list of them, or tensor (B, 3, H, W) in [0, 1]; sides are cut to multiples of the autoencoder's factor
        reward           what the edit should score; one, or one for each picture; none means the best
        negative_reward  reward of the two guidance branches without the instruction; none means the same as `reward`.
                         A lower one makes guidance lead away from it. Or a pair: one for each of the two branches, image alone and neither
        guidance_interval  between which shares of the noise levels, 0 (none) to 1 (all), there is guidance; elsewhere the branch with
                         instruction and image is the only one, and the only one computed (arXiv 2404.07724). None means everywhere
        num_inference_steps, guidance_scale, image_guidance_scale     none means the model's own defaults
        older            the stock pipeline's deprecated `callback` and `callback_steps`

        Raises RewardError for rewards that do not fit the batch, EditStopped when `_interrupt` was set during a step, TypeError for an
        argument that does not exist.
        """
        if unknown := sorted(older.keys() - {"callback", "callback_steps"}):
            raise TypeError(f"there is no argument {unknown[0]!r}")
        config = cast(Any, self.config)          # annotated as a plain dictionary
        steps = _steps(config.default_steps if num_inference_steps is None else num_inference_steps)
        self._guidance_scale = config.default_guidance_scale if guidance_scale is None else guidance_scale
        self._image_guidance_scale = config.default_image_guidance_scale if image_guidance_scale is None else image_guidance_scale
        prompt, image, batch = self._paired(prompt, image, prompt_embeds, num_images_per_prompt)
        self._images = image
        self._to_unet = to_unet = dict(cross_attention_kwargs or {})        # what encoders add to it goes to the U-Net, too
        if isinstance(prompt, list) and isinstance(negative_prompt, str):
            negative_prompt = [negative_prompt] * batch
        if self.conditioned:
            to_unet["reward"] = self._encode_reward(reward, negative_reward, batch, num_images_per_prompt)
        elif reward is not None or negative_reward is not None:
            self._rewards_of(reward, batch), self._rewards_of(negative_reward, batch)       # a wrong one is refused all the same
        if isinstance(callback_on_step_end, (PipelineCallback, MultiPipelineCallbacks)):
            callback_on_step_end_tensor_inputs = callback_on_step_end.tensor_inputs
        self._interrupt = False
        try:
            with self._device_kept(), quick_attention(self.unet), self._branches_that_count(guidance_interval):
                return super().__call__(
                    cast(Any, prompt), image, steps, self._guidance_scale, self._image_guidance_scale, negative_prompt=negative_prompt,
                    num_images_per_prompt=num_images_per_prompt, eta=eta, generator=generator, latents=latents, prompt_embeds=prompt_embeds,
                    negative_prompt_embeds=negative_prompt_embeds, ip_adapter_image=ip_adapter_image,
                    ip_adapter_image_embeds=ip_adapter_image_embeds, output_type=output_type, return_dict=return_dict,
                    callback_on_step_end=self._interruptible(callback_on_step_end),
                    callback_on_step_end_tensor_inputs=list(callback_on_step_end_tensor_inputs),
                    cross_attention_kwargs=to_unet, **older)
        except MreError:                        # raised by a callback: whatever was placed for the call goes back
            self.maybe_free_model_hooks()
            raise
        finally:
            self._images, self._to_unet = None, {}

    @property
    def _execution_device(self) -> Any:
        """As in diffusers; during a call as it was at its beginning."""
        return self._kept_device or super()._execution_device

    @contextmanager
    def _device_kept(self) -> Iterator[None]:
        """Within it the device is not looked up again: diffusers walks through all modules each time, which an embedded edit feels."""
        self._kept_device = self._execution_device
        try:
            yield
        finally:
            self._kept_device = None

    def _branches_that_count(self, interval: tuple[float, float] | None) -> AbstractContextManager[None]:
        if not self.do_classifier_free_guidance:
            return nullcontext()
        levels = cast(Any, self.scheduler.config).num_train_timesteps

        def branches(timestep: Any) -> tuple[int, ...]:
            is_guided = interval is None or interval[0] * levels <= float(timestep) <= interval[1] * levels
            return computed_branches(self.guidance_scale, self.image_guidance_scale, is_guided)
        return without_idle_branches(self.unet, branches)

    def _paired(self, prompt: Any, image: Any, prompt_embeds: Tensor | None, copies: int) -> tuple[Any, Any, int]:
        """One instruction for each picture and one picture for each result, so that nothing is paired by accident; and how many pairs."""
        pictures = _pictures(image)
        if isinstance(prompt, str) and len(pictures) > 1:
            prompt = [prompt] * len(pictures)
        batch = len(prompt_embeds) if prompt is None and prompt_embeds is not None else 1 if isinstance(prompt, str) else len(prompt or [])
        if batch % len(pictures):
            raise ValueError(f"{batch} instructions cannot be shared out over {len(pictures)} pictures")
        rows = [row % len(pictures) for row in range(batch) for _ in range(copies)]
        return prompt, pictures[rows] if isinstance(pictures, (Tensor, np.ndarray)) else [pictures[row] for row in rows], batch

    def _encode_prompt(self, prompt: Any, device: Any, num_images_per_prompt: int, do_classifier_free_guidance: bool,
                       negative_prompt: Any = None, prompt_embeds: Tensor | None = None,
                       negative_prompt_embeds: Tensor | None = None) -> Tensor:
        """As the stock pipeline's, with the states of instructions from `instruction_encoder`."""
        if prompt_embeds is None:
            prompts = self.maybe_convert_prompt([prompt] if isinstance(prompt, str) else prompt, self.tokenizer)
            images = self._images
            assert images is not None, "those of the call"
            condition = self._read_instructions(prompts, images[::num_images_per_prompt])
            prompt_embeds = condition.context
            if condition.residual is not None:
                branches = BRANCHES if do_classifier_free_guidance else 1                   # it is in all of them, as in training
                residual = condition.residual.repeat_interleave(num_images_per_prompt, 0).repeat(branches, 1, 1, 1)
                self._to_unet[RESIDUAL] = residual.to(device)
            if negative_prompt is None and negative_prompt_embeds is None:
                negative_prompt_embeds = condition.null_context.expand_as(prompt_embeds)
        return super()._encode_prompt(prompt, device, num_images_per_prompt, do_classifier_free_guidance, negative_prompt, prompt_embeds,
                                      negative_prompt_embeds)

    def keep_readings(self) -> None:
        """From now on, an edit reads no instruction, reward text or picture again that one of the last edits had. For a pipeline whose
        weights stay as they are."""
        self._readings = KeptReadings()

    def _read_once(self, rows: int, key: Callable[[], Hashable], make: Callable[[], Any]) -> Any:
        """What `make` gives, or gave for this key where readings are kept: those of one picture, for batches are large and come once."""
        readings: KeptReadings | None = getattr(self, "_readings", None)
        if readings is None or rows > BRANCHES:
            return make()
        return readings.of((str(self._execution_device), self.unet.dtype, key()), make)

    def _read_instructions(self, prompts: Sequence[str], images: Any) -> EditCondition:
        encoder = self.instruction_encoder
        return self._read_once(len(prompts), lambda: ("instructions", *map(encoder.key, prompts, images)),
                               lambda: encoder.encode(prompts, images))

    def prepare_image_latents(self, image: Any, batch_size: int, num_images_per_prompt: int, dtype: torch.dtype, device: Any,
                              do_classifier_free_guidance: bool, generator: Any = None) -> Tensor:
        """As the stock pipeline's: (B, C, h, w) of B pictures, three times with guidance. A picture is encoded to the mode, which no
        generator changes."""
        others = batch_size, num_images_per_prompt, dtype, device, do_classifier_free_guidance
        make = super().prepare_image_latents
        return self._read_once(len(image), lambda: ("pictures", tensor_key(image), *others), lambda: make(image, *others, generator))

    def _encode_reward(self, reward: Rewards | None, negative: Rewards | None, batch: int, copies: int) -> dict[str, Tensor]:
        """What the U-Net reads, for each guidance branch in the stock order."""
        guided = self.do_classifier_free_guidance
        branches = [self._rewards_of(reward, batch)] * (BRANCHES if guided else 1)
        if negative is not None:
            if not guided:
                raise RewardError("negative_reward needs guidance: guidance_scale above 1 and image_guidance_scale at least 1")
            pair = negative if isinstance(negative, tuple) else (negative, negative)
            if len(pair) != BRANCHES - 1:
                raise RewardError(f"negative_reward must be one reward, a list with one for each picture, or a pair; got {len(pair)}")
            branches[1:] = [self._rewards_of(one, batch) for one in pair]
        rewards = [one for branch in branches for one in branch for _ in range(copies)]
        return self.encode_rewards(rewards)

    def _rewards_of(self, reward: Rewards | None, batch: int) -> list[Reward]:
        rewards = [Reward.best() if reward is None else reward] if reward is None or isinstance(reward, Reward) else list(reward)
        for one in rewards:
            if not isinstance(one, Reward):
                raise RewardError(f"reward must be a mre.Reward, got {one!r}")
        if len(rewards) not in (1, batch):
            raise RewardError(f"reward must be one, or one for each of {batch} pictures, got {len(rewards)}")
        return rewards * batch if len(rewards) == 1 else rewards

    @torch.no_grad()
    def encode_rewards(self, rewards: Sequence[Reward]) -> dict[str, Tensor]:
        """The inputs of the U-Net for B rewards: scores (B, 3), NaN for no wish, and the reward text, pooled (B, D) or in tokens (B, T, D)
        with its mask. Raises RewardError for a reward without a wish where the model was always told one."""
        device, config = self._execution_device, self.unet.config
        if not self.knows_no_wish and (missing := [name for one in rewards for name in one.without_wish]):
            raise RewardError(f"this model needs a score of {missing[0]}: it was not trained to be asked without one")
        condition = {"reward_scores": torch.tensor([one.scores for one in rewards], dtype=torch.float32, device=device)}
        if config.use_text:
            encoder = self.reward_text_encoder
            condition |= self._read_once(len(rewards), lambda: ("reward texts", *map(encoder.key, rewards)),
                                         lambda: encoder.encode(rewards, "max_length"))
        return condition

    def _interruptible(self, callback: Callable | None) -> Callable:
        def at_step_end(pipeline, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
            outputs = callback(pipeline, step, timestep, tensors) if callback is not None else {}
            if self.interrupt:
                raise EditStopped(f"stopped after step {step + 1}")
            return outputs or {}
        return at_step_end

    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:
        """As in diffusers, in our own layout, as safetensors alone, without a progress bar for every part."""
        refuse_pickle(kwargs)
        with quiet_libraries():
            super().save_pretrained(save_directory, **kwargs)

    @classmethod
    def _get_signature_types(cls) -> dict[str, tuple[type, ...]]:
        types = super()._get_signature_types()
        return types | {part: (*types[part], *families.part_classes(part).values()) for part in ("vae", "unet")}

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> RewardEditPipeline:
        """Read a folder or hub id in any of the three layouts. See `mre.models.folders.load_pipeline` for what it takes and raises."""
        return families.named("mre.models.folders:load_pipeline")(cls, pretrained_model_name_or_path, **kwargs)


def _native_size(unet: Any, vae: Any) -> int:
    """Pixels of the longer side that a U-Net was made for, as its config says."""
    side = getattr(getattr(unet, "config", None), "sample_size", None) or 64
    factor = 2 ** (len(vae.config.block_out_channels) - 1) if vae is not None else 8
    return (side if isinstance(side, int) else max(side)) * factor


def _steps(steps: Any) -> int:
    if isinstance(steps, Reward):
        raise TypeError("the third argument is num_inference_steps; a reward is given by keyword: reward=...")
    if isinstance(steps, bool) or not hasattr(steps, "__index__") or operator.index(steps) < 1:
        raise ValueError(f"num_inference_steps must be a whole number above 0, got {steps!r}")
    return operator.index(steps)


def _pictures(image: Any) -> Any:
    """What was given as `image`, as something with a length: an array or tensor (B, ...), or a list of pictures of one size."""
    if image is None:
        raise ValueError("image is missing")
    if isinstance(image, (Tensor, np.ndarray)):
        return image if image.ndim == 4 else image[None]
    pictures = [picture.convert("RGB") if isinstance(picture, PIL.Image.Image) else picture
                for picture in (image if isinstance(image, (list, tuple)) else [image])]
    sizes = {picture.size for picture in pictures if isinstance(picture, PIL.Image.Image)}
    if len(sizes) > 1:
        raise ValueError(f"pictures of one batch must have one size, got {sorted(sizes)}")
    return pictures
