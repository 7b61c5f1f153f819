"""An autoencoder without weights: pixels of a square patch become channels, and back, without loss.

The embedded editor uses it where the full-size one has a VAE, so that the same pipeline and trainer serve both.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.autoencoders.vae import DecoderOutput, DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from torch import Tensor

_NO_VARIANCE = -30.0      # log variance of a distribution that is a point


class PatchAutoencoder(ModelMixin, ConfigMixin):
    """(B, 3, H, W) in [-1, 1] <-> (B, 3 f^2, H/f, W/f), f = `patch_size`, a power of two.

    `scaling_factor` brings latents near unit variance, as with any latent diffusion model: the pipeline multiplies the noisy latents
    by it, never the image latents.
    """

    config: Any             # diffusers calls it a plain dictionary; its settings can be read as attributes too

    @register_to_config
    def __init__(self, patch_size: int = 8, scaling_factor: float = 2.0,
                 block_out_channels: tuple[int, ...] | None = None, latent_channels: int | None = None) -> None:
        """The last two follow from `patch_size`; they stand in the config because the stock pipeline reads them from any autoencoder's."""
        super().__init__()
        if patch_size < 1 or patch_size & (patch_size - 1):
            raise ValueError(f"patch_size must be a power of two, got {patch_size}")
        levels = int(math.log2(patch_size)) + 1
        self.register_to_config(block_out_channels=(1,) * levels, latent_channels=3 * patch_size**2)
        self.register_buffer("placement", torch.zeros(1), persistent=True)     # gives the module a device and a dtype

    def encode(self, x: Tensor, return_dict: bool = True):
        """x: (B, 3, H, W) in [-1, 1], sides multiples of f. Returns a point distribution over (B, 3 f^2, H/f, W/f)."""
        mean = F.pixel_unshuffle(x, self.config.patch_size)
        point = DiagonalGaussianDistribution(torch.cat([mean, torch.full_like(mean, _NO_VARIANCE)], dim=1), deterministic=True)
        return AutoencoderKLOutput(latent_dist=point) if return_dict else (point,)

    def decode(self, z: Tensor, return_dict: bool = True, generator: torch.Generator | None = None):
        """z: (B, 3 f^2, h, w), unscaled. Returns pictures (B, 3, h f, w f)."""
        pixels = F.pixel_shuffle(z, self.config.patch_size)
        return DecoderOutput(sample=pixels) if return_dict else (pixels,)

    def preview(self, latents: Tensor) -> Tensor:
        """Scaled latents (B, 3 f^2, h, w) -> pictures (B, 3, h f, w f): exact and nearly free, so a run may be watched by it."""
        return F.pixel_shuffle((latents / self.config.scaling_factor).to(self.dtype), self.config.patch_size)
