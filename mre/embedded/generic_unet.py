"""A reward U-Net whose output is a gated change of the original, and whose chance is one vector that counts the more the lower the scores.

Beside cross-attention the instruction as a whole joins the time embedding, and the network knows where in the picture it is. At 5/5/5
only a narrow vector of chance is left, for requests that leave room, such as a landscape.
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from diffusers.utils.peft_utils import apply_lora_scale
from torch import Tensor, nn

from mre.embedded.generic_head import GenericHead
from mre.embedded.placed import GatedOutput, PlacedConvolution
from mre.models.condition import RESIDUAL, linear, wished_scores
from mre.models.unet import RewardUNet2DConditionModel, join_residual, keeps_settings_of

POOLS = 4               # weighted means of the instruction's tokens that join the time embedding
CHANCE = 32             # numbers of the vector of chance that low scores let in
CHANCE_SIZE = 3.0       # its standard deviation: a weaker one is ignored in training
HIGHEST = 5.0           # score
ROOM = 4                # numbers of the one that is always there


class GenericRewardUNet(RewardUNet2DConditionModel):
    """Predicts the edited picture ("sample" prediction, one step from pure noise) as a gated change of the original, whose patches are the
    second half of its input. Of the first half, the noise, it reads CHANCE + ROOM numbers.

    patch_size      side of a patch, f: the autoencoder's, with 3 f^2 latent channels
    latent_scale    the autoencoder's scaling factor
    """

    leading_layers = (*RewardUNet2DConditionModel.reward_layers, "chance.", "room.")

    @register_to_config
    @keeps_settings_of(RewardUNet2DConditionModel)
    def __init__(self, *, patch_size: int = 8, latent_scale: float = 2.0, **unet: Any) -> None:
        latents = 3 * patch_size**2
        unet |= {"in_channels": 2 * latents, "out_channels": 1}
        super().__init__(**unet)
        state_dim, side = self.time_embedding.linear_2.out_features, self.config.sample_size
        self.head = GenericHead(patch_size, state_dim)
        plain = self.conv_out
        self.conv_in = PlacedConvolution(latents, self.conv_in.out_channels, 3, padding=1, side=side)
        self.conv_out = nn.Conv2d(plain.in_channels, self.head.channels, 3, padding=1)
        text_dim = self.config.cross_attention_dim
        self.attend = nn.Linear(text_dim, POOLS)
        self.instruction = nn.Sequential(nn.Linear((POOLS + 1) * text_dim, state_dim), nn.SiLU(), nn.Linear(state_dim, state_dim))
        self.chance = linear(CHANCE, state_dim, zero_init=False)
        self.room = linear(ROOM, state_dim, zero_init=False)
        for parameter in self.conv_out.parameters():        # an untrained model gives the original back
            nn.init.zeros_(parameter)

    def read_instruction(self, states: Tensor) -> Tensor:
        """(B, T, D) states of the instruction's tokens -> (B, state_dim): weighted means of them, and the last, which has read them all."""
        attention = self.attend(states).softmax(dim=1)                                              # (B, T, POOLS)
        means = torch.einsum("btp,btd->bpd", attention, states).flatten(1)                          # (B, POOLS D)
        return self.instruction(torch.cat([means, states[:, -1]], dim=1))

    def drawn(self, noise: Tensor, scores: Tensor | None) -> Tensor:
        """What chance decides, also of a perspective without a wish. noise: (B, 3 f^2, h, w); scores: (B, 3) in [0, 5], NaN for no wish,
        none for a model without rewards -> (B, state_dim)."""
        numbers = noise.flatten(1)
        let_in = 1.0 if scores is None else (1 - scores.nan_to_num().min(dim=1, keepdim=True).values / HIGHEST).to(numbers)      # (B, 1)
        return self.chance(numbers[:, :CHANCE] * let_in * CHANCE_SIZE) + self.room(numbers[:, -ROOM:])

    def latent_in(self, sample: Tensor, signal: Any, added_cond_kwargs: dict[str, Any]) -> Tensor:
        """(B, 6 f^2, h, w) -> (B, C, h, w): the input convolution over the original's patches, what joins it, and the reward encoder."""
        features = self.conv_in(sample[:, sample.shape[1] // 2:])
        return self.read_reward(join_residual(features, added_cond_kwargs.get(RESIDUAL)), signal)

    def get_aug_embed(self, emb: Tensor, encoder_hidden_states: Tensor, added_cond_kwargs: dict[str, Any]) -> Tensor:
        """What joins the time embedding: instruction, chance and the reward's term."""
        return added_cond_kwargs["state"]

    @apply_lora_scale("cross_attention_kwargs")
    def forward(self, sample: Tensor, timestep: Tensor | float | int, encoder_hidden_states: Tensor, *args: Any,
                cross_attention_kwargs: dict[str, Any] | None = None, added_cond_kwargs: dict[str, Any] | None = None,
                return_dict: bool = True, **kwargs: Any) -> GatedOutput | tuple[Tensor]:
        """As the parent's; `sample` is (B, 6 f^2, h, w): noise, then the original's unscaled latents."""
        conditions = self.read_conditions(sample, cross_attention_kwargs, added_cond_kwargs)
        half, size = sample.shape[1] // 2, self.config.patch_size
        scores = wished_scores(conditions) if "reward_scores" in conditions else None
        state = self.read_instruction(encoder_hidden_states) + self.drawn(sample[:, :half], scores)
        term = super().get_aug_embed(state, encoder_hidden_states, conditions)
        conditions = {**conditions, "state": state if term is None else state + term}
        features = super().forward(sample, timestep, encoder_hidden_states, *args, return_dict=False, added_cond_kwargs=conditions,
                                   cross_attention_kwargs=cross_attention_kwargs, **kwargs)[0]
        picture, mask_logits = self.head(features, F.pixel_shuffle(sample[:, half:], size), conditions["state"])
        latents = (F.pixel_unshuffle(picture, size) * self.config.latent_scale).to(features.dtype)
        return GatedOutput(latents, mask_logits) if return_dict else (latents,)
