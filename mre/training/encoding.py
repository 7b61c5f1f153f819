"""From triplets to what the U-Net reads: latents, text states, reward conditions, with dropout of the conditions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from mre.models.condition import reward_text
from mre.rewards import Reward
from mre.training.config import TrainConfig
from mre.training.objective import Batch, Draws, changed_mask, dropped


@dataclass(frozen=True)
class Triplets:
    """B triplets with their rewards, as the data room hands them over."""

    samples: tuple[int, ...]        # number of each in the run
    original: Tensor                # (B, 3, H, W) uint8
    edited: Tensor                  # (B, 3, H, W) uint8
    instructions: tuple[str, ...]
    rewards: tuple[Reward, ...]


def to_pixels(pictures: Tensor, device: torch.device) -> Tensor:
    """(B, 3, H, W) uint8 -> float32 in [-1, 1]."""
    return pictures.to(device, non_blocking=True).float().div_(127.5).sub_(1)


def fitting_text(reward: Reward, perspectives: Sequence[str], tokenizer) -> str:
    """The reward text, such that the tokenizer does not cut it. The released code cuts what is beyond 77 tokens, so that the third
    perspective is the first to be lost; here the longest text gives way, word by word, until all fit."""
    texts = list(reward.texts)
    while True:
        joined = reward_text(replace(reward, texts=tuple(texts)), perspectives)
        if len(tokenizer(joined, truncation=False, verbose=False).input_ids) <= tokenizer.model_max_length:
            return joined
        longest = max(range(len(texts)), key=lambda index: len(texts[index]))
        texts[longest] = texts[longest].rpartition(" ")[0] or texts[longest][:len(texts[longest]) // 2]


class TextReader:
    """Texts to states, each different text of a batch once. The instruction is padded to the tokenizer's full length, as at inference,
    where the U-Net attends to the padding too. States of what comes before padding do not depend on it (the encoder is causal), so the reward
    text, whose padding nothing reads, needs none."""

    def __init__(self, tokenizer, text_encoder: nn.Module) -> None:
        self.tokenizer = tokenizer
        self.text_encoder = text_encoder

    def states(self, texts: Sequence[str], padding: str = "max_length") -> tuple[Tensor, Tensor, Tensor]:
        """Token states (B, T, D), pooled states (B, D), and (B, T) bool, true for tokens that are not padding, of B texts."""
        unique = {text: row for row, text in enumerate(dict.fromkeys(texts))}
        read = self.tokenizer(list(unique), padding=padding, max_length=self.tokenizer.model_max_length, truncation=True, return_tensors="pt")
        device = self.text_encoder.device
        output = self.text_encoder(read.input_ids.to(device))
        states = output[0], output[1], read.attention_mask.to(device).bool()
        if len(unique) == len(texts):
            return states
        rows = torch.tensor([unique[text] for text in texts], device=device)
        return tuple(part[rows] for part in states)


class Learner(nn.Module):
    """Everything between a batch of triplets and its loss. Holds what is trained as submodules, so that one wrapper serves all of it."""

    def __init__(self, pipeline, loss, config: TrainConfig) -> None:
        super().__init__()
        self.unet = pipeline.unet
        self.config = config
        self.loss = loss
        self._frozen = {"vae": pipeline.vae}
        if config.train_text_encoder:
            self.text_encoder = pipeline.text_encoder
        else:
            self._frozen["text_encoder"] = pipeline.text_encoder
        self.reader = TextReader(pipeline.tokenizer, pipeline.text_encoder)
        self._null_text: Tensor | None = None

    def forward(self, triplets: Triplets, draws: Draws) -> dict[str, Tensor]:
        """Losses of a batch: `loss` and its parts."""
        return self.loss(self.unet, self.encode(triplets, draws), draws)

    def encode(self, triplets: Triplets, draws: Draws) -> Batch:
        """What the U-Net reads for these triplets, conditions dropped as the draws say."""
        device = draws.noise.device
        original, edited = to_pixels(triplets.original, device), to_pixels(triplets.edited, device)
        with torch.no_grad():
            image_latents = self.image_latents(original)
            latents = self.latents(edited, draws.latent)
            mask = changed_mask(original, edited) if self.config.mask_weight or self.config.mask_loss_weight else None
        text_dropped, image_dropped = dropped(draws.condition, self.config.condition_dropout)
        if self.config.image_dropout:
            image_latents = image_latents * ~image_dropped[:, None, None, None]
        text = self.instruction_states(triplets.instructions, text_dropped)
        return Batch(latents, image_latents, text, self.conditions(triplets, draws), mask)

    def image_latents(self, pixels: Tensor) -> Tensor:
        """(B, 3, H, W) originals in [-1, 1] -> (B, C, h, w): the mode, not scaled."""
        vae = self._frozen["vae"]
        return vae.encode(pixels.to(vae.dtype)).latent_dist.mode().float()

    def latents(self, pixels: Tensor, spread: Tensor) -> Tensor:
        """(B, 3, H, W) edited pictures in [-1, 1] -> (B, C, h, w): drawn from the autoencoder's distribution, scaled."""
        vae = self._frozen["vae"]
        dist = vae.encode(pixels.to(vae.dtype)).latent_dist
        return (dist.mean.float() + dist.std.float() * spread) * vae.config.scaling_factor

    def instruction_states(self, instructions: Sequence[str], text_dropped: Tensor) -> Tensor:
        """(B, T, D) states of the instructions, the null text where dropped. A frozen encoder reads the null text once in a run."""
        if self.config.train_text_encoder:
            texts = ["" if gone else text for gone, text in zip(text_dropped.tolist(), instructions, strict=True)]
            return self.reader.states(texts)[0]
        with torch.no_grad():
            if self._null_text is None:
                self._null_text = self.reader.states([""])[0]
            states = self.reader.states(instructions)[0]
        return torch.where(text_dropped[:, None, None], self._null_text, states)

    def conditions(self, triplets: Triplets, draws: Draws) -> dict[str, Tensor]:
        """added_cond_kwargs of the U-Net; empty for a model without rewards."""
        if not self.config.conditioned:
            return {}
        scores = torch.tensor([reward.scores for reward in triplets.rewards], dtype=torch.float32)
        conditions = {"reward_scores": scores.to(draws.noise.device)}
        if self.config.use_text:
            silent = (draws.reward_text < self.config.reward_text_dropout).tolist()
            rewards = [Reward.best() if gone else reward for gone, reward in zip(silent, triplets.rewards, strict=True)]
            texts = [fitting_text(reward, self.config.perspectives, self.reader.tokenizer) for reward in rewards]
            with torch.set_grad_enabled(self.config.train_text_encoder and torch.is_grad_enabled()):
                tokens, pooled, read = self.reader.states(texts, padding="longest")
            if self.config.variant == "paper":
                conditions |= {"reward_text": tokens, "reward_text_mask": read}
            else:
                conditions["reward_text"] = pooled
        if self.config.reward_dropout:
            conditions["reward_present"] = draws.reward >= self.config.reward_dropout
        return conditions
