"""How a small U-Net's output becomes a picture, without anything that only drawn scenes have: a gated change on top of the original.

Per cell of its grid the network says what to paint, where (a gate per pixel), and how colours there should be mixed from the original and a
few filtered views of it. The filters are learned. The same is said once of the picture as a whole. A narrow branch at full resolution
adds what cells are too coarse for. Where the gate is shut the original keeps every pixel.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mre.models.condition import linear

FILTERS, FILTER_SIDE = 6, 5     # learned views of the original: sharper, softer, edges, whatever training makes of them
BRANCH_WIDTH = 12               # channels of the branch at full resolution
MIX = 9 + 3 + FILTERS           # weights: colour matrix, offset, views
PAINT_GAIN, MIX_GAIN = 0.25, 0.1        # smaller steps where a small number moves many pixels: training is unstable without
LARGEST_CHANGE = 3.0            # of a pixel in [-1, 1], so that black to white is within easy reach
GATE_BIAS = -2.0                # an untrained gate is nearly shut: sigmoid(-2) = 0.12


class GenericHead(nn.Module):
    """Channels of a U-Net's output -> an edited picture."""

    def __init__(self, patch_size: int, state_dim: int) -> None:
        """patch_size: side of a grid cell in pixels, f. state_dim: width of what is known of instruction, reward and chance"""
        super().__init__()
        self.patch_size = patch_size
        self.sections = patch_size**2, 3 * patch_size**2, MIX, BRANCH_WIDTH         # gate, paint, mixture, what modulates the branch
        self.kernels = nn.Parameter(torch.randn(FILTERS, 1, FILTER_SIDE, FILTER_SIDE) * 0.1)
        self.whole = nn.Sequential(nn.SiLU(), linear(state_dim, 1 + MIX, zero_init=True))
        self.bend = nn.Sequential(nn.SiLU(), linear(state_dim, 2 * BRANCH_WIDTH, zero_init=True))
        self.inward = nn.Conv2d(4, BRANCH_WIDTH, 3, padding=1)
        self.middle = nn.Conv2d(BRANCH_WIDTH, BRANCH_WIDTH, 3, padding=1)
        self.outward = nn.Conv2d(BRANCH_WIDTH, 3, 3, padding=1)
        for parameter in self.outward.parameters():
            nn.init.zeros_(parameter)

    @property
    def channels(self) -> int:
        """Output channels that the U-Net needs."""
        return sum(self.sections)

    def forward(self, features: Tensor, original: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """The edited picture and where it was changed.

        features: (B, channels, h, w)
        original: (B, 3, H, W) in [-1, 1], H = h f
        state:    (B, state_dim)
        returns   (B, 3, H, W) and gate logits (B, 1, H, W); zero features and an untrained head give the original back exactly
        """
        gate, paint, mix, branch = features.split(self.sections, dim=1)
        opening, whole = self.whole(state)[..., None, None].split([1, MIX], dim=1)                        # (B, 1, 1, 1), (B, MIX, 1, 1)
        logits = F.pixel_shuffle(gate, self.patch_size) + GATE_BIAS + opening                             # (B, 1, H, W)
        with torch.autocast(features.device.type, enabled=False):                                         # pixels keep their precision
            original, logits = original.float(), logits.float()
            change = F.pixel_shuffle(paint.float() * PAINT_GAIN, self.patch_size)                         # (B, 3, H, W)
            change = change + self._mixed(_smoothly(mix.float() * MIX_GAIN, self.patch_size) + whole.float(), original)
        change = change + self._detail(original, logits, branch, state)
        change = LARGEST_CHANGE * torch.tanh(change.float() / LARGEST_CHANGE)       # a few wild pixels would wreck the training
        return original + logits.sigmoid() * change, logits

    def _mixed(self, weights: Tensor, original: Tensor) -> Tensor:
        """(B, MIX, H, W) weights and the original -> (B, 3, H, W): colours of each pixel mixed anew, and views added."""
        matrix, offset, views = weights.split([9, 3, FILTERS], dim=1)
        change = offset + torch.einsum("bijhw,bjhw->bihw", matrix.unflatten(1, (3, 3)), original)
        reach = FILTER_SIDE // 2
        planes = F.pad(original, (reach,) * 4, mode="replicate").flatten(0, 1)[:, None]                   # (3 B, 1, H + 4, W + 4)
        seen = F.conv2d(planes, self.kernels.float()).unflatten(0, original.shape[:2])                    # (B, 3, FILTERS, H, W)
        return change + torch.einsum("bkhw,bckhw->bchw", views, seen)

    def _detail(self, original: Tensor, logits: Tensor, branch: Tensor, state: Tensor) -> Tensor:
        """(B, 3, H, W): what the branch at full resolution adds, modulated by the cells (B, BRANCH_WIDTH, h, w) and by the state."""
        scale, shift = self.bend(state)[..., None, None].chunk(2, dim=1)
        hidden = self.inward(torch.cat([original, logits.sigmoid()], dim=1)) * (1 + scale) + shift
        hidden = F.silu(hidden) * (1 + _smoothly(branch, self.patch_size))
        return self.outward(F.silu(self.middle(hidden)))


def _smoothly(cells: Tensor, size: int) -> Tensor:
    """(B, C, h, w) -> (B, C, h size, w size), bilinear between the middles of cells."""
    return F.interpolate(cells, scale_factor=size, mode="bilinear", align_corners=False)
