"""From triplets to what the U-Net reads: latents, text states, reward conditions, with dropout of the conditions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, cast

import torch
from torch import Tensor, nn

from mre.models.condition import RESIDUAL
from mre.rewards import Reward
from mre.training.draws import Draws, dropped
from mre.training.objectives.objective import Batch, Objective

if TYPE_CHECKING:
    from mre.models.instruction import EditCondition, InstructionEncoder
    from mre.training.config import TrainConfig


@dataclass(frozen=True)
class Latents:
    """Pictures of B triplets, encoded before: what the autoencoder made of the original, and its distribution for the edited one."""

    original: Tensor                # (B, C, h, w), the mode
    mean: Tensor                    # (B, C, h, w)
    std: Tensor                     # (B, C, h, w)


@dataclass(frozen=True)
class TrainingBatch:
    """B triplets with their rewards, as the data room hands them over: as pictures, or as latents from a cache."""

    samples: tuple[int, ...]        # number of each in the run
    instructions: tuple[str, ...]
    rewards: tuple[Reward, ...]
    original: Tensor | None = None  # (B, 3, H, W) uint8
    edited: Tensor | None = None    # (B, 3, H, W) uint8
    asked: Tensor | None = None     # (B, 3, H, W) uint8, the flawless edit where it is known, else the edited picture
    everywhere: Tensor | None = None        # (B,) bool, where the edit is known to be of the whole picture
    latents: Latents | None = None
    weight: Tensor | None = None            # (B,) of each loss; none for all equal
    has_reward: Tensor | None = None        # (B,) bool; none where all have one
    condition: EditCondition | None = None  # what was read of instructions and pictures before

    @property
    def pictures(self) -> tuple[Tensor, Tensor]:
        """Original and edited, of a batch that has no latents."""
        if self.original is None or self.edited is None:
            raise ValueError("a batch of latents has no pictures")
        return self.original, self.edited


def to_pixels(pictures: Tensor, device: torch.device) -> Tensor:
    """(B, 3, H, W) uint8 -> float32 in [-1, 1]."""
    return pictures.to(device, non_blocking=True).float().div_(127.5).sub_(1)


@torch.no_grad()
def encode_pictures(vae, original: Tensor, edited: Tensor) -> Latents:
    """(B, 3, H, W) pictures in [-1, 1] -> latents, none of them scaled."""
    of_original, of_edited = (vae.encode(pixels.to(vae.dtype)).latent_dist for pixels in (original, edited))
    return Latents(of_original.mode(), of_edited.mean, of_edited.std)


class RewardTexts(Protocol):
    """Reads reward texts: a RewardTextEncoder, or a cache of one."""

    def encode(self, rewards: Sequence[Reward]) -> dict[str, Tensor]:
        """The texts of B rewards as the U-Net takes them."""
        ...

    def said(self, reward: Reward, wished: Sequence[bool]) -> Reward:
        """The reward whose texts are read where there is a wish for some of the perspectives only."""
        ...


class Learner(nn.Module):
    """Everything between a batch of triplets and its loss. Holds what is trained as submodules, so that one wrapper serves all of it."""

    def __init__(self, pipeline, instruction_encoder: InstructionEncoder, reward_texts: RewardTexts, objective: Objective,
                 config: TrainConfig) -> None:
        super().__init__()
        self.unet: nn.Module
        for name, part in pipeline.trainable_parts(config.train_text_encoder, config.train_readers).items():
            self.add_module(name, part)
        self._frozen = {"vae": pipeline.vae}                # in a dictionary, so that it is no submodule
        self._network = {"unet": cast(nn.Module, torch.compile(self.unet)) if config.compile else self.unet}
        self.instruction_encoder, self.reward_texts, self.objective, self.config = instruction_encoder, reward_texts, objective, config

    def forward(self, triplets: TrainingBatch, draws: Draws) -> dict[str, Tensor]:
        """Losses of a batch: `loss` and its parts."""
        return self.objective(self._network["unet"], self.encode(triplets, draws), draws)

    def encode(self, triplets: TrainingBatch, draws: Draws) -> Batch:
        """What the U-Net reads for these triplets, conditions dropped as the draws say."""
        config, device, vae, extras = self.config, draws.noise.device, self._frozen["vae"], {}
        latents = triplets.latents
        if latents is None:
            original, edited = (to_pixels(side, device) for side in triplets.pictures)
            latents = encode_pictures(vae, original, edited)
            asked = edited if triplets.asked is None else to_pixels(triplets.asked, device)
            extras = self.objective.read(original, edited, asked, triplets.everywhere)
        image_latents, mean, std = (part.to(device).float() for part in (latents.original, latents.mean, latents.std))
        text_dropped, image_dropped = dropped(draws.condition, config.condition_dropout)
        if config.image_dropout:
            image_latents = image_latents * ~image_dropped.to(device)[:, None, None, None]
        text, residual = self.instruction_states(triplets, text_dropped, device)
        edited_latents = (mean + std * draws.latent) * vae.config.scaling_factor
        if config.lora_rank:        # on a CPU, torch 2.13 crashes in the gradient of a frozen GroupNorm whose input lies channels-last
            image_latents, edited_latents = image_latents.contiguous(), edited_latents.contiguous()
        weight = None if triplets.weight is None else triplets.weight.to(device)
        conditions = self.conditions(triplets, draws) | ({} if residual is None else {RESIDUAL: residual})
        return Batch(edited_latents, image_latents, text, conditions, extras, weight)

    def instruction_states(self, triplets: TrainingBatch, text_dropped: Tensor, device: torch.device) -> tuple[Tensor, Tensor | None]:
        """(B, T, D) states of the instructions, those of no instruction where dropped; and (B, C, g, g) of what joins the U-Net's first
        features, which is never dropped."""
        condition = triplets.condition
        if condition is None:
            condition = self.instruction_encoder.encode(triplets.instructions, triplets.original)
        context, null_context, residual = (None if part is None else part.to(device) for part in condition)
        assert context is not None, "the residual alone may be none"
        assert null_context is not None, "the residual alone may be none"
        return torch.where(text_dropped.to(device)[:, None, None], null_context, context), residual

    def conditions(self, triplets: TrainingBatch, draws: Draws) -> dict[str, Tensor]:
        """added_cond_kwargs of the U-Net; empty for a model without rewards."""
        config, device = self.config, draws.noise.device
        if not config.conditioned:
            return {}
        scores = torch.tensor([reward.scores for reward in triplets.rewards], dtype=torch.float32)
        conditions = {"reward_scores": scores.to(device)}
        if config.use_text:
            silent = (draws.reward_text < config.reward_text_dropout).tolist()
            rewards = [Reward.best() if gone else reward for gone, reward in zip(silent, triplets.rewards, strict=True)]
            if draws.perspectives is not None:
                wishes = (draws.perspectives >= config.perspective_dropout).tolist()
                rewards = [self.reward_texts.said(reward, wished) for reward, wished in zip(rewards, wishes, strict=True)]
            conditions |= {name: value.to(device) for name, value in self.reward_texts.encode(rewards).items()}
        if draws.perspectives is not None:
            conditions["reward_wished"] = (draws.perspectives >= config.perspective_dropout).to(device)
        if config.reward_dropout or triplets.has_reward is not None:
            present = draws.reward >= config.reward_dropout
            conditions["reward_present"] = (present if triplets.has_reward is None else present & triplets.has_reward).to(device)
        return conditions
