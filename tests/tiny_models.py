"""Small models of the real classes with random weights from fixed seeds, for tests."""

from __future__ import annotations

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from mre.embedded.tokenizer import word_tokenizer
from mre.models.unet import RewardUNet2DConditionModel
from mre.pipeline import RewardEditPipeline

TEXT_DIM = 32
UNET = {"sample_size": 8, "in_channels": 8, "out_channels": 4, "block_out_channels": (32, 64), "layers_per_block": 1,
        "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"), "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
        "cross_attention_dim": TEXT_DIM, "attention_head_dim": 4, "norm_num_groups": 8}
REWARD = {"reward_text_dim": TEXT_DIM, "reward_sinusoid_channels": 16, "reward_num_heads": 4}


def plain_unet(seed: int = 0, **settings: object) -> UNet2DConditionModel:
    """A stock U-Net for editing."""
    torch.manual_seed(seed)
    return UNet2DConditionModel(**{**UNET, **settings}).eval()


def reward_unet(parent: UNet2DConditionModel | None = None, seed: int = 1, **settings: object) -> RewardUNet2DConditionModel:
    """A reward U-Net, with the weights of a stock one where it has the same."""
    torch.manual_seed(seed)
    unet = RewardUNet2DConditionModel(**{**UNET, **REWARD, **settings}).eval()
    if parent is not None:
        missing, unexpected = unet.load_state_dict(parent.state_dict(), strict=False)
        assert not unexpected
        assert all(name.startswith("reward_") for name in missing)
    return unet


def unet_inputs(batch: int = 2, height: int = 8, width: int = 8, seed: int = 2) -> dict[str, torch.Tensor]:
    """What the stock forward takes."""
    generator = torch.Generator().manual_seed(seed)
    return {"sample": torch.randn(batch, 8, height, width, generator=generator), "timestep": torch.tensor([700, 20, 3][:batch]),
            "encoder_hidden_states": torch.randn(batch, 5, TEXT_DIM, generator=generator)}


def reward_inputs(variant: str = "released", batch: int = 2, seed: int = 3) -> dict[str, torch.Tensor]:
    """A reward for each sample."""
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, 6, TEXT_DIM) if variant == "paper" else (batch, TEXT_DIM)
    return {"reward_scores": torch.rand(batch, 3, generator=generator) * 5, "reward_text": torch.randn(shape, generator=generator)}


def text_encoder(hidden_size: int = TEXT_DIM, heads: int = 4, vocabulary: int = 514, tokens: int = 77) -> CLIPTextModel:
    """One layer."""
    torch.manual_seed(4)
    return CLIPTextModel(CLIPTextConfig(vocab_size=vocabulary, hidden_size=hidden_size, intermediate_size=64, num_hidden_layers=1,
                                        num_attention_heads=heads, max_position_embeddings=tokens, bos_token_id=vocabulary - 2,
                                        eos_token_id=vocabulary - 1, pad_token_id=vocabulary - 1)).eval()


def vae() -> AutoencoderKL:
    """Two levels: a factor of 2."""
    torch.manual_seed(5)
    return AutoencoderKL(block_out_channels=(16, 16), down_block_types=("DownEncoderBlock2D",) * 2,
                         up_block_types=("UpDecoderBlock2D",) * 2, layers_per_block=1, norm_num_groups=8, latent_channels=4,
                         sample_size=16).eval()


def pipeline(unet: UNet2DConditionModel | None = None, kind: type = RewardEditPipeline, text_dim: int = TEXT_DIM, **settings: object):
    """A whole editor, which reads bytes, of 16 x 16 pictures. 514 tokens: each byte inside a word and at its end, start and end."""
    unet = reward_unet(reward_init="released") if unet is None else unet
    editor = kind(vae=vae(), text_encoder=text_encoder(text_dim), tokenizer=word_tokenizer([], 77), unet=unet,
                  scheduler=DDIMScheduler(beta_schedule="scaled_linear", clip_sample=False, set_alpha_to_one=False, steps_offset=1),
                  safety_checker=None, feature_extractor=None, requires_safety_checker=False, **settings)
    editor.set_progress_bar_config(disable=True)
    return editor
