"""How the embedded editor turns what its U-Net says into a picture: a gated change on top of the original.

A small network cannot carry a photograph through its trunk. So it does not paint the picture; it says, for each cell of its grid, how
colours there should be mixed from the original and a few fixed views of it (blurred, in blocks, in few colours, displaced, as lines),
in which colours a few fixed patterns cover it, what to paint where that is not enough, and, per pixel, where the change belongs.
Beside the cells, something is said of the picture as a whole: a mixture for all cells alike (black and white or sepia need nothing else),
how much of what the cells say counts at all (for black and white, none of it), and what happens to the finished picture: how far it is
moved, and whether it comes out blurred, in blocks, in bands or doubled. Where the gate is shut, and no such finish or move is asked for,
the original keeps every pixel. There are no weights here; only the layout of what is said, and the arithmetic from that to a picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from mre.data.scenes.patterns import PATTERNS, amounts

BLUR_SIGMAS = (1.2, 3.0)        # pixels at the native size
FEW_COLOURS = 4                 # levels per channel of the posterised view
PAINT_GAIN, MIX_GAIN = 0.25, 0.1        # smaller steps where a small number moves many pixels: training is unstable without
INK_GAIN = 0.5                  # of the patterns, which are seldom asked for and then in full
LARGEST_CHANGE = 3.0            # of a pixel in [-1, 1], so that black to white is within easy reach
MOVE_GAIN = 0.06                # an output of 1 moves the picture by 6 % of a side, or nearer by a factor of exp(0.06)
FURTHEST = 0.5                  # of a side, and as the logarithm of a zoom
LEAST_MOVE = 0.5                # pixels: a picture that nothing in it would move further by stays as it is
GATE_BIAS = -2.0                # an untrained gate is nearly shut: sigmoid(-2) = 0.12
VIEWS = 6                       # two blurs, large and small blocks, few colours, displaced
DRAWINGS = 2                    # outlines and local contrast: one channel each, drawn in a colour of its own, as patterns are
FINISH_VIEWS = 4                # of the picture as mixed and moved: blurred, in blocks, in few colours, displaced
BLEND = 9 + 3 + VIEWS + 3 * DRAWINGS        # a cell's weights: colour matrix, offset, views, inks
MIXTURE = BLEND + 3 * len(PATTERNS)         # and the inks of patterns
MOTION = 3                      # right, down, nearer
# What is said of the whole picture: weights that join every cell's; a gate; how strongly each of the cells' weights, their paint and the
# scenery count (0: as they are; down to nothing, up to twice); the finish; the move.
OVERALL_SECTIONS = MIXTURE, 1, MIXTURE + 2, FINISH_VIEWS, MOTION
OVERALL = sum(OVERALL_SECTIONS)


@dataclass(frozen=True)
class EditHead:
    """Channels of a U-Net's output <-> an edited picture. `patch_size` is the side of a grid cell in pixels."""

    patch_size: int

    @property
    def channels(self) -> int:
        """Output channels that the U-Net needs, one set per cell: gate, paint and mixture."""
        return sum(self._sections)

    @property
    def _sections(self) -> tuple[int, int, int]:
        area = self.patch_size**2
        return area, 3 * area, MIXTURE

    def compose(self, features: Tensor, original: Tensor, overall: Tensor, scenery: Tensor) -> tuple[Tensor, Tensor]:
        """The edited picture and where it was changed.

        features: (B, channels, h, w)
        original: (B, 3, H, W) in [-1, 1], H = h * patch_size
        overall:  (B, OVERALL), what is said of the whole picture, in the order of OVERALL_SECTIONS
        scenery:  (B, 3, H, W), what is painted beside the cells' own paint
        returns   (B, 3, H, W) and gate logits (B, 1, H, W); zeros for all but the original give it back exactly
        """
        with torch.autocast(features.device.type, enabled=False):       # pixels keep their precision, and CPUs are slow at bfloat16 here
            return self._compose(features.float(), original.float(), overall.float(), scenery.float())

    def _compose(self, features: Tensor, original: Tensor, overall: Tensor, scenery: Tensor) -> tuple[Tensor, Tensor]:
        gate, paint, weights = features.split(self._sections, dim=1)
        mixture, opening, strengths, finish, motion = overall[..., None, None].split(OVERALL_SECTIONS, dim=1)
        of_mixture, of_paint, of_scenery = (1 + strengths.tanh()).split([MIXTURE, 1, 1], dim=1)
        logits = F.pixel_shuffle(gate, self.patch_size) + GATE_BIAS + opening                                 # (B, 1, H, W)
        weights = torch.cat([weights[:, :BLEND] * MIX_GAIN, weights[:, BLEND:] * INK_GAIN], dim=1) * of_mixture + mixture
        matrix, offset, views, ink = _smoothly(weights, self.patch_size).split([9, 3, VIEWS, 3 * (DRAWINGS + len(PATTERNS))], dim=1)
        change = F.pixel_shuffle(paint * PAINT_GAIN, self.patch_size) * of_paint + offset + scenery * of_scenery      # (B, 3, H, W)
        for channel, column in enumerate(matrix.chunk(3, dim=1)):
            change = change + column * original[:, channel:channel + 1]
        with torch.no_grad():
            soft, softer = (_blur(original, sigma) for sigma in BLUR_SIGMAS)
            seen = (soft, softer, _blocks(original, self.patch_size), _blocks(original, self.patch_size // 2),
                    _few_colours(_vivid(soft)), self._displaced(original))
            drawings = _outlines(original), _local_contrast(original), *_patterns(*original.shape[-2:], original.device)
        for weight, view in zip(views.chunk(VIEWS, dim=1), seen, strict=True):
            change = change + weight * (view - original)
        for colour, drawing in zip(ink.split(3, dim=1), drawings, strict=True):
            change = change + colour * drawing
        picture = original + logits.sigmoid() * _bounded(change, LARGEST_CHANGE)
        picture = _moved(picture, _bounded(motion[..., 0, 0] * MOVE_GAIN, FURTHEST))
        with torch.no_grad():       # the finish learns how much of each view to take; the views themselves are taken as given
            seen = _blur(picture, BLUR_SIGMAS[0]), _blocks(picture, self.patch_size), _few_colours(picture), self._displaced(picture)
        for weight, view in zip(_bounded(finish, 1.0).chunk(FINISH_VIEWS, dim=1), seen, strict=True):
            picture = picture + weight * (view - picture)
        return picture, logits

    def _displaced(self, picture: Tensor) -> Tensor:
        """The picture half a cell to the right, its left edge repeated: what a double image adds."""
        step = self.patch_size // 2
        return F.pad(picture, (step, 0, 0, 0), mode="replicate")[..., :-step]


def _bounded(values: Tensor, limit: float) -> Tensor:
    """Nearly as they are where small, never beyond +-limit. Without bounds a few wild pixels wreck the training."""
    return limit * torch.tanh(values / limit)


def _moved(picture: Tensor, motion: Tensor) -> Tensor:
    """(B, 3, H, W) moved as (B, MOTION) says: to the right by a share of the width, down by a share of the height, and nearer by a
    factor's logarithm. Edges are repeated. A move too small to be meant would only soften the picture: it is none, but for the gradient."""
    height, width = picture.shape[-2:]
    pixels = motion.detach().abs() * torch.tensor([width, height, max(width, height) / 2], device=motion.device)
    is_meant = pixels.sum(dim=1, keepdim=True) >= LEAST_MOVE
    motion = motion - torch.where(is_meant, 0.0, motion.detach())
    right, down, nearer = motion.unbind(dim=1)
    rows, columns = _reading(height, down, nearer), _reading(width, right, nearer)
    return rows[:, None] @ picture @ columns[:, None].mT


def _reading(size: int, move: Tensor, nearer: Tensor) -> Tensor:
    """(B, size, size): row i holds the weights of the two positions between which the moved position i is read."""
    from_middle = torch.arange(size, device=move.device) + 0.5 - size / 2
    places = (from_middle - move[:, None] * size) / nearer[:, None].exp() + size / 2 - 0.5                  # (B, size)
    away = places.clamp(0, size - 1)[..., None] - torch.arange(size, device=move.device)
    return (1 - away.abs()).clamp(min=0)


def _smoothly(cells: Tensor, size: int) -> Tensor:
    """(B, C, h, w) -> (B, C, h size, w size), bilinear between the middles of cells, as products with one matrix per axis."""
    height, width = cells.shape[-2:]
    return _between(height, size, cells) @ cells @ _between(width, size, cells).T


def _between(cells: int, size: int, like: Tensor) -> Tensor:
    """(cells size, cells): row i holds the weights of the cells that pixel i lies between."""
    unit = torch.eye(cells, device=like.device, dtype=like.dtype)
    return F.interpolate(unit[None], scale_factor=size, mode="linear", align_corners=False)[0].T


def _blur(picture: Tensor, sigma: float) -> Tensor:
    """Gaussian blur along both axes, edges repeated: a product with one banded matrix per axis, which is fastest on every device."""
    height, width = picture.shape[-2:]
    return _blur_matrix(height, sigma, picture) @ picture @ _blur_matrix(width, sigma, picture).T


def _blur_matrix(size: int, sigma: float, like: Tensor) -> Tensor:
    """(size, size): row i holds the weights of the positions that the blurred position i is made of."""
    radius = int(2.5 * sigma + 0.5)
    offsets = torch.arange(-radius, radius + 1, device=like.device)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    places = (torch.arange(size, device=like.device)[:, None] + offsets).clamp(0, size - 1)         # edges are repeated
    matrix = torch.zeros(size, size, device=like.device).scatter_add_(1, places, (kernel / kernel.sum()).expand(size, -1).contiguous())
    return matrix.to(like.dtype)


def _blocks(picture: Tensor, size: int) -> Tensor:
    """Means over squares of `size` pixels."""
    return F.interpolate(F.avg_pool2d(picture, size), scale_factor=size, mode="nearest")


def _outlines(picture: Tensor) -> Tensor:
    """Strength of the brightness gradient, about 0 .. 1, one channel."""
    padded = F.pad(_grey(picture), (1, 1, 1, 1), mode="replicate")
    across = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
    down = padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
    return (across.square() + down.square()).sqrt().clamp(max=1.0)


def _local_contrast(picture: Tensor) -> Tensor:
    """Brightness relative to that of the surroundings, 0 where they are alike, at least -1 in dark lines; one channel."""
    light = (_grey(picture) + 1) / 2 + 0.06
    return (light / _blur(light, BLUR_SIGMAS[1]) - 1).clamp(max=0.5) * 2


@lru_cache(maxsize=8)
def _patterns(height: int, width: int, device: torch.device) -> tuple[Tensor, ...]:
    """Every pattern of `mre.data.scenes.patterns`, each (H, W); the longer side is what they are measured by."""
    x, y = ((np.arange(size, dtype=np.float32) + 0.5) / max(height, width) for size in (width, height))
    with torch.inference_mode(False):       # what is kept from an edit, a training may use
        return tuple(torch.from_numpy(amounts(name, x[None], y[:, None])).to(device) for name in PATTERNS)


def _grey(picture: Tensor) -> Tensor:
    red, green, blue = picture.split(1, dim=1)
    return 0.299 * red + 0.587 * green + 0.114 * blue


def _vivid(picture: Tensor) -> Tensor:
    """Colours half as strong again."""
    grey = _grey(picture)
    return grey + (picture - grey) * 1.5


def _few_colours(picture: Tensor) -> Tensor:
    """The picture in FEW_COLOURS levels per channel, each the middle of its step."""
    steps = ((picture.clamp(-1, 0.999) + 1) / 2 * FEW_COLOURS).floor()
    return (steps + 0.5) / FEW_COLOURS * 2 - 1
