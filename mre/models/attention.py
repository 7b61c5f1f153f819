"""Self-attention of a U-Net in bfloat16 on a CPU whose own kernel in torch gains nothing by that format.

Without AMX, torch's kernel computes bfloat16 no faster than float32, products of matrices twice as fast. A block of queries at a time:

    softmax(scale (q k^T - m)) v

The product is rounded to bfloat16, 8 bits, before the softmax reads it, which would spoil sharp attention, where the scores that count are
large. m is therefore taken off inside the product, as one more column of q and k, and before rounding: of each query the largest score with
some of the keys. It cancels in the softmax, and scores near it, which are those that count, are small and rounded finely.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.models.attention import BasicTransformerBlock
from diffusers.models.attention_processor import Attention, AttnProcessor2_0
from torch import Tensor, nn

LONG = 2048             # tokens from which on it was found quicker: at 4096 by nearly half, at 1024 hardly on a busy machine
HELD = 2 ** 20          # scores at a time: 2 MB, which stay in the processor's cache
FEWEST = 64             # queries at a time, however many keys there are: products of fewer rows are slow
SAMPLED = 256           # about so many keys, that m is the largest score of
WIDTHS = 16             # torch's products of matrices want columns in multiples of it


class ChunkedAttention(AttnProcessor2_0):
    """The stock processor, but for long self-attention in bfloat16 on a CPU without gradients."""

    def __call__(self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Tensor | None = None,
                 attention_mask: Tensor | None = None, temb: Tensor | None = None, *args: Any, **kwargs: Any) -> Tensor:
        """hidden_states: (B, T, C). Returns the same shape."""
        if (encoder_hidden_states is not None or attention_mask is not None or hidden_states.shape[1] < LONG
                or hidden_states.dtype != torch.bfloat16 or hidden_states.device.type != "cpu" or torch.is_grad_enabled()
                or torch.compiler.is_compiling()):
            return super().__call__(attn, hidden_states, encoder_hidden_states, attention_mask, temb, *args, **kwargs)
        query, key, value = (project(hidden_states).unflatten(-1, (attn.heads, -1)).transpose(1, 2)       # (B, H, T, D)
                             for project in (attn.to_q, attn.to_k, attn.to_v))
        mixed = chunked_attention(query, key, value).flatten(2)                                            # (B, T, H D)
        return attn.to_out[1](attn.to_out[0](mixed))


@contextmanager
def quick_attention(unet: nn.Module) -> Iterator[None]:
    """Inside, long self-attention of a U-Net is computed by `chunked_attention` where that is quicker. Processors that were set stay."""
    stock: list[Attention] = []
    if getattr(unet, "dtype", None) == torch.bfloat16 and gains_nothing_by_bfloat16():
        # diffusers gives the first attention of these blocks neither norms nor a residual connection of its own
        stock = [block.attn1 for block in unet.modules() if isinstance(block, BasicTransformerBlock)
                 and block.attn1 is not None and type(block.attn1.processor) is AttnProcessor2_0]
    own = [attention.processor for attention in stock]
    for attention in stock:
        attention.set_processor(_CHUNKED)
    try:
        yield
    finally:
        for attention, processor in zip(stock, own, strict=True):
            attention.set_processor(processor)


def gains_nothing_by_bfloat16() -> bool:
    """Whether this is a processor on which torch's own kernel of attention was measured to gain nothing."""
    units = torch.cpu.get_capabilities()
    return bool(units.get("avx512_bf16")) and not units.get("amx_bf16")


def chunked_attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """softmax(q k^T / sqrt(D)) v, without gradients.

    query, key, value: (B, H, T, D), bfloat16
    returns (B, T, H, D)
    """
    batch, heads, tokens, width = query.shape
    together = max(1, min(heads, HELD // tokens ** 2))                          # heads at a time
    rows = min(tokens, max(FEWEST, HELD // tokens))                             # queries at a time
    stride = max(1, tokens // SAMPLED) | 1                                      # odd: not one column of a picture
    out = query.new_empty(batch, tokens, heads, width)
    padded = -(-width // WIDTHS) * WIDTHS
    for picture in range(batch):
        for first in range(0, heads, together):
            part = slice(first, first + together)
            q, k, v = query[picture, part], key[picture, part], value[picture, part]                    # (G, T, D)
            largest = (q @ k[:, ::stride].mT).amax(-1, keepdim=True)                                    # (G, T, 1)
            q = torch.cat([q, largest], -1)                                                             # (G, T, D + 1)
            k = torch.cat([k, k.new_full(largest.shape, -1)], -1).mT                                    # (G, D + 1, T)
            v = nn.functional.pad(v, (0, padded - width))
            scores = q.new_empty(len(q), rows, tokens)
            for start in range(0, tokens, rows):
                some = q[:, start:start + rows]
                held = scores[:, :some.shape[1]]
                torch.baddbmm(held, some, k, beta=0, alpha=width ** -0.5, out=held)                     # (G, R, T)
                torch.softmax(held, -1, out=held)
                out[picture, start:start + rows, part] = (held @ v)[..., :width].transpose(0, 1)
    return out


_CHUNKED: Any = ChunkedAttention()
