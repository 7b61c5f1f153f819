"""The reward-conditioned U-Net (paper Eq. 2-3): a subclass of the stock one, whose forward does the rest."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from diffusers import UNet2DConditionModel
from diffusers.configuration_utils import register_to_config
from diffusers.utils.peft_utils import apply_lora_scale
from torch import Tensor, nn

from mre.errors import RewardError
from mre.families import named
from mre.models.condition import (
    INITS,
    RESIDUAL,
    TERM_POOLINGS,
    VARIANTS,
    PaperCondition,
    ReleasedCondition,
    RewardSignal,
    is_conditioned,
    linear,
    wished_scores,
)
from mre.models.encoder import RewardEncoder
from mre.models.stock_view import BlockWithTerm, StockView
from mre.rewards import PERSPECTIVES

TAKEN_HERE = ("reward", RESIDUAL)       # of `cross_attention_kwargs`: not handed on to attention layers


def keeps_settings_of(parent: type) -> Callable:
    """For an `__init__(self, *, own, settings, **rest)` that hands `rest` to `parent`: lists the parent's settings in its signature,
    because diffusers saves and reads back only what is listed there. A setting of the same name replaces the parent's."""
    def decorate(init: Callable) -> Callable:
        own = [p for p in inspect.signature(init).parameters.values() if p.kind is not p.VAR_KEYWORD]
        inherited = [p.replace(kind=p.KEYWORD_ONLY) for name, p in inspect.signature(parent.__init__).parameters.items()
                     if name not in {p.name for p in own}]
        init.__signature__ = inspect.Signature([*own, *inherited])
        return init
    return decorate


