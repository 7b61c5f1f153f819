"""Where original and edited picture differ: what the small editor's loss weighs by, and the mask that it learns to predict."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

SMALLEST_CHANGE = 1 / 64      # of a picture: a change smaller than this is weighed as if it were this large


def changed_mask(original: Tensor, edited: Tensor, everywhere: Tensor | None = None, threshold: float = 0.04) -> Tensor:
    """(B, 3, H, W) pictures in [-1, 1] -> (B, 1, H, W), 1 where any channel differs by more than `threshold` of the value range.

    everywhere: (B,) bool, where the edit is of the whole picture: its mask is all of it, if anything differs at all. A grey wall does not
    change when a picture loses its colours; a model that must find such walls opens its gate half, and half of the colours stay.
    """
    mask = ((edited - original).abs().amax(dim=1, keepdim=True) > 2 * threshold).float()
    if everywhere is None:
        return mask
    anything = mask.amax(dim=(1, 2, 3), keepdim=True)
    return torch.where(everywhere.to(mask.device)[:, None, None, None], anything, mask)


class ChangeMasks:
    """A term of every objective: weights by the mask of what was changed, and the loss of the mask that the U-Net predicts beside the
    picture. Its settings are those of EmbeddedSettings."""

    name = "mask"

    def __init__(self, config: Any) -> None:
        self.config, self.active, self.loss_weight = config, config.reads_masks, config.mask_loss_weight

    def read(self, original: Tensor, edited: Tensor, asked: Tensor, everywhere: Tensor | None) -> Tensor:
        """(B, 2, H, W): the mask of what was changed, which is learned, and that of what a flawless edit changes, which weighs."""
        return torch.cat([changed_mask(original, side, everywhere) for side in (edited, asked)], dim=1)

    def weight(self, extra: Tensor, size: tuple[int, int]) -> Tensor | None:
        """(B, 1, h, w): a cell counts as changed where a flawless edit changes any of its pixels. What was really changed says nothing
        here: weights that depend on the faults of an edit pull what is learned away from how often each fault is met."""
        if not (self.config.mask_weight or self.config.outside_weight):
            return None
        return self._emphasis(F.adaptive_max_pool2d(extra[:, 1:], size))

    def loss(self, output: Any, extra: Tensor) -> Tensor | None:
        """Cross-entropy of the predicted mask, for a U-Net that predicts one."""
        logits = getattr(output, "mask_logits", None)                                                   # (B, 1, H, W)
        changed = extra[:, :1]
        return None if logits is None else F.binary_cross_entropy_with_logits(logits.float(), changed, self._emphasis(changed))

    def _emphasis(self, mask: Tensor) -> Tensor:
        """Weights that give the changed part of each picture `mask_weight` times the weight of the whole, however small it is: else edits
        of the whole picture drown those of one object. What lies outside the change weighs `outside_weight` more for each pixel: else a
        model in doubt about a place paints in all of them. mask: (B, 1, h, w)."""
        share = mask.mean(dim=(1, 2, 3), keepdim=True).clamp(min=SMALLEST_CHANGE)
        return 1 + self.config.mask_weight * mask / share + self.config.outside_weight * (1 - mask)
