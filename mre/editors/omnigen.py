"""OmniGen without torchvision, with which diffusers brings the photo into the model: Pillow and numpy do the same. Loads torch."""

from __future__ import annotations

import diffusers
import numpy as np
import torch
import transformers
from diffusers.image_processor import VaeImageProcessor
from diffusers.pipelines.omnigen.processor_omnigen import OmniGenCollator, OmniGenMultiModalProcessor, crop_image
from PIL import Image


class PictureProcessor(OmniGenMultiModalProcessor):
    """The same, but for the transforms of pictures."""

    def __init__(self, text_tokenizer: object, max_image_size: int = 1024) -> None:
        self.text_tokenizer, self.collator = text_tokenizer, OmniGenCollator()
        self.reset_max_image_size(max_image_size)

    def reset_max_image_size(self, max_image_size: int) -> None:
        self.max_image_size = max_image_size

    def process_image(self, image: Image.Image) -> torch.Tensor:
        """(3, H, W) in [-1, 1]; sides are multiples of 16."""
        pixels = np.asarray(crop_image(image, self.max_image_size), np.float32) / 255       # (H, W, 3)
        return torch.from_numpy((pixels - 0.5) / 0.5).permute(2, 0, 1)


class OmniGenPipeline(diffusers.OmniGenPipeline):
    """The same, with that processor: without torchvision the parent cannot be made at all."""

    def __init__(self, transformer: diffusers.OmniGenTransformer2DModel, scheduler: diffusers.FlowMatchEulerDiscreteScheduler,
                 vae: diffusers.AutoencoderKL, tokenizer: transformers.PreTrainedTokenizerBase) -> None:
        diffusers.DiffusionPipeline.__init__(self)
        self.register_modules(vae=vae, tokenizer=tokenizer, transformer=transformer, scheduler=scheduler)
        self.vae_scale_factor = 2 ** (len(vae.config["block_out_channels"]) - 1)
        self.image_processor = VaeImageProcessor(vae_scale_factor=self.vae_scale_factor * 2)
        self.multimodal_processor = PictureProcessor(tokenizer)
        self.tokenizer_max_length = tokenizer.model_max_length
        self.default_sample_size = 128
