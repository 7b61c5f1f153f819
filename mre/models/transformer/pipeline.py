"""An editing pipeline of diffusers whose transformer reads rewards, as trainer, caches and validation ask for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from mre.errors import ModelError
from mre.models.condition import wished_scores
from mre.models.instruction import InstructionEncoder
from mre.models.transformer.layouts import LAYOUTS, PATCH, Gaussian, Layout
from mre.models.transformer.models import NEGATIVE, REWARD, with_condition
from mre.models.transformer.texts import PerspectiveTexts
from mre.rewards import Reward

TIMES = 1000            # steps of noise between which the samplers of diffusers count; a transformer is told shares of 1


class Velocity(NamedTuple):
    """What the transformer makes of a batch."""

    sample: Tensor      # (B, C, h, w)


class LatentSpace(nn.Module):
    """The autoencoder between pictures and the latents that the transformer reads."""

    def __init__(self, vae: Any, layout: type[Layout]) -> None:
        super().__init__()
        self.vae, self.layout = vae, layout
        self.config = SimpleNamespace(scaling_factor=1.0, latent_channels=vae_channels(vae) * PATCH**2)

    @property
    def dtype(self) -> torch.dtype:
        return self.vae.dtype

    @property
    def device(self) -> torch.device:
        return self.vae.device

    def encode(self, pixels: Tensor) -> SimpleNamespace:
        """(B, 3, H, W) in [-1, 1] -> `latent_dist`, a Gaussian."""
        found: Gaussian = self.layout.latents(self.vae, pixels)
        return SimpleNamespace(latent_dist=found)


class Denoiser(nn.Module):
    """The transformer as the objectives call a denoising network: latents and conditions in, the velocity of the latents out."""

    def __init__(self, pipeline: Any, layout: type[Layout]) -> None:
        super().__init__()
        self.transformer = pipeline.transformer
        self.layout = layout
        self._pipeline = [pipeline]                 # in a list, so that its parts are no submodules

    def forward(self, model_input: Tensor, times: Tensor, text: Tensor, added_cond_kwargs: Mapping[str, Tensor]) -> Velocity:
        """
        model_input: (B, 2 C, h, w), noisy latents of the edit and latents of the photo
        times:       (B,) share of noise * 1000
        text:        (B, T, D)
        """
        noisy, photo = model_input.chunk(2, dim=1)
        tokens = torch.cat([packed(noisy), packed(photo)], dim=1)                                 # (B, 2 h w, C)
        reward = read_reward(added_cond_kwargs)
        found = self.transformer(
            hidden_states=tokens, timestep=times.to(tokens.dtype) / TIMES, encoder_hidden_states=text, guidance=None, return_dict=False,
            **self.layout.places(self._pipeline[0], noisy, text), **{self.layout.keyword: {REWARD: reward} if reward else None})[0]
        return Velocity(found[:, :noisy.shape[2] * noisy.shape[3]].transpose(1, 2).reshape(noisy.shape))


class TransformerPipeline:
    """A stock pipeline, whose transformer is given a reward condition, with what training asks of any pipeline.

    Raises ModelError for a pipeline of a class that is not in LAYOUTS.
    """

    knows_no_wish = True

    def __init__(self, stock: Any, **condition: Any) -> None:
        """condition: settings of the reward condition, see RewardTransformer; a transformer that has one keeps it."""
        kind = type(stock).__name__
        if kind not in LAYOUTS:
            raise ModelError(f"a {kind} cannot be given a reward condition; {', '.join(LAYOUTS)} can")
        self.stock, self.layout = stock, LAYOUTS[kind]
        if not hasattr(stock.transformer, "reward_layers"):
            settings = {"reward_text_dim": state_width(stock.text_encoder), **condition}
            stock.register_modules(transformer=with_condition(stock.transformer, **settings))
        self.vae = LatentSpace(stock.vae, self.layout)
        self.vae_scale_factor = stock.vae_scale_factor * PATCH
        self.denoiser = Denoiser(stock, self.layout)
        self.instruction_encoder: InstructionEncoder = self.layout.instructions(stock)
        self.reward_text_encoder = PerspectiveTexts(stock)

    @property
    def unet(self) -> Any:
        """The network that is trained: here a transformer."""
        return self.stock.transformer

    @unet.setter
    def unet(self, network: Any) -> None:
        self.stock.register_modules(transformer=network)

    @property
    def text_encoder(self) -> Any:
        return self.stock.text_encoder

    @property
    def device(self) -> torch.device:
        return self.stock.device

    @property
    def conditioned(self) -> bool:
        """Whether the model reads rewards."""
        return self.unet.conditioned

    @property
    def scheduler(self) -> Any:
        return self.stock.scheduler

    @scheduler.setter
    def scheduler(self, scheduler: Any) -> None:
        self.stock.register_modules(scheduler=scheduler)

    @property
    def components(self) -> dict[str, Any]:
        """All parts, with the transformer as the denoiser that holds it."""
        return {**self.stock.components, "transformer": self.denoiser}

    def load_readers(self) -> None:
        """All that its encoders need is in memory."""

    def drop_readers(self) -> None:
        """Nothing is given back: edits need all of it."""

    def trainable_parts(self, text_encoder: bool = False, readers: Sequence[str] = ()) -> dict[str, nn.Module]:
        """What a training may change, by name. The text encoder is a language model, and frozen: asking for it, or for other readers,
        raises ModelError."""
        if readers:
            raise ModelError(f"train_readers names {', '.join(readers)}, and a transformer editor has no such part")
        if text_encoder:
            raise ModelError("the text encoder of a transformer editor is not trained; leave out train_text_encoder")
        return {"unet": self.denoiser}

    def set_progress_bar_config(self, **settings: Any) -> None:
        self.stock.set_progress_bar_config(**settings)

    def encode_rewards(self, reward: Reward) -> dict[str, Tensor]:
        """What the transformer reads of one reward, see `encoded_reward`."""
        return encoded_reward(self.stock, reward)

    @torch.no_grad()
    def __call__(self, prompt: str, image: Any, *, reward: Reward | None = None, negative_reward: Reward | None = None,
                 **settings: Any) -> Any:
        """Edit one picture. Returns what the stock pipeline returns, with `.images`.

        reward           what the edit should score; none means the best
        negative_reward  what the guidance branch without the instruction reads; none means no wish
        settings         of the stock pipeline
        """
        arguments = {"width": image.width, "height": image.height, **self.layout.guided, **settings}
        return self.stock(prompt=prompt, image=self.layout.pictures(image),
                          **reward_arguments(self.stock, Reward.best() if reward is None else reward, negative_reward), **arguments)


def reward_arguments(stock: Any, reward: Reward, negative: Reward | None = None) -> dict[str, Any]:
    """What a call of a stock pipeline whose transformer has a reward condition is given for this reward.

    negative: what the guidance branch without the instruction reads; none means no wish
    """
    if not stock.transformer.conditioned:
        return {}
    read = {REWARD: encoded_reward(stock, reward)}
    return {"attention_kwargs": read if negative is None else {**read, NEGATIVE: encoded_reward(stock, negative)}}


def encoded_reward(stock: Any, reward: Reward) -> dict[str, Tensor]:
    """What the transformer reads of one reward: scores (1, 3), NaN for no wish, and the texts (1, 3, T, D) with their mask (1, 3, T)."""
    given = {"reward_scores": torch.tensor([reward.scores], device=stock._execution_device)}
    if stock.transformer.config.use_text:
        texts = PerspectiveTexts(stock).encode([reward])
        given |= {"reward_text": texts["reward_text"].to(stock.transformer.dtype), "reward_text_mask": texts["reward_text_mask"]}
    return read_reward(given)


def packed(latents: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, h w, C)."""
    return latents.flatten(2).transpose(1, 2)


def read_reward(conditions: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The reward as the transformer takes it, from that of a training batch: what is dropped becomes no wish.

    reward_present: (B,) bool, false for samples without any reward; optional
    reward_wished:  (B, 3) bool, false for perspectives without a wish; optional
    """
    if "reward_scores" not in conditions:
        return {}
    scores = wished_scores(conditions)
    wished = ~scores.isnan()                                                                     # (B, 3)
    if "reward_present" in conditions:
        wished = wished & conditions["reward_present"][:, None]
    reward = {"reward_scores": scores.masked_fill(~wished, torch.nan)}
    if "reward_text" in conditions:
        reward |= {"reward_text": conditions["reward_text"], "reward_text_mask": conditions["reward_text_mask"] & wished[..., None]}
    return reward


def vae_channels(vae: Any) -> int:
    """Channels of an autoencoder's latents."""
    return vae.config.get("latent_channels") or vae.config.z_dim


def state_width(text_encoder: Any) -> int:
    """Width of the states of a language model."""
    return text_encoder.config.get_text_config().hidden_size
