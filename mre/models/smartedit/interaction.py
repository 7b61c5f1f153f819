"""The bidirectional interaction module (BIM): query tokens and picture patches inform each other before both reach the U-Net."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mre.models.smartedit.qformer import Attention

CONTEXT_SHARE = 0.5         # of its correction that is added to the query tokens; a literal of the reference


class TwoWayLayer(nn.Module):
    """Tokens attend to each other and to the picture; the picture attends to the tokens."""

    def __init__(self, width: int, heads: int, hidden: int, inner: int, first: bool) -> None:
        super().__init__()
        self.first = first
        self.self_attention = Attention(width, heads)
        self.tokens_from_image, self.image_from_tokens = Attention(width, heads, inner=inner), Attention(width, heads, inner=inner)
        self.hidden, self.out = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.norm1, self.norm2, self.norm3, self.norm4 = (nn.LayerNorm(width) for _ in range(4))

    def forward(self, tokens: Tensor, image: Tensor, token_code: Tensor, image_code: Tensor) -> tuple[Tensor, Tensor]:
        """(B, Q, D), (B, P, D) and the position codes of both -> the same two, informed."""
        if self.first:                              # as in the reference: neither a residual nor a position code
            tokens = self.norm1(self.self_attention(tokens, tokens, tokens))
        else:
            coded = tokens + token_code
            tokens = self.norm1(tokens + self.self_attention(coded, coded, tokens))
        tokens = self.norm2(tokens + self.tokens_from_image(tokens + token_code, image + image_code, image))
        tokens = self.norm3(tokens + self.out(F.relu(self.hidden(tokens))))
        image = self.norm4(image + self.image_from_tokens(image + image_code, tokens + token_code, tokens))
        return tokens, image


class BidirectionalInteraction(nn.Module):
    """From query tokens and patch features to what the U-Net attends to, and to what joins its first features. A new one hands on the
    query tokens as they are, and a residual of zeros."""

    frequencies: Tensor

    def __init__(self, *, width: int = 1024, query_width: int = 768, unet_channels: int = 320, heads: int = 8, hidden: int = 2048,
                 depth: int = 2) -> None:
        super().__init__()
        self.token_in = nn.Linear(query_width, width)
        self.register_buffer("frequencies", torch.randn(2, width // 2))
        self.layers = nn.ModuleList(TwoWayLayer(width, heads, hidden, width // 2, first=layer == 0) for layer in range(depth))
        self.final_attention, self.final_norm = Attention(width, heads, inner=width // 2), nn.LayerNorm(width)
        self.context_out, self.residual_out = nn.Linear(width, query_width), nn.Conv2d(width, unet_channels, kernel_size=1)
        for parameter in (*self.context_out.parameters(), *self.residual_out.parameters()):
            nn.init.zeros_(parameter)

    def position_code(self, side: int) -> Tensor:
        """(side * side, D): sines and cosines of random projections of (x, y) in [-1, 1], row by row."""
        centres = ((torch.arange(side, device=self.frequencies.device) + 0.5) / side * 2 - 1).to(self.frequencies)
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        angles = 2 * math.pi * torch.stack([x, y], dim=-1).flatten(0, 1) @ self.frequencies                     # (P, D / 2)
        return torch.cat([angles.sin(), angles.cos()], dim=-1)

    def exchange(self, queries: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """(B, Q, query_width), (B, P, D) -> (B, Q, D), (B, P, D): both, after they have informed each other."""
        tokens = token_code = self.token_in(queries)
        image_code = self.position_code(math.isqrt(image.shape[1]))
        for layer in self.layers:
            tokens, image = layer(tokens, image, token_code, image_code)
        return self.final_norm(tokens + self.final_attention(tokens + token_code, image + image_code, image)), image

    def forward(self, queries: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """
        queries: (B, Q, query_width), from the Q-Former
        image:   (B, P, D), features of a square of patches, row by row
        returns  (B, Q, query_width), and (B, unet_channels, g, g) where P = g * g
        """
        tokens, image = self.exchange(queries, image)
        side = math.isqrt(image.shape[1])
        residual = self.residual_out(image.transpose(1, 2).unflatten(2, (side, side)))                          # (B, C, g, g)
        return queries + CONTEXT_SHARE * self.context_out(tokens), residual
