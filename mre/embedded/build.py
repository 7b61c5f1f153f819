"""A fresh embedded editor: every part made here, nothing fetched."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from diffusers import DDIMScheduler
from transformers import CLIPTextConfig, CLIPTextModel

from mre.embedded.gated import GatedRewardUNet
from mre.embedded.generic_unet import GenericRewardUNet
from mre.embedded.names import UNTRAINED
from mre.embedded.patch_autoencoder import PatchAutoencoder
from mre.embedded.settings import SETTINGS
from mre.embedded.tokenizer import word_tokenizer
from mre.embedded.vocabulary import vocabulary
from mre.pipeline import RewardEditPipeline

NATIVE_SIZE = 128           # pixels of the longer side that it is trained at
PATCH_SIZE = 8
CELLS = 16                  # a side, of the generic model's grid
WIDTH = (80, 128, 192)      # channels of the U-Net's levels, at 16, 8 and 4 cells a side
TEXT_WIDTH, TEXT_LAYERS, TEXT_TOKENS = 160, 3, 40
HEADS = 4
UNTRAINED_SEED = 0
LATENT_SCALE = 2.0          # pixels in [-1, 1] have a standard deviation near 1/2


def fresh_pipeline(config: Any, **switches: Any) -> RewardEditPipeline:
    """An untrained embedded editor of the width and size that a TrainConfig names."""
    size: dict[str, Any] = {"width": config.width} if config.width else {}
    return build_pipeline(native_size=config.resolution, **size, **switches)


def fresh_generic_pipeline(config: Any, **switches: Any) -> RewardEditPipeline:
    """The same with the generic head, in cells of a sixteenth of the picture's side, as the trunk has them."""
    size: dict[str, Any] = {"width": config.width} if config.width else {}
    return build_pipeline(native_size=config.resolution, patch_size=config.resolution // CELLS, unet_class=GenericRewardUNet, **size,
                          **switches)


def build_pipeline(**settings: Any) -> RewardEditPipeline:
    """An untrained embedded editor of these settings of `build_parts`. It gives every picture back unchanged."""
    return RewardEditPipeline(**build_parts(**settings))


def build_parts(*, width: Sequence[int] = WIDTH, words: Iterable[str] | None = None, native_size: int = NATIVE_SIZE,
                patch_size: int = PATCH_SIZE, unet_class: type[GatedRewardUNet | GenericRewardUNet] = GatedRewardUNet,
                text_width: int = TEXT_WIDTH, text_layers: int = TEXT_LAYERS, **switches: Any) -> dict[str, Any]:
    """The parts of an untrained embedded editor, their weights drawn from torch's default generator, and the pipeline's settings.

    width:       channels of the U-Net's three levels
    words:       what its tokenizer knows whole; those of drawn scenes when not given
    text_width, text_layers     of the text encoder
    switches:    settings of the reward condition, as in RewardUNet2DConditionModel
    """
    tokenizer = word_tokenizer(vocabulary() if words is None else words, TEXT_TOKENS)
    special: dict[str, Any] = {name: getattr(tokenizer, name) for name in ("bos_token_id", "eos_token_id", "pad_token_id")}
    text_encoder = CLIPTextModel(CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=text_width, intermediate_size=3 * text_width, num_hidden_layers=text_layers,
        num_attention_heads=HEADS, max_position_embeddings=TEXT_TOKENS, **special))
    unet = unet_class(
        patch_size=patch_size, latent_scale=LATENT_SCALE, sample_size=native_size // patch_size,
        block_out_channels=tuple(width), layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=text_width, attention_head_dim=HEADS,
        norm_num_groups=16, reward_text_dim=text_width, reward_sinusoid_channels=32, reward_num_heads=HEADS, reward_dropout=0.0, **switches)
    scheduler = DDIMScheduler(beta_schedule="squaredcos_cap_v2", prediction_type="sample", clip_sample=False, set_alpha_to_one=True,
                              timestep_spacing="trailing")      # trailing: the first step sees pure noise, as in training
    return {"vae": PatchAutoencoder(patch_size, LATENT_SCALE), "scheduler": scheduler, "text_encoder": text_encoder, "tokenizer": tokenizer,
            "unet": unet, "native_size": native_size, **SETTINGS}


def untrained_pipeline() -> RewardEditPipeline:
    """A small embedded editor with random weights, the same each time, in which instruction, reward and seed all leave a trace."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(UNTRAINED_SEED)
        pipeline = build_pipeline(width=(32, 48, 64), reward_init="released", knows_no_wish=True, **UNTRAINED)
        torch.nn.init.normal_(pipeline.unet.conv_out.weight, std=0.05)       # zero otherwise: it would give every picture back
    pipeline.unet.eval(), pipeline.text_encoder.eval(), pipeline.vae.eval()
    return pipeline
