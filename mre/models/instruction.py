"""The door between an instruction (and, for encoders that look at it, the picture) and what the U-Net attends to.

A kind of model that reads instructions in another way brings an encoder of its own: its pipeline's `instruction_encoder`. Pipeline,
trainer and cache encode through it and through nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from mre.models.reward_text import encode_texts

NULL = ""           # the instruction of guidance branches without one, and of samples whose instruction is dropped


class EditCondition(NamedTuple):
    """What an instruction encoder makes of B instructions."""

    context: Tensor                     # (B, T, D): what the U-Net attends to
    null_context: Tensor                # (1, T, D): what stands in for an instruction that is dropped
    residual: Tensor | None = None      # (B, C, h, w): what joins the U-Net's first features; none for encoders that make states alone


class InstructionEncoder(Protocol):
    """Turns instructions into what the U-Net attends to."""

    reads_images: bool                  # whether it looks at the pictures: else they may be none

    def encode(self, instructions: Sequence[str], images: Any = None) -> EditCondition:
        """B instructions, and their B pictures."""
        ...

    def key(self, instruction: str, image: Any = None) -> str:
        """A name under which a cache may keep what `encode` makes of this one: alike only where that is alike."""
        ...


class CLIPInstructionEncoder:
    """The states of a CLIP text encoder, padded to the tokenizer's full length, since the U-Net attends to the padding too."""

    reads_images = False

    def __init__(self, tokenizer: Any, text_encoder: Any, device: torch.device | None = None) -> None:
        """device: where its inputs go; by default where the text encoder is"""
        self.tokenizer, self.text_encoder, self.device = tokenizer, text_encoder, device
        self._null: Tensor | None = None

    def encode(self, instructions: Sequence[str], images: Any = None) -> EditCondition:
        """Each different instruction is read once; a frozen encoder reads the null text once for all."""
        frozen = not any(parameter.requires_grad for parameter in self.text_encoder.parameters())
        if frozen and self._null is not None:
            return EditCondition(self._states(instructions), self._null)
        states = self._states([*instructions, NULL])                                # (B + 1, T, D)
        self._null = states[-1:] if frozen else None
        return EditCondition(states[:-1], states[-1:])

    def key(self, instruction: str, image: Any = None) -> str:
        """The instruction alone decides."""
        return instruction

    def _states(self, texts: Sequence[str]) -> Tensor:
        return encode_texts(texts, self.tokenizer, self.text_encoder, "max_length", self.device).tokens
