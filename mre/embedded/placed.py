"""What the U-Nets of the embedded editors share: their output, and a convolution that knows where in the picture it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from diffusers.utils import BaseOutput
from torch import Tensor, nn


@dataclass
class GatedOutput(BaseOutput):
    """sample: (B, 3 f^2, h, w), the edited picture's scaled latents; mask_logits: (B, 1, h f, w f), where the picture is changed."""

    sample: Tensor
    mask_logits: Tensor | None = None


class PlacedConvolution(nn.Conv2d):
    """A convolution whose output also tells each cell where in the picture it is; other sizes take the places stretched. Made with the
    arguments of any convolution, of which an adapter makes its own of the same class, it tells no places."""

    place: nn.Parameter | None

    def __init__(self, *convolution: Any, side: int = 0, **settings: Any) -> None:
        """side: cells a side of the map of places"""
        super().__init__(*convolution, **settings)
        self.register_parameter("place", nn.Parameter(torch.zeros(1, self.out_channels, side, side)) if side else None)

    def forward(self, sample: Tensor) -> Tensor:
        hidden = super().forward(sample)
        if self.place is None:
            return hidden
        return hidden + F.interpolate(self.place, hidden.shape[-2:], mode="bilinear", align_corners=False).to(hidden.dtype)
