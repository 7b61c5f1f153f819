"""The reward condition of a transformer editor: tokens of scores and reward text, what reads them, and the term in the modulation.

In a softmax, an extra token takes weight from the others whatever its value, so tokens that are appended to the text would change an
untrained model. Here the text stream reads them through an attention of its own whose output begins at zero (`RewardReader`): the untrained
model equals its parent bit for bit, the sequence keeps its length, and with it position ids, masks, caches and the plans that split a
sequence over devices stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from diffusers.models.embeddings import TimestepEmbedding
from torch import Tensor, nn

from mre.models.condition import RewardSignal, linear, perspective_columns, score_sinusoid


class TokenCondition(nn.Module):
    """c_R of a transformer (Eq. 5-6): a token for each score that is asked for, and those of each perspective's reward text.

    A score is not asked for where it is NaN ("no wish"), a text where its mask is false; they have no tokens then.
    """

    def __init__(self, *, use_score: bool, use_text: bool, use_attention: bool, use_addition: bool, perspectives: Sequence[str],
                 text_dim: int, width: int, sinusoid_channels: int, term_dim: int) -> None:
        super().__init__()
        self.columns = perspective_columns(perspectives)
        self.sinusoid_channels = sinusoid_channels
        self.use_attention = use_attention
        self.scores = nn.ModuleList(TimestepEmbedding(sinusoid_channels, width) for _ in self.columns) if use_score else None
        self.text_norm = nn.LayerNorm(text_dim, elementwise_affine=False) if use_text else None
        self.text = nn.Linear(text_dim, width) if use_text else None
        self.text_type = nn.Embedding(len(self.columns), width) if use_text else None               # which perspective a text is of
        self.term = TimestepEmbedding(width, width, out_dim=term_dim) if use_addition else None
        if self.term is not None:
            nn.init.zeros_(self.term.linear_2.weight)
            nn.init.zeros_(self.term.linear_2.bias)

    def forward(self, scores: Tensor | None, text: Tensor | None, text_mask: Tensor | None, dtype: torch.dtype) -> RewardSignal:
        """
        scores:    (B, 3) in [0, 5], ordered as PERSPECTIVES, NaN for no wish
        text:      (B, 3, T, text_dim), states of the tokens of each perspective's text
        text_mask: (B, 3, T), true for tokens that are read; none = all
        returns tokens (B, P + P T, width), their mask, the term (B, term_dim), and which samples have any wish
        """
        tokens, masks, pooled = [], [], []
        if self.scores is not None:
            assert scores is not None, "the transformer refuses a call without"
            chosen = scores[:, self.columns]                                                              # (B, P)
            wished = ~chosen.isnan()
            waves = score_sinusoid(chosen.nan_to_num(), self.sinusoid_channels).to(dtype).chunk(len(self.columns), dim=1)
            embedded = torch.stack([embed(wave) for embed, wave in zip(self.scores, waves, strict=True)], dim=1)      # (B, P, width)
            tokens.append(embedded)
            masks.append(wished)
            pooled.append((embedded * wished[..., None]).sum(dim=1))                                      # (B, width)
        if self.text is not None and self.text_norm is not None and self.text_type is not None:
            assert text is not None, "the transformer refuses a call without"
            read = torch.ones(text.shape[:3], dtype=torch.bool, device=text.device) if text_mask is None else text_mask.bool()
            read = read[:, self.columns].flatten(1)                                                       # (B, P T)
            kinds = self.text_type(torch.arange(len(self.columns), device=text.device)).to(dtype)         # (P, width)
            states = self.text(self.text_norm(text[:, self.columns].to(dtype))) + kinds[:, None]          # (B, P, T, width)
            states = states.flatten(1, 2)
            tokens.append(states)
            masks.append(read)
            pooled.append((states * read[..., None]).sum(dim=1) / read.sum(dim=1, keepdim=True).clamp(min=1).to(dtype))
        mask = torch.cat(masks, dim=1)                                                                    # (B, P + P T)
        term = self.term(sum(pooled[1:], pooled[0])) if self.term is not None else None
        return RewardSignal(torch.cat(tokens, dim=1) if self.use_attention else None, mask, term, mask.any(dim=1))


class RewardReader(nn.Module):
    """Attention from the tokens of the instruction to those of the reward condition, added to the former. It begins without effect."""

    def __init__(self, dim: int, width: int, heads: int) -> None:
        """dim: of the text stream; width: of the reward's tokens and the attention. Raises ValueError for heads that do not divide it."""
        super().__init__()
        if width % heads:
            raise ValueError(f"reward_num_heads must divide reward_width ({width}), got {heads}")
        self.heads = heads
        self.text_norm = nn.LayerNorm(dim, elementwise_affine=False)
        self.query = nn.Linear(dim, width)
        self.key, self.value = nn.Linear(width, width), nn.Linear(width, width)
        self.out = linear(width, dim, zero_init=True)

    def forward(self, text: Tensor, tokens: Tensor, mask: Tensor, present: Tensor) -> Tensor:
        """
        text:    (B, L, dim), the instruction's tokens as the first block receives them
        tokens:  (B, N, width), the reward condition
        mask:    (B, N) bool, true for tokens that are read
        present: (B,) bool, false for samples without any
        returns  (B, L, dim)
        """
        query, key, value = (self._split(part) for part in (self.query(self.text_norm(text)), self.key(tokens), self.value(tokens)))
        seen = mask | ~present[:, None]                     # a row without any token would become NaN; its result is not used
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=seen[:, None, None])          # (B, heads, L, width / heads)
        change = self.out(mixed.transpose(1, 2).flatten(2))
        return text + torch.where(present[:, None, None], change, 0)

    def _split(self, states: Tensor) -> Tensor:
        return states.unflatten(-1, (self.heads, -1)).transpose(1, 2)
