"""The U-Net of the embedded editor: the reward U-Net, with a gated change on top of the original as its output.

Four things that the full size does not need: the instruction as a whole joins the time embedding (beside cross-attention), the network
knows where in the picture it is, it says what to change instead of painting everything anew, and what the instruction decides takes
a short way: what becomes of the whole picture (black and white, a warmer light) and what it knows by heart (a beach, a night sky) to the
output, what is asked for where ("on the left", "in the sky") as a coarse map to the input. What becomes of the whole picture is decided by
the reward's term (Eq. 3) too: how much of black and white is there, how blurred it comes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.configuration_utils import register_to_config
from diffusers.utils.peft_utils import apply_lora_scale
from torch import Tensor, nn

from mre.embedded.edit_head import OVERALL, EditHead
from mre.embedded.placed import GatedOutput, PlacedConvolution
from mre.models.condition import RESIDUAL, RewardSignal, linear
from mre.models.unet import RewardUNet2DConditionModel, join_residual, keeps_settings_of

POOLS = 4               # weighted means of the instruction's tokens that join the time embedding
MAP_SIDE = 6            # cells a side of the map that an instruction makes of the picture
MEMORIES = 12           # pictures that the network can know by heart: landscapes, mostly
MEMORY_GAIN = 20.0      # they are learned pixel by pixel, each seldom
QUIET_START = 0.1       # how strongly an untrained network reads the noisy half of its input


class OverallMixture(nn.Sequential):
    """What is said of the whole picture: an activation and a linear map of the instruction, and what the reward makes of both."""

    def forward(self, instruction: Tensor, bend: Tensor | None = None, plus: Tensor | None = None) -> Tensor:
        """(B, D) instruction, (B, D) what strengthens or weakens it, (B, OVERALL) what is said beside it -> (B, OVERALL)"""
        activation, layer = self
        state = activation(instruction)
        return layer(state) if bend is None else layer(state * (1 + bend)) + plus


class RewardOfTheWhole(nn.Module):
    """How the reward joins what is said of the whole picture: it strengthens or weakens what the instruction asks for (`bend`), and has
    its own say (`plus`)."""

    def __init__(self, term_dim: int, state_dim: int, zero_init: bool) -> None:
        super().__init__()
        self.bend, self.plus = linear(term_dim, state_dim, zero_init), linear(term_dim, OVERALL, zero_init)

    def forward(self, signal: RewardSignal) -> tuple[Tensor, Tensor]:
        """The reward's term (B, term_dim) -> (B, state_dim), (B, OVERALL); zeros for samples without a reward."""
        said = self.bend(signal.term), self.plus(signal.term)
        return said if signal.present is None else tuple(part * signal.present.to(part)[:, None] for part in said)


