"""The Q-Former: learned queries ask the language model's states for what the U-Net attends to (BLIP-2 without its text branch)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head attention. Keys and values may have another width than queries, and the heads together another than either."""

    def __init__(self, width: int, heads: int, source_width: int | None = None, inner: int | None = None, dropout: float = 0.0) -> None:
        super().__init__()
        source_width, inner = source_width or width, inner or width
        if inner % heads:
            raise ValueError(f"the number of heads must divide the inner width {inner}, got {heads}")
        self.heads, self.dropout = heads, dropout
        self.query, self.out = nn.Linear(width, inner), nn.Linear(inner, width)
        self.key, self.value = nn.Linear(source_width, inner), nn.Linear(source_width, inner)

    def forward(self, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
        """(B, N, width), (B, M, source_width) twice, (B, M) bool of what may be looked at -> (B, N, width)"""
        query, key, value = (layer(x).unflatten(-1, (self.heads, -1)).transpose(1, 2)                   # (B, heads, N or M, head)
                             for layer, x in ((self.query, queries), (self.key, keys), (self.value, values)))
        mixed = F.scaled_dot_product_attention(query, key, value, None if mask is None else mask[:, None, None],
                                               self.dropout if self.training else 0.0)
        return self.out(mixed.transpose(1, 2).flatten(2))


class QFormerLayer(nn.Module):
    """Self-attention, cross-attention where there is a source, feed-forward; each added and normed after."""

    def __init__(self, width: int, heads: int, hidden: int, source_width: int | None, eps: float, dropout: float) -> None:
        super().__init__()
        self.self_attention, self.self_norm = Attention(width, heads, dropout=dropout), nn.LayerNorm(width, eps)
        self.cross_attention = None
        if source_width is not None:
            self.cross_attention = Attention(width, heads, source_width, dropout=dropout)
            self.cross_norm = nn.LayerNorm(width, eps)
        self.hidden, self.out, self.out_norm = nn.Linear(width, hidden), nn.Linear(hidden, width), nn.LayerNorm(width, eps)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: Tensor, source: Tensor, mask: Tensor | None) -> Tensor:
        """(B, Q, width), (B, S, source_width), (B, S) -> (B, Q, width)"""
        x = self.self_norm(x + self.drop(self.self_attention(x, x, x)))
        if self.cross_attention is not None:
            x = self.cross_norm(x + self.drop(self.cross_attention(x, source, source, mask)))
        return self.out_norm(x + self.drop(self.out(F.gelu(self.hidden(x)))))


class QFormer(nn.Module):
    """Learned queries through layers of which every `cross_every`-th, from the first on, reads the source."""

    def __init__(self, *, queries: int = 77, width: int = 768, heads: int = 12, hidden: int = 3072, layers: int = 6,
                 source_width: int = 4096, cross_every: int = 2, eps: float = 1e-12, dropout: float = 0.1) -> None:
        super().__init__()
        self.queries = nn.Parameter(torch.randn(1, queries, width) * 0.02)
        self.norm, self.drop = nn.LayerNorm(width, eps), nn.Dropout(dropout)
        self.layers = nn.ModuleList(QFormerLayer(width, heads, hidden, None if layer % cross_every else source_width, eps, dropout)
                                    for layer in range(layers))

    def forward(self, source: Tensor, mask: Tensor | None = None) -> Tensor:
        """
        source: (B, S, source_width), the language model's states of its image tokens
        mask:   (B, S) bool, false for what is not read; none = all is
        returns (B, Q, width), in place of a text encoder's states
        """
        x = self.drop(self.norm(self.queries)).expand(len(source), -1, -1)
        for layer in self.layers:
            x = layer(x, source, mask)
        return x
