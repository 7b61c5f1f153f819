"""The U-Net as its stock forward sees it, so that the parent's code runs unchanged with our steps between its own.

The stock forward is one function: what happens between its steps can only be changed through what it finds on `self`. It is handed a
`StockView`, on which the input convolution has been applied already and, in the paper's variant, each block adds a term to its output.
Everything else is the model's own. Modules stay in their stock places under their stock names and each is called once, through its own
forward, so that offload hooks, adapters, casting and sharding reach it; nothing is set on a module, before a call or between calls.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel


class StockView:
    """A U-Net with some of its attributes replaced; all others are read from the model."""

    def __init__(self, unet: UNet2DConditionModel, blocks_with_terms: tuple[BlockWithTerm, ...] = ()) -> None:
        """blocks_with_terms: down blocks, middle block if there is one, up blocks; none for the model's own"""
        self.unet = unet
        self.conv_in = _applied_already
        if blocks_with_terms:
            down = len(unet.down_blocks)
            self.down_blocks, self.up_blocks = blocks_with_terms[:down], blocks_with_terms[-len(unet.up_blocks):]
            self.mid_block = None if unet.mid_block is None else blocks_with_terms[down]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unet, name)


class BlockWithTerm:
    """A block of the U-Net that adds its own linear map of the reward condition to the hidden state that it hands on (Eq. 3 as the
    paper writes it). Its skip connections are left as they are."""

    def __init__(self, block: nn.Module, linear: nn.Module, condition: Tensor, present: Tensor | None) -> None:
        """
        linear:    Linear_2, to the block's channels
        condition: (B, D), c_R
        present:   (B,) bool, False for samples that are read without a reward; none = all have one
        """
        self.block, self.linear, self.condition, self.present = block, linear, condition, present

    def __call__(self, *args: Any, **kwargs: Any) -> Tensor | tuple[Tensor, ...]:
        output = self.block(*args, **kwargs)
        hidden, *skips = output if isinstance(output, tuple) else (output,)
        term = self.linear(self.condition)                                                            # (B, C)
        if self.present is not None:
            term = term * self.present.to(term)[:, None]
        hidden = hidden + term[..., None, None]
        return (hidden, *skips) if skips else hidden

    def __getattr__(self, name: str) -> Any:
        return getattr(self.block, name)


def _applied_already(hidden: Tensor) -> Tensor:
    return hidden
