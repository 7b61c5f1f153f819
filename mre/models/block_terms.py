"""Eq. 3 as the paper writes it: each block of the U-Net, on its way out, adds its own linear map of the reward condition.

The stock forward hands every block one tensor beside its input, the time embedding. Here that tensor is a stack: row 0 is the time
embedding itself, row 1 + i the same plus what block i adds. So nothing is kept on a module between calls, and nothing is hooked.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class AddsTerm:
    """Mixed into a block's class: takes its own row from the stack, and adds it to the hidden state that the block hands on."""

    term_row: int

    def forward(self, hidden_states: Tensor, temb: Tensor, **kwargs: object):
        """temb: (1 + blocks, B, D). Skip connections are left as they are."""
        output = super().forward(hidden_states, temb=temb[0], **kwargs)
        hidden, *rest = output if isinstance(output, tuple) else (output,)
        term = (temb[self.term_row] - temb[0])[:, :hidden.shape[1]]                                   # (B, channels)
        hidden = hidden + term[..., None, None]
        return (hidden, *rest) if rest else hidden


class BlockTerms(nn.ModuleList):
    """Linear_2 of each block, zero at first if so asked."""

    def __init__(self, condition_dim: int, widths: Sequence[int], zero_init: bool) -> None:
        super().__init__(nn.Linear(condition_dim, width) for width in widths)
        for linear in self if zero_init else ():
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, condition: Tensor, width: int) -> Tensor:
        """c_R (B, condition_dim) -> (1 + blocks, B, width), what to add to a time embedding of that width to get the stack."""
        rows = [F.pad(linear(condition), (0, width - linear.out_features)) for linear in self]
        return torch.stack([torch.zeros_like(rows[0]), *rows])


def let_blocks_add_terms(blocks: Sequence[nn.Module]) -> None:
    """Give each block the class of its own kind that adds a term. Its parameters, and the names of its parts, stay what they are."""
    for index, block in enumerate(blocks):
        kind = type(block)
        block.__class__ = type(f"{kind.__name__}WithTerm", (AddsTerm, kind), {"term_row": 1 + index})