class RewardUNet2DConditionModel(UNet2DConditionModel):
    """A U-Net that reads scores and a reward text beside the instruction.

    use_score, use_text         what the condition is made of (Table 4)
    use_attention               the reward encoder between input convolution and first block (Eq. 2, Table 5)
    use_addition                a term for every block (Eq. 3, Table 5): in the time embedding ("released"), after each block ("paper")
    perspectives                scores that count (Table 10)
    variant                     "released" reads a pooled reward text, "paper" its tokens
    reward_text_dim             width of the text encoder's states
    reward_sinusoid_channels    width of the sinusoid of one score
    reward_num_heads, reward_dropout    of the reward encoder
    reward_init                 "zero": an untrained model equals its parent exactly; "released": new layers start at random
    knows_no_wish               whether it was trained with perspectives dropped by themselves: then NaN among the scores means something
    reward_term_pooling         what the paper variant's term is made of: "kinds", the score embedding plus the mean of the text's tokens,
                                so that a longer text does not dilute the scores; "tokens", the mean of all, as in our versions before

    With nothing to read or nowhere to use it, this is the parent and has the parent's parameters alone.
    """

    reward_layers = ("reward_condition.", "reward_encoder.", "reward_terms.")      # how names of the condition's tensors begin
    leading_layers = reward_layers          # what `parent_rate` of a training does not slow down
    config: Any             # diffusers calls it a plain dictionary; its settings can be read as attributes too

    @register_to_config
    @keeps_settings_of(UNet2DConditionModel)
    def __init__(self, *, use_score: bool = True, use_text: bool = True, use_attention: bool = True, use_addition: bool = True,
                 perspectives: tuple[str, ...] = PERSPECTIVES, variant: str = "released", reward_text_dim: int = 768,
                 reward_sinusoid_channels: int = 256, reward_num_heads: int = 8, reward_dropout: float = 0.1,
                 reward_init: str = "zero", reward_term_pooling: str = "kinds", knows_no_wish: bool = False, **unet: Any) -> None:
        super().__init__(**unet)
        _check_settings(self.config)
        self.reset_reward_layers()

    @property
    def conditioned(self) -> bool:
        """Whether this model reads rewards at all."""
        return is_conditioned(self.config)

    def reset_reward_layers(self) -> None:
        """Make the layers of the reward condition anew, as the config says."""
        self.reward_condition = self.reward_encoder = self.reward_terms = None
        if not self.conditioned:
            return
        config = self.config
        width, time_width, zero_init = config.block_out_channels[0], self.time_embedding.linear_2.out_features, config.reward_init == "zero"
        settings = {name: config[name] for name in ("use_score", "use_text", "use_attention", "use_addition", "perspectives")}
        settings |= {"text_dim": config.reward_text_dim, "sinusoid_channels": config.reward_sinusoid_channels, "token_dim": width}
        if config.variant == "paper":
            self.reward_condition = PaperCondition(**settings, term_pooling=config.reward_term_pooling)
            if config.use_addition:
                middle = [] if self.mid_block is None else [config.block_out_channels[-1]]
                widths = *config.block_out_channels, *middle, *reversed(config.block_out_channels)
                self.reward_terms = nn.ModuleList(linear(config.reward_text_dim, width, zero_init) for width in widths)      # Linear_2
        else:
            self.reward_condition = ReleasedCondition(**settings, term_dim=time_width, zero_init=zero_init)
        if config.use_attention:
            self.reward_encoder = RewardEncoder(width, config.reward_num_heads, config.norm_num_groups, config.reward_dropout, zero_init)

    @apply_lora_scale("cross_attention_kwargs")
    def forward(self, sample: Tensor, timestep: Tensor | float | int, encoder_hidden_states: Tensor, *args: Any,
                cross_attention_kwargs: dict[str, Any] | None = None, added_cond_kwargs: dict[str, Any] | None = None, **kwargs: Any):
        """The parent's forward, with the reward in `added_cond_kwargs` or, as one dictionary, in `cross_attention_kwargs["reward"]`, and
        what joins the first features in either of them:

        reward_scores:    (B, 3) in [0, 5], ordered as PERSPECTIVES, NaN for no wish
        reward_wished:    (B, 3) bool, false for perspectives without a wish, whatever their scores; optional
        reward_text:      (B, D) pooled state of the reward text; (B, T, D) states of its tokens in the paper variant
        reward_text_mask: (B, T), true where a token is not padding; optional, paper variant
        reward_present:   (B,) bool, false for samples to be read without any reward; optional
        latent_residual:  (B, C, g, g), of an instruction encoder that looks at the picture; stretched to the features' size; optional

        Raises RewardError when the model needs a reward and there is none, or one of another shape; ValueError for such a residual.
        """
        conditions = self.read_conditions(sample, cross_attention_kwargs, added_cond_kwargs)
        signal: RewardSignal | None = conditions["reward_signal"]
        hidden = self.latent_in(sample, signal, conditions)
        others = {name: value for name, value in (cross_attention_kwargs or {}).items() if name not in TAKEN_HERE}
        view: Any = StockView(self, self.blocks_with_terms(signal))       # has whatever the parent's forward reads
        return UNet2DConditionModel.forward(view, hidden, timestep, encoder_hidden_states, *args,
                                            cross_attention_kwargs=others or None, added_cond_kwargs=conditions, **kwargs)

    def read_conditions(self, sample: Tensor, cross_attention_kwargs: dict[str, Any] | None,
                        added_cond_kwargs: dict[str, Any] | None) -> dict[str, Any]:
        """What a call of `forward` was given beside sample, time and instruction, and as `reward_signal` what the reward condition makes
        of it (Eq. 5-6; None for a model without one), once for all that read it. Raises RewardError as `forward` does."""
        given = cross_attention_kwargs or {}
        conditions = {**(added_cond_kwargs or {}), **given.get("reward", {})}
        if given.get(RESIDUAL) is not None:
            conditions[RESIDUAL] = given[RESIDUAL]
        return conditions if "reward_signal" in conditions else {**conditions, "reward_signal": self.reward_signal(sample, conditions)}

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | Path, **kwargs: Any) -> RewardUNet2DConditionModel:
        """Read a folder or hub id in any of the three layouts. See `mre.models.folders.load_unet` for what it takes and raises."""
        return named("mre.models.folders:load_unet")(cls, pretrained_model_name_or_path, **kwargs)

    @functools.wraps(UNet2DConditionModel.save_pretrained)       # a pipeline looks at the signature for what it may hand on
    def save_pretrained(self, save_directory: str | Path, **kwargs: Any) -> None:
        """As in diffusers, as safetensors alone: what is written can be read back, and pickles are not read."""
        refuse_pickle(kwargs)
        super().save_pretrained(save_directory, **kwargs)

    def reward_signal(self, sample: Tensor, inputs: dict[str, Any]) -> RewardSignal | None:
        """The reward condition of a batch (Eq. 5-6); none for a model without it."""
        if self.reward_condition is None:
            return None
        scores, text = inputs.get("reward_scores"), inputs.get("reward_text")
        batch, dim, paper = sample.shape[0], self.config.reward_text_dim, self.config.variant == "paper"
        if self.config.use_score:
            check_shape("reward_scores", scores, scores is not None and scores.shape == (batch, len(PERSPECTIVES)),
                         f"({batch}, {len(PERSPECTIVES)})")
            scores = wished_scores(inputs)
        if self.config.use_text:
            fits = text is not None and text.shape[0] == batch and text.shape[-1] == dim and text.ndim == (3 if paper else 2)
            check_shape("reward_text", text, fits, f"({batch}, tokens, {dim})" if paper else f"({batch}, {dim})")
        signal = self.reward_condition(scores, text, sample.dtype, inputs.get("reward_text_mask"))
        return signal._replace(present=inputs.get("reward_present"))

    def latent_in(self, sample: Tensor, signal: RewardSignal | None, added_cond_kwargs: dict[str, Any]) -> Tensor:
        """(B, in_channels, h, w) -> (B, C, h, w): what the parent's first block receives. A subclass may read more of what forward was
        given."""
        return self.read_reward(join_residual(self.conv_in(sample), added_cond_kwargs.get(RESIDUAL)), signal)

    def read_reward(self, hidden: Tensor, signal: RewardSignal | None) -> Tensor:
        """(B, C, h, w) -> (B, C, h, w): the reward encoder (Eq. 2), where there is one."""
        if self.reward_encoder is None:
            return hidden
        assert signal is not None, "made where there is an encoder"
        return self.reward_encoder(hidden, signal.tokens, signal.token_mask, signal.present)

    def get_aug_embed(self, emb: Tensor, encoder_hidden_states: Tensor, added_cond_kwargs: dict[str, Any]) -> Tensor | None:
        """What joins the time embedding, which every block receives: the parent's, and the reward's term (Eq. 3, released form)."""
        added = super().get_aug_embed(emb, encoder_hidden_states, added_cond_kwargs)
        signal = (added_cond_kwargs or {}).get("reward_signal")
        if signal is None or signal.term is None or self.config.variant == "paper":
            return added
        term = signal.term if signal.present is None else signal.term * signal.present.to(signal.term)[:, None]
        return term if added is None else added + term

    def blocks_with_terms(self, signal: RewardSignal | None) -> tuple[BlockWithTerm, ...]:
        """The blocks in the order in which they run, each with a term of its own (Eq. 3, the paper's form); none without terms."""
        if self.reward_terms is None:
            return ()
        assert signal is not None, "made where there are terms"
        term, present = signal.term, signal.present
        assert term is not None, "made where there are terms"
        blocks = (block for block in (*self.down_blocks, self.mid_block, *self.up_blocks) if block is not None)
        return tuple(BlockWithTerm(block, linear_2, term, present) for block, linear_2 in zip(blocks, self.reward_terms, strict=True))


