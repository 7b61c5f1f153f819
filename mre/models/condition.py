"""Multi-Reward Condition (MRC): three scores and a reward text become what the U-Net can read (paper section 4.3, Eq. 5-6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from diffusers.models.embeddings import TimestepEmbedding, get_timestep_embedding
from torch import Tensor, nn

from mre.rewards import PERSPECTIVES

VARIANTS = ("released", "paper")
INITS = ("zero", "released")
REWARD_SETTINGS = ("use_score", "use_text", "use_attention", "use_addition", "perspectives", "variant", "reward_text_dim",
                   "reward_sinusoid_channels", "reward_num_heads", "reward_dropout", "reward_init", "reward_term_pooling")
TYPES = ("score", "text")       # rows of the paper's type embedding
TERM_POOLINGS = ("kinds", "tokens")
RESIDUAL = "latent_residual"        # of the U-Net's inputs, that which an instruction encoder may add to its first features
SEEN_TO = "the U-Net refuses a call without what its condition reads"


def is_conditioned(config: Mapping[str, Any]) -> bool:
    """Whether a U-Net of this config reads rewards at all."""
    return any(config.get(name, True) for name in ("use_score", "use_text")) and \
        any(config.get(name, True) for name in ("use_attention", "use_addition"))


class RewardSignal(NamedTuple):
    """What a condition module hands to the U-Net. A part that the config switches off is None. A tuple, because offload and sharding
    look for tensors in what a module returns, and look into tuples."""

    tokens: Tensor | None = None        # (B, N, C): keys and values of the reward encoder (Eq. 2)
    token_mask: Tensor | None = None    # (B, N) bool, False for padding
    term: Tensor | None = None          # (B, D): what is added for every block (Eq. 3)
    present: Tensor | None = None       # (B,) bool, False for a sample that is read without any reward


def score_sinusoid(scores: Tensor, channels: int) -> Tensor:
    """Sinusoids of raw scores, always in float32: (B, P) -> (B, P * channels); per score, cosines first. A NaN, no wish, has zeros, which
    no score has."""
    flat = scores.float().flatten()                                                             # (B P,)
    waves = get_timestep_embedding(flat.nan_to_num(), channels, flip_sin_to_cos=True, downscale_freq_shift=0)
    return waves.masked_fill(flat.isnan()[:, None], 0.0).reshape(scores.shape[0], -1)


def wished_scores(conditions: Mapping[str, Tensor]) -> Tensor:
    """(B, 3) `reward_scores` of a batch, NaN also where (B, 3) `reward_wished`, if there is one, says that there is no wish."""
    scores, wished = conditions["reward_scores"], conditions.get("reward_wished")
    return scores if wished is None else scores.masked_fill(~wished, torch.nan)


def perspective_columns(perspectives: Sequence[str]) -> list[int]:
    """Columns of `reward_scores` that belong to these perspectives (Table 10)."""
    return [PERSPECTIVES.index(name) for name in PERSPECTIVES if name in perspectives]


class ReleasedCondition(nn.Module):
    """The condition as the released code computes it: one token for the scores, one for the pooled reward text, told apart by their
    separate maps alone; and a second pair of maps for the term that joins the time embedding."""

    def __init__(self, *, use_score: bool, use_text: bool, use_attention: bool, use_addition: bool, perspectives: Sequence[str],
                 text_dim: int, sinusoid_channels: int, token_dim: int, term_dim: int, zero_init: bool) -> None:
        super().__init__()
        self.columns = perspective_columns(perspectives)
        self.sinusoid_channels = sinusoid_channels
        score_dim = len(self.columns) * sinusoid_channels
        self.score_time = TimestepEmbedding(score_dim, term_dim) if use_score and use_addition else None
        self.score_token = TimestepEmbedding(score_dim, token_dim) if use_score and use_attention else None
        self.text_time = linear(text_dim, term_dim, zero_init) if use_text and use_addition else None
        self.text_token = nn.Linear(text_dim, token_dim) if use_text and use_attention else None
        if zero_init and self.score_time is not None:
            nn.init.zeros_(self.score_time.linear_2.weight)
            nn.init.zeros_(self.score_time.linear_2.bias)

    def forward(self, scores: Tensor | None, text: Tensor | None, dtype: torch.dtype, text_mask: Tensor | None = None) -> RewardSignal:
        """
        scores: (B, 3) in [0, 5], ordered as PERSPECTIVES, NaN for no wish
        text:   (B, text_dim), pooled state of the reward text
        returns tokens (B, 1 or 2, token_dim) and term (B, term_dim)
        """
        tokens, term = [], None
        if self.score_time is not None or self.score_token is not None:
            assert scores is not None, SEEN_TO
            sinusoid = score_sinusoid(scores[:, self.columns], self.sinusoid_channels).to(dtype)       # (B, P F)
            if self.score_token is not None:
                tokens.append(self.score_token(sinusoid))
            if self.score_time is not None:
                term = self.score_time(sinusoid)
        if self.text_token is not None:
            assert text is not None, SEEN_TO
            tokens.append(self.text_token(text.to(dtype)))
        if self.text_time is not None:
            assert text is not None, SEEN_TO
            text_term = self.text_time(text.to(dtype))
            term = text_term if term is None else term + text_term
        return RewardSignal(torch.stack(tokens, dim=1) if tokens else None, None, term)


class PaperCondition(nn.Module):
    """The condition as the paper writes it: c_R = [score embedding + its type, states of the reward text + their type] (Eq. 5-6);
    Linear_1 makes keys and values of it (Eq. 2), and each block's own Linear_2 reads one vector of it (Eq. 3).

    How c_R, a sequence, becomes one vector the paper leaves open. Like the released code, which sums one vector for the scores and one for
    the text, we take the score embedding plus the mean of the text's tokens (`term_pooling` "kinds"). The mean of all tokens ("tokens", as
    our versions before had it) makes the scores count less the longer the text is.
    """

    def __init__(self, *, use_score: bool, use_text: bool, use_attention: bool, use_addition: bool, perspectives: Sequence[str],
                 text_dim: int, sinusoid_channels: int, token_dim: int, term_pooling: str = "kinds") -> None:
        super().__init__()
        self.columns = perspective_columns(perspectives)
        self.sinusoid_channels = sinusoid_channels
        self.use_addition = use_addition
        self.term_pooling = term_pooling
        self.score_mlp = TimestepEmbedding(len(self.columns) * sinusoid_channels, text_dim) if use_score else None
        self.use_text = use_text
        self.type_embedding = nn.Embedding(len(TYPES), text_dim)
        self.linear_1 = nn.Linear(text_dim, token_dim) if use_attention else None

    def forward(self, scores: Tensor | None, text: Tensor | None, dtype: torch.dtype, text_mask: Tensor | None = None) -> RewardSignal:
        """
        scores:    (B, 3) in [0, 5], ordered as PERSPECTIVES, NaN for no wish
        text:      (B, T, text_dim), states of the reward text's tokens
        text_mask: (B, T), true for tokens that are not padding; none = all
        returns tokens (B, 1 + T, token_dim) and term (B, text_dim)
        """
        given = text if self.score_mlp is None else scores
        assert given is not None, SEEN_TO
        device = given.device
        score_type, text_type = self.type_embedding(torch.arange(len(TYPES), device=device)).to(dtype)          # (text_dim,) each
        parts, masks = [], []
        if self.score_mlp is not None:
            assert scores is not None, SEEN_TO
            sinusoid = score_sinusoid(scores[:, self.columns], self.sinusoid_channels).to(dtype)
            parts.append((self.score_mlp(sinusoid) + score_type)[:, None])                                      # (B, 1, text_dim)
            masks.append(torch.ones(parts[0].shape[:2], dtype=torch.bool, device=device))
        if self.use_text:
            assert text is not None, SEEN_TO
            parts.append(text.to(dtype) + text_type)                                                            # (B, T, text_dim)
            masks.append(torch.ones(text.shape[:2], dtype=torch.bool, device=text.device) if text_mask is None else text_mask.bool())
        condition, mask = torch.cat(parts, dim=1), torch.cat(masks, dim=1)                                      # c_R and its (B, 1 + T)
        tokens = self.linear_1(condition) if self.linear_1 is not None else None
        if not self.use_addition:
            return RewardSignal(tokens, mask)
        if self.term_pooling == "tokens":
            return RewardSignal(tokens, mask, masked_mean(condition, mask))
        means = [masked_mean(part, part_mask) for part, part_mask in zip(parts, masks, strict=True)]            # (B, text_dim) each
        return RewardSignal(tokens, mask, sum(means[1:], means[0]))


def masked_mean(states: Tensor, mask: Tensor) -> Tensor:
    """(B, N, D), (B, N) bool -> (B, D): the mean over what the mask keeps."""
    weight = mask.to(states)[..., None]                                                                         # (B, N, 1)
    return (states * weight).sum(dim=1) / weight.sum(dim=1)


def linear(width_in: int, width_out: int, zero_init: bool) -> nn.Linear:
    """A linear layer, without effect at first if so asked."""
    layer = nn.Linear(width_in, width_out)
    if zero_init:
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    return layer
