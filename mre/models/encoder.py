"""The reward encoder: latents attend to the reward condition before the first block of the U-Net (paper section 4.2, Eq. 2)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-12                 # of the layer norms, as released
HALF_EPS = 1e-5             # the same in float16 and bfloat16, where 1e-12 is 0 and a constant row would become NaN
WIDE = (torch.float32, torch.float64)


class TokenNorm(nn.LayerNorm):
    """Layer norm over the last axis whose epsilon suits the number format."""

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, EPS if x.dtype in WIDE else HALF_EPS)


class RewardAttention(nn.Module):
    """Multi-head attention from pixels to the tokens of the reward condition."""

    def __init__(self, dim: int, heads: int, dropout: float) -> None:
        super().__init__()
        if dim % heads:
            raise ValueError(f"reward_num_heads must divide the first of block_out_channels ({dim}), got {heads}")
        self.heads = heads
        self.dropout = dropout
        self.query, self.key, self.value, self.out = (nn.Linear(dim, dim) for _ in range(4))

    def weights(self, x: Tensor, tokens: Tensor, token_mask: Tensor | None = None) -> Tensor:
        """(B, L, C), (B, N, C) -> how much each pixel takes from each token, (B, heads, L, N)."""
        query, key = self._split(self.query(x)), self._split(self.key(tokens))
        logits = query @ (key * query.shape[-1] ** -0.5).transpose(-1, -2)
        if token_mask is not None:
            logits = logits.masked_fill(~token_mask[:, None, None], float("-inf"))
        return logits.softmax(dim=-1)

    def forward(self, x: Tensor, tokens: Tensor, token_mask: Tensor | None = None) -> Tensor:
        weights = F.dropout(self.weights(x, tokens, token_mask), self.dropout, self.training)
        mixed = weights @ self._split(self.value(tokens))                                             # (B, heads, L, C / heads)
        return self.out(mixed.transpose(1, 2).flatten(2))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)


class RewardEncoder(nn.Module):
    """A post-norm transformer block without self-attention, between a group norm with a 1x1 convolution and another 1x1 convolution,
    around all of which the latents pass unchanged. With `zero_init` it starts without effect."""

    def __init__(self, channels: int, heads: int, norm_groups: int, dropout: float, zero_init: bool) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(norm_groups, channels, eps=1e-6)
        self.proj_in = nn.Conv2d(channels, channels, kernel_size=1)
        self.attention = RewardAttention(channels, heads, dropout)
        self.attention_norm = TokenNorm(channels)
        self.hidden = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, channels)
        self.out_norm = TokenNorm(channels)
        self.proj_out = nn.Conv2d(channels, channels, kernel_size=1)
        self.dropout = nn.Dropout(dropout)
        if zero_init:
            for parameter in self.proj_out.parameters():
                nn.init.zeros_(parameter)

    def forward(self, hidden: Tensor, tokens: Tensor, token_mask: Tensor | None = None, present: Tensor | None = None) -> Tensor:
        """
        hidden:  (B, C, H, W), output of the input convolution
        tokens:  (B, N, C), the reward condition
        present: (B,) bool, False where the latents shall pass unchanged
        returns  (B, C, H, W)
        """
        queries = self.proj_in(self.norm(hidden)).flatten(2).transpose(1, 2)                          # (B, HW, C)
        seen = self.block(queries, tokens, token_mask)                                                # (B, HW, C)
        change = self.proj_out(seen.transpose(1, 2).unflatten(2, hidden.shape[-2:]))                  # (B, C, H, W)
        return hidden + (change if present is None else change * present[:, None, None, None])

    def block(self, queries: Tensor, tokens: Tensor, token_mask: Tensor | None = None) -> Tensor:
        """(B, L, C), (B, N, C) -> (B, L, C): attention and feed-forward, each added and normed after."""
        seen = self.attention_norm(queries + self.dropout(self.attention(queries, tokens, token_mask)))
        return self.out_norm(seen + self.dropout(self.out(F.gelu(self.hidden(seen)))))