class GatedRewardUNet(RewardUNet2DConditionModel):
    """Predicts the edited picture ("sample" prediction) as a gated change of the original, whose patches are the second half of its input.

    patch_size      side of a patch, f: the autoencoder's, with 3 f^2 latent channels
    latent_scale    the autoencoder's scaling factor
    """

    reward_layers = (*RewardUNet2DConditionModel.reward_layers, "reward_of_the_whole.")

    leading_layers = reward_layers

    @register_to_config
    @keeps_settings_of(RewardUNet2DConditionModel)
    def __init__(self, *, patch_size: int = 8, latent_scale: float = 2.0, **unet: Any) -> None:
        head = EditHead(patch_size)
        unet |= {"in_channels": 2 * 3 * patch_size**2, "out_channels": head.channels}
        super().__init__(**unet)
        self.head = head
        plain, time_width = self.conv_in, self.time_embedding.linear_2.out_features
        side, width = self.config.sample_size, plain.out_channels
        self.conv_in = PlacedConvolution(plain.in_channels, width, plain.kernel_size, padding=plain.padding, side=side)
        text_width = self.config.cross_attention_dim
        self.attend = nn.Linear(text_width, POOLS)
        self.instruction = nn.Sequential(nn.Linear((POOLS + 1) * text_width, time_width), nn.SiLU(), nn.Linear(time_width, time_width))
        self.asked_where = nn.Sequential(nn.SiLU(), linear(time_width, width * MAP_SIDE**2, zero_init=True),
                                         nn.Unflatten(1, (width, MAP_SIDE, MAP_SIDE)))
        # All that is said of the whole picture; the name is older than what came to the mixture.
        self.overall_mixture = OverallMixture(nn.SiLU(), linear(time_width, OVERALL, zero_init=True))
        self.recall = nn.Sequential(nn.SiLU(), nn.Linear(time_width, MEMORIES))
        self.memories = nn.Parameter(torch.zeros(MEMORIES, 3, side * patch_size, side * patch_size))
        with torch.no_grad():
            self.conv_in.weight[:, :self.config.in_channels // 2] *= QUIET_START        # in training it is mostly nothing but noise
        for parameter in self.conv_out.parameters():        # an untrained model gives the original back
            nn.init.zeros_(parameter)

    def read_instruction(self, states: Tensor) -> Tensor:
        """The instruction as a whole: (B, T, D) states of its tokens -> (B, width of the time embedding).

        Weighted means of the states, each with attention of its own, and the last state, which has read them all (the text encoder is
        causal, and texts are padded to one length).
        """
        attention = self.attend(states).softmax(dim=1)                                              # (B, T, POOLS)
        means = torch.einsum("btp,btd->bpd", attention, states).flatten(1)                          # (B, POOLS D)
        return self.instruction(torch.cat([means, states[:, -1]], dim=1))

    def reset_reward_layers(self) -> None:
        """Make the layers of the reward condition anew, as the config says."""
        super().reset_reward_layers()
        self.reward_of_the_whole = None
        if self.conditioned and self.config.use_addition:
            state_dim = self.time_embedding.linear_2.out_features
            term_dim = self.config.reward_text_dim if self.config.variant == "paper" else state_dim
            self.reward_of_the_whole = RewardOfTheWhole(term_dim, state_dim, self.config.reward_init == "zero")

    def say_of_the_whole(self, instruction: Tensor, signal: RewardSignal | None) -> Tensor:
        """(B, width of the time embedding) and the reward -> (B, OVERALL), what the head is told of the whole picture."""
        if self.reward_of_the_whole is None:
            return self.overall_mixture(instruction)
        return self.overall_mixture(instruction, *self.reward_of_the_whole(signal))

    def remember(self, instruction: Tensor, size: Sequence[int]) -> Tensor:
        """(B, width of the time embedding) -> (B, 3, H, W): of the pictures that the network knows by heart, as much of each as the
        instruction calls for, stretched to `size`."""
        called = self.recall(instruction)
        with torch.autocast(called.device.type, enabled=False):         # pixels keep their precision
            pictures = torch.einsum("bm,mchw->bchw", called.float(), self.memories.float()) * MEMORY_GAIN
        if pictures.shape[-2:] != tuple(size):
            pictures = F.interpolate(pictures, tuple(size), mode="bilinear", align_corners=False)
        return pictures

    def latent_in(self, sample: Tensor, signal: RewardSignal | None, added_cond_kwargs: dict[str, Any]) -> Tensor:
        """(B, 6 f^2, h, w) -> (B, C, h, w): the input convolution, the instruction's map of the picture, the reward encoder."""
        hidden = join_residual(self.conv_in(sample), added_cond_kwargs.get(RESIDUAL))
        asked = self.asked_where(added_cond_kwargs["instruction_state"])                            # (B, C, MAP_SIDE, MAP_SIDE)
        return self.read_reward(hidden + F.interpolate(asked, hidden.shape[-2:], mode="bilinear", align_corners=False), signal)

    def get_aug_embed(self, emb: Tensor, encoder_hidden_states: Tensor, added_cond_kwargs: dict[str, Any]) -> Tensor:
        """What joins the time embedding: the reward's term, and the instruction as a whole."""
        added, term = super().get_aug_embed(emb, encoder_hidden_states, added_cond_kwargs), added_cond_kwargs["instruction_state"]
        return term if added is None else added + term

    @apply_lora_scale("cross_attention_kwargs")
    def forward(self, sample: Tensor, timestep: Tensor | float | int, encoder_hidden_states: Tensor, *args: Any,
                cross_attention_kwargs: dict[str, Any] | None = None, added_cond_kwargs: dict[str, Any] | None = None,
                return_dict: bool = True, **kwargs: Any) -> GatedOutput | tuple[Tensor]:
        """As the parent's; `sample` is (B, 6 f^2, h, w): noisy latents, then the original's unscaled latents."""
        instruction = self.read_instruction(encoder_hidden_states)
        conditions: dict[str, Any] = {**self.read_conditions(sample, cross_attention_kwargs, added_cond_kwargs),
                                      "instruction_state": instruction}
        features = super().forward(sample, timestep, encoder_hidden_states, *args, return_dict=False, added_cond_kwargs=conditions,
                                   cross_attention_kwargs=cross_attention_kwargs, **kwargs)[0]
        size = self.config.patch_size
        original = F.pixel_shuffle(sample[:, sample.shape[1] // 2:], size)
        picture, mask_logits = self.head.compose(features, original, self.say_of_the_whole(instruction, conditions["reward_signal"]),
                                                 self.remember(instruction, original.shape[-2:]))
        latents = (F.pixel_unshuffle(picture, size) * self.config.latent_scale).to(features.dtype)
        return GatedOutput(latents, mask_logits) if return_dict else (latents,)

