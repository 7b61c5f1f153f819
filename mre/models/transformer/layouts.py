"""How editing pipelines of diffusers hand pictures, times and texts to their transformer: what training must do as well.

One class for each family. Latents here are (B, C, h, w) as the transformer reads them: normalised, and with patches of 2 x 2 as channels,
so that each place is a token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from mre.models.instruction import NULL, EditCondition, InstructionEncoder

PATCH = 2               # latents of a token's side


class Gaussian(NamedTuple):
    """What an autoencoder makes of B pictures."""

    mean: Tensor        # (B, C, h, w)
    std: Tensor         # (B, C, h, w)

    def mode(self) -> Tensor:
        return self.mean


class FluxInstructions:
    """The states of FLUX.2 klein's text encoder, at the pipeline's full length, since the transformer attends to the padding too."""

    reads_images = False

    def __init__(self, pipeline: Any, length: int = 512) -> None:
        """length: in tokens, as the pipeline is called with (`max_sequence_length`)"""
        self.pipeline, self.length = pipeline, length
        self._null: Tensor | None = None

    @torch.no_grad()
    def encode(self, instructions: Sequence[str], images: Any = None) -> EditCondition:
        """Each different instruction is read once, and that of none once for all."""
        null = self._null = self._states([NULL]) if self._null is None else self._null
        rows = {text: row for row, text in enumerate(dict.fromkeys(instructions))}
        states = self._states(list(rows))                                                       # (U, T, D)
        return EditCondition(states[[rows[text] for text in instructions]], null)

    def key(self, instruction: str, image: Any = None) -> str:
        """The instruction alone decides."""
        return instruction

    def _states(self, texts: list[str]) -> Tensor:
        return self.pipeline.encode_prompt(texts, max_sequence_length=self.length)[0]


class QwenInstructions:
    """The states of Qwen2.5-VL, which looks at the photo too. Padding is zeros, as the pipelines write it."""

    reads_images = True

    def __init__(self, pipeline: Any, seen: int = 1024) -> None:
        """seen: the root of the area in pixels at which the pipeline shows it the photo"""
        self.pipeline, self.seen = pipeline, seen

    @torch.no_grad()
    def encode(self, instructions: Sequence[str], images: Any = None) -> EditCondition:
        """images: (B, 3, H, W) uint8. What stands in for no instruction is the photo with a blank one, as in guidance."""
        photos = [self.pipeline.image_processor.resize(Image.fromarray(image.permute(1, 2, 0).cpu().numpy()), self.seen, self.seen)
                  for image in images]          # training crops to squares
        states = [self.pipeline.encode_prompt([text], [photo])[0] for texts in (instructions, [" "] * len(photos))
                  for text, photo in zip(texts, photos, strict=True)]                           # (1, T, D) each
        longest = max(one.shape[1] for one in states)
        padded = torch.cat([F.pad(one, (0, 0, 0, longest - one.shape[1])) for one in states])
        return EditCondition(*padded.chunk(2))

    def key(self, instruction: str, image: Any = None) -> str:
        """Raises ValueError: no cache keeps what depends on a picture."""
        raise ValueError("the photo decides too")


class Layout:
    """What differs between families of pipelines.

    keyword       of the transformer's call, where the reward goes
    pictures      how a call of the pipeline takes the photo
    guided        arguments of a call of the pipeline that let guidance act
    instructions  makes the instruction encoder of a pipeline
    """

    keyword: str
    pictures: Callable[[Any], Any] = staticmethod(lambda photo: photo)
    guided: Mapping[str, Any] = {}
    instructions: Callable[[Any], InstructionEncoder]

    @staticmethod
    def latents(vae: Any, pixels: Tensor) -> Gaussian:
        """(B, 3, H, W) in [-1, 1] -> (B, C, h, w)."""
        raise NotImplementedError

    @staticmethod
    def places(pipeline: Any, latents: Tensor, text: Tensor) -> dict[str, Any]:
        """Arguments that tell the transformer where the tokens of noise and photo, each (B, C, h, w), lie, and which of the text
        (B, T, D) count."""
        raise NotImplementedError


class FluxKlein(Layout):
    """FLUX.2 klein: the photo's tokens follow the noise's, ten steps further on the axis of time."""

    keyword = "joint_attention_kwargs"
    instructions = FluxInstructions

    @staticmethod
    def latents(vae: Any, pixels: Tensor) -> Gaussian:
        """Normalised by the running statistics of the autoencoder's batch norm, of patches."""
        found = vae.encode(pixels.to(vae.dtype)).latent_dist
        mean, std = F.pixel_unshuffle(found.mean, PATCH), F.pixel_unshuffle(found.std, PATCH)   # (B, 4 c, h, w)
        shift = vae.bn.running_mean.view(1, -1, 1, 1).to(mean)
        scale = (vae.bn.running_var.view(1, -1, 1, 1) + vae.config.batch_norm_eps).sqrt().to(mean)
        return Gaussian((mean - shift) / scale, std / scale)

    @staticmethod
    def places(pipeline: Any, latents: Tensor, text: Tensor) -> dict[str, Any]:
        noise = pipeline._prepare_latent_ids(latents[:1])                                       # (1, h w, 4)
        photo = pipeline._prepare_image_ids([latents[:1]])
        words = pipeline._prepare_text_ids(text[:1])                                            # (1, T, 4)
        return {"img_ids": torch.cat([noise, photo], dim=1).to(latents.device), "txt_ids": words.to(latents.device)}


class QwenEdit(Layout):
    """Qwen-Image-Edit and Edit-Plus: the photo is a second picture behind the noise."""

    keyword = "attention_kwargs"
    guided = {"negative_prompt": " "}
    instructions = QwenInstructions

    @staticmethod
    def latents(vae: Any, pixels: Tensor) -> Gaussian:
        """Normalised by the statistics in the autoencoder's settings, of channels."""
        found = vae.encode(pixels.to(vae.dtype)[:, :, None]).latent_dist                        # of a film of one frame
        shift, scale = (torch.tensor(values).view(1, -1, 1, 1).to(found.mean)
                        for values in (vae.config.latents_mean, vae.config.latents_std))
        mean, std = (found.mean[:, :, 0] - shift) / scale, found.std[:, :, 0] / scale
        return Gaussian(F.pixel_unshuffle(mean, PATCH), F.pixel_unshuffle(std, PATCH))

    @staticmethod
    def places(pipeline: Any, latents: Tensor, text: Tensor) -> dict[str, Any]:
        batch, _, height, width = latents.shape
        mask = text.ne(0).any(dim=-1)                                                           # (B, T): padding is zeros
        return {"img_shapes": [[(1, height, width)] * 2] * batch,
                "encoder_hidden_states_mask": None if mask.all() else mask.long()}


class QwenEditPlus(QwenEdit):
    """Edit-Plus takes a list of photos, and shows them to its text encoder at a smaller size."""

    pictures = staticmethod(lambda photo: [photo])
    instructions = staticmethod(lambda pipeline: QwenInstructions(pipeline, seen=384))


# Classes of diffusers.
LAYOUTS: dict[str, type[Layout]] = {
    "Flux2KleinPipeline": FluxKlein, "QwenImageEditPipeline": QwenEdit, "QwenImageEditPlusPipeline": QwenEditPlus}
