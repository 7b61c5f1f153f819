"""A tiny autoencoder with random weights, made to do what a trained one does, so that there is something to learn in its latents.

With random weights its posterior is about a hundred times as wide as a trained one's: the latents of a training are noise, whatever the
picture, and the loss of a flow is at its floor at once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import diffusers
import numpy as np
import torch
import torch.nn.functional as F

LOG_VARIANCE = -12.0        # of the posterior; trained autoencoders are near


@torch.no_grad()
def settle(folder: Path, pictures: Sequence[np.ndarray]) -> None:
    """Give the autoencoder of a pipeline's folder a narrow posterior, and the statistics of its latents for these (H, W, 3) pictures, by
    which the pipelines of its family normalise them."""
    kind = json.loads((folder / "model_index.json").read_text())["vae"][1]
    vae = getattr(diffusers, kind).from_pretrained(folder / "vae")
    means = vae.quant_conv.out_channels // 2
    vae.quant_conv.weight[means:] = 0
    vae.quant_conv.bias[means:] = LOG_VARIANCE
    pixels = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2) / 127.5 - 1
    if hasattr(vae, "bn"):                      # FLUX.2: of patches of 2 x 2
        latents = F.pixel_unshuffle(vae.encode(pixels).latent_dist.mean, 2)
        vae.bn.running_mean, vae.bn.running_var = latents.mean(dim=(0, 2, 3)), latents.var(dim=(0, 2, 3))
    else:                                       # Qwen: of channels, of a film of one frame
        latents = vae.encode(pixels[:, :, None]).latent_dist.mean
        vae.register_to_config(latents_mean=latents.mean(dim=(0, 2, 3, 4)).tolist(), latents_std=latents.std(dim=(0, 2, 3, 4)).tolist())
    vae.save_pretrained(folder / "vae")