def join_residual(hidden: Tensor, residual: Tensor | None) -> Tensor:
    """(B, C, h, w) features and (B, C, g, g) of what joins them, stretched to their size -> (B, C, h, w). None is no residual."""
    if residual is None:
        return hidden
    if residual.ndim != 4 or residual.shape[:2] != hidden.shape[:2]:
        raise ValueError(f"{RESIDUAL} must be ({hidden.shape[0]}, {hidden.shape[1]}, g, g), got {tuple(residual.shape)}")
    if residual.shape[-2:] != hidden.shape[-2:]:
        residual = F.interpolate(residual, hidden.shape[-2:], mode="bilinear", align_corners=False)
    return hidden + residual.to(hidden)


def refuse_pickle(arguments: Mapping[str, Any]) -> None:
    """Raise ValueError where `safe_serialization` of these arguments of `save_pretrained` is false."""
    if not arguments.get("safe_serialization", True):
        raise ValueError("safe_serialization must be true: weights are written as safetensors alone, since pickles are not read back")


def _check_settings(config: Any) -> None:
    if not config.perspectives or not set(config.perspectives) <= set(PERSPECTIVES):
        raise ValueError(f"perspectives must be some of {', '.join(PERSPECTIVES)}, got {config.perspectives}")
    for name, known in (("variant", VARIANTS), ("reward_init", INITS), ("reward_term_pooling", TERM_POOLINGS)):
        if config[name] not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, got {config[name]!r}")
    if config.center_input_sample or config.addition_embed_type == "image_hint":
        raise ValueError("center_input_sample and addition_embed_type='image_hint' change what the input convolution reads; "
                         "the reward U-Net does not support them")


def check_shape(name: str, value: Tensor | None, fits: bool, expected: str) -> None:
    """Raise RewardError where a tensor of the reward is not as the model needs it."""
    if not fits:
        given = "none was given" if value is None else f"got {tuple(value.shape)}"
        raise RewardError(f"this model reads a reward: {name} must be {expected}, {given}")
