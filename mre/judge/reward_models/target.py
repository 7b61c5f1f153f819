"""A judge's body that predicts the clean edit at a quarter of the size, and says how far the picture is from it (`--body target`).

What was asked is read by the embedded reader, whose slots are features beside the words: its own plain ones where it understands an
instruction, in English or Chinese, and those that were typed where it does not. Where training knows the clean edit
(synthetic scenes), the prediction is taught directly; people's scores teach it through the distances alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from mre.families import request_reader
from mre.judge.reward_models.bodies import READER
from mre.judge.reward_models.heads import RewardHeads, Scores
from mre.judge.reward_models.tiny import InstructionWords, ToldBlock, mean_and_most, seen_square, spread, to_tensor, words_tensor
from mre.rewards import PERSPECTIVES

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

FINEST = 1e-4           # of a mean square, below which nothing differs
QUARTER = 4             # the clean edit is predicted at 1/4 of the side
MAPS = 8                # of the prediction: gate, red, green and blue of the target; red, green and blue of what was followed; mask
DEFECTS = {"following": ("", "missing", "wrong", "half", "weak"),
           "preserving": ("", "tinted", "faded", "darkened", "brightened", "uneven", "shifted", "zoomed", "recoloured", "removed"),
           "quality": ("", "blurred", "blocky", "banded", "ghosted", "noisy", "lined", "specked", "dull", "mottled")}
UNSEEN_WORDS = 0.5      # how often training hides the words, so that what is read carries the judge where words are new


@dataclass(frozen=True)
class TargetConfig:
    """Sizes of a TargetJudge. The defaults give 1.3 million weights."""

    size: int = 128                     # side in pixels at which pictures are compared
    widths: tuple[int, int, int, int] = (24, 40, 64, 96)       # channels at 1/2, 1/4, 1/8 and 1/16 of the side
    blocks: tuple[int, int] = (2, 2)    # residual blocks at 1/8 and 1/16
    read: tuple[str, ...] = ()          # what of the reader's answer is a feature, as "slot=value"; empty: all that it knows
    plain_words: bool = False           # whether instructions are put in the reader's own words first; not in judges of before
    word_buckets: int = 3000
    word_width: int = 48
    told: int = 128                     # width of what is asked
    queries: int = 3                    # places that the words look at
    features: int = 192
    hidden: int = 64
    defects: tuple[str, ...] = tuple(f"{name}={kind}" for name in PERSPECTIVES for kind in DEFECTS[name])       # named in training
    perspectives: tuple[str, ...] = PERSPECTIVES


class Drawn(NamedTuple):
    """What is known of drawn edits beside their scores.

    target, followed: (B, 3, S/4, S/4) in [-1, 1], the clean edit, and the edit as it was followed before anything was spoiled
    mask: (B, 1, S/4, S/4) in [0, 1], where the target differs; kinds: (B, P), number of each perspective's defect, -1 for one not named
    known: (B,), whether there is any of this
    """

    target: Tensor
    followed: Tensor
    mask: Tensor
    kinds: Tensor
    known: Tensor


class Prediction(NamedTuple):
    """Maps at 1/4 of the side as in Drawn, `mask` as a logit."""

    target: Tensor
    followed: Tensor
    mask: Tensor


class TargetJudge(nn.Module):
    """Original, edited and their difference under what is asked -> the clean edit -> distances to it -> a Gaussian per perspective."""

    kind = "target"

    def __init__(self, config: TargetConfig | None = None) -> None:
        super().__init__()
        self.config = config or TargetConfig()
        c = self.config
        w1, w2, w3, w4 = c.widths
        quarter = c.size // QUARTER
        self.words = InstructionWords(c.word_buckets, c.word_width)
        self.read = nn.Linear(len(c.read), c.told)
        self.asked = nn.Linear(2 * c.word_width, c.told)
        self.join_asked = nn.Linear(c.told, c.told)
        self.stem1 = nn.Conv2d(9, w1, 5, stride=2, padding=2)
        self.stem2 = nn.Conv2d(w1, w2, 3, stride=2, padding=1)
        self.colours = nn.Conv2d(9, w2, 1)
        self.place2 = nn.Parameter(torch.zeros(1, w2, quarter, quarter))         # what is left and right, above and below
        self.block2 = ToldBlock(w2, c.told)
        self.down3 = nn.Conv2d(w2, w3, 3, stride=2, padding=1)
        self.place3 = nn.Parameter(torch.zeros(1, w3, quarter // 2, quarter // 2))
        self.blocks3 = nn.ModuleList(ToldBlock(w3, c.told) for _ in range(c.blocks[0]))
        self.down4 = nn.Conv2d(w3, w4, 3, stride=2, padding=1)
        self.blocks4 = nn.ModuleList(ToldBlock(w4, c.told) for _ in range(c.blocks[1]))
        self.up3 = nn.Conv2d(w4, w3, 1)
        self.block_up3 = ToldBlock(w3, c.told)
        self.up2 = nn.Conv2d(w3, w2, 1)
        self.block_up2 = ToldBlock(w2, c.told)
        self.maps = nn.Conv2d(w2, MAPS, 1)
        self.ask = nn.Linear(c.told, c.queries * w3)
        self.key = nn.Conv2d(w3, w3, 1)
        pooled = 2 * w1 + 4 * w2 + 2 * w3 + 2 * w4 + c.queries * w3 + c.told + DISTANCES + TEXTURES
        self.join = nn.Sequential(nn.Linear(pooled, c.features), nn.SiLU())
        self.heads = RewardHeads(c.features, c.perspectives, c.hidden)
        self.defects = nn.Linear(c.features, len(c.defects))

    def forward(self, original: Tensor, edited: Tensor, words: Tensor, read: Tensor) -> Scores:
        """
        original, edited: (B, 3, size, size), in [-1, 1]
        words:            (B, T), numbers of words, 0 where there is none
        read:             (B, R), probabilities of what is asked, as config.read names them
        """
        return self.heads(self.features(original, edited, words, read)[0])

    def features(self, original: Tensor, edited: Tensor, words: Tensor, read: Tensor) -> tuple[Tensor, Prediction]:
        """(B, features), and the prediction that it rests on."""
        told = self.told(words, read)                                                   # (B, told)
        small, small_edited = (functional.avg_pool2d(picture, QUARTER) for picture in (original, edited))     # (B, 3, S/4, S/4)
        x1 = functional.silu(self.stem1(torch.cat([original, edited, edited - original], dim=1)))       # (B, w1, S/2, S/2)
        x2 = functional.silu(self.stem2(x1))                                            # (B, w2, S/4, S/4)
        x2 = x2 + self.colours(torch.cat([small, small_edited, small_edited - small], dim=1)) + self.place2
        x2 = self.block2(x2, told)
        x3 = self.down3(x2) + self.place3                                               # (B, w3, S/8, S/8)
        for block in self.blocks3:
            x3 = block(x3, told)
        x4 = self.down4(functional.silu(x3))                                            # (B, w4, S/16, S/16)
        for block in self.blocks4:
            x4 = block(x4, told)
        y3 = self.block_up3(x3 + self.up3(functional.interpolate(x4, scale_factor=2)), told)
        y2 = self.block_up2(x2 + self.up2(functional.interpolate(y3, scale_factor=2)), told)
        prediction = predicted(self.maps(functional.silu(y2)).float(), small, small_edited)
        pooled = [spread(x1), spread(x2), mean_and_most(y3), mean_and_most(x4), inside_and_outside(y2.float(), prediction.mask.sigmoid()),
                  self.looked_at(x3, told), told, distances(prediction, small, small_edited), textures(original, edited)]
        return self.join(torch.cat([part.float() for part in pooled], dim=-1)), prediction

    def told(self, words: Tensor, read: Tensor) -> Tensor:
        """(B, told): what is asked, from what the reader makes of it and from the words."""
        asked = self.asked(self.words(words))
        if self.training:
            asked = asked * (torch.rand(len(asked), 1, device=asked.device) >= UNSEEN_WORDS)
        return functional.silu(self.join_asked(functional.silu(self.read(read) + asked)))

    def looked_at(self, x: Tensor, told: Tensor) -> Tensor:
        """(B, queries * C): what is at the places that the words ask for."""
        values = x.flatten(2)                                                           # (B, C, N)
        asked = self.ask(told).unflatten(1, (self.config.queries, -1))                  # (B, Q, C)
        weights = (asked @ self.key(x).flatten(2) / x.shape[1] ** 0.5).softmax(-1)      # (B, Q, N)
        return (weights @ values.transpose(1, 2)).flatten(1)

    def taught(self, inputs: dict[str, Tensor], drawn: Drawn) -> tuple[Scores, Tensor]:
        """Scores, and how far the prediction is from what is known of the edits (0 where nothing is)."""
        features, found = self.features(**inputs)
        kinds = self.defects(features)
        return self.heads(features), drawn_loss(found, drawn) + self._kinds_loss(kinds, drawn.kinds)

    def _kinds_loss(self, logits: Tensor, kinds: Tensor) -> Tensor:
        total = logits.new_zeros(())
        for column, name in enumerate(PERSPECTIVES):
            places = [place for place, kind in enumerate(self.config.defects) if kind.startswith(f"{name}=")]
            if places and (kinds[:, column] >= 0).any():
                total = total + 0.1 * functional.cross_entropy(logits[:, places].float(), kinds[:, column], ignore_index=-1)
        return total

    def drawn(self, truths: Sequence[Any]) -> Drawn | None:
        """What is known of a batch, from each edit's DrawnEdit or None; None where nothing is known of any."""
        if not any(truths):
            return None
        side = self.config.size // QUARTER
        numbers = {name: [kind.partition("=")[2] for kind in self.config.defects if kind.startswith(f"{name}=")] for name in PERSPECTIVES}
        target, followed = torch.zeros(len(truths), 3, side, side), torch.zeros(len(truths), 3, side, side)
        mask, kinds = torch.zeros(len(truths), 1, side, side), torch.full((len(truths), len(PERSPECTIVES)), -1)
        for row, truth in enumerate(truths):
            if truth is None:
                continue
            target[row], followed[row] = (_shrunk(torch.from_numpy(part).permute(2, 0, 1), side) * (2 / 255) - 1
                                          for part in (truth.target, truth.followed))
            mask[row] = _shrunk(torch.from_numpy(truth.mask)[None], side)
            for column, name in enumerate(PERSPECTIVES):
                kinds[row, column] = numbers[name].index(truth.kinds[column]) if truth.kinds[column] in numbers[name] else -1
        device = self.place2.device
        return Drawn(target.to(device), followed.to(device), mask.to(device), kinds.to(device),
                     torch.tensor([truth is not None for truth in truths], device=device))

    def inputs(self, originals: Sequence[np.ndarray], editeds: Sequence[np.ndarray], instructions: Sequence[str]) -> dict[str, Tensor]:
        """Pictures (size, size, 3) uint8 and instructions as `forward` takes them, on the network's device."""
        device = self.place2.device
        asked = [plainly(text) for text in instructions] if self.config.plain_words else instructions
        read = torch.tensor([read_values(text, self.config.read) for text in asked])
        return {"original": to_tensor(originals).to(device), "edited": to_tensor(editeds).to(device),
                "words": words_tensor(asked, self.config.word_buckets).to(device), "read": read.to(device)}

    def seen(self, picture: Image.Image) -> np.ndarray:
        """A picture at the size at which it is compared, (size, size, 3) uint8. Its aspect is lost, which both pictures share."""
        return seen_square(picture, self.config.size)


def build(sizes: dict[str, Any], perspectives: tuple[str, ...]) -> TargetJudge:
    """A network of these sizes; what it reads is, unless said, all that the reader knows. Raises TypeError for a size that there is not."""
    if not sizes.get("read"):
        values = request_reader(READER).network.values
        sizes = {**sizes, "read": tuple(f"{slot}={value}" for slot in values for value in values[slot]), "plain_words": True}
    return TargetJudge(TargetConfig(**sizes, perspectives=perspectives))


@lru_cache(maxsize=20_000)
def plainly(instruction: str) -> str:
    """What is asked in the reader's plain words; the instruction as it is where the reader does not understand it."""
    return request_reader(READER).read(instruction).understood or instruction


@lru_cache(maxsize=20_000)
def read_values(instruction: str, names: tuple[str, ...]) -> list[float]:
    """Probabilities that the reader gives to "slot=value" names; 0 for one that it does not know."""
    [found] = request_reader(READER).probabilities([instruction])
    pairs = (name.split("=", 1) for name in names)
    return [found.get(slot, {}).get(value, 0.0) for slot, value in pairs]


def predicted(maps: Tensor, original: Tensor, edited: Tensor) -> Prediction:
    """maps: (B, MAPS, h, w). The target lies between original and edited, and off them; what was followed lies near the edited."""
    gate = maps[:, :1].sigmoid()
    return Prediction(original + gate * (edited - original) + maps[:, 1:4], edited + maps[:, 4:7], maps[:, 7:8])


def drawn_loss(found: Prediction, drawn: Drawn) -> Tensor:
    """Mean over the edits of which something is known: absolute differences, more where the edit belongs, and the mask's entropy."""
    known = drawn.known.float()
    weight = 0.3 + 2.0 * drawn.mask                                                     # (B, 1, h, w)
    weight = weight / weight.mean(dim=(1, 2, 3), keepdim=True)
    each = sum(((one - other).abs() * weight).mean(dim=(1, 2, 3))
               for one, other in ((found.target, drawn.target), (found.followed, drawn.followed)))
    mask = functional.binary_cross_entropy_with_logits(found.mask, drawn.mask, reduction="none").mean(dim=(1, 2, 3))
    return ((3 * each + mask) * known).sum() / known.sum().clamp(min=1)


def inside_and_outside(x: Tensor, mask: Tensor) -> Tensor:
    """(B, 2C): means of (B, C, h, w) inside and outside of a mask (B, 1, h, w)."""
    return torch.cat([(x * where).sum((2, 3)) / where.sum((2, 3)).clamp(min=1) for where in (mask, 1 - mask)], dim=-1)


def distances(found: Prediction, original: Tensor, edited: Tensor) -> Tensor:
    """(B, DISTANCES): mean squares of differences inside and outside of the edit's place, as logarithms, and how far along the edit is."""
    mask = found.mask.sigmoid()
    to_go, whole = edited - found.target, original - found.target
    parts = [to_go, whole, edited - original, edited - found.followed, found.followed - found.target]
    squares = torch.cat([part.square().mean(1, keepdim=True) for part in parts], dim=1)                 # (B, 5, h, w)
    amounts = torch.log(inside_and_outside(squares, mask) + FINEST)                                     # (B, 10)
    absolutes = inside_and_outside(torch.cat([part.abs().mean(1, keepdim=True) for part in parts], dim=1), mask)
    length = (whole.square() * mask).sum((1, 2, 3))
    along = (to_go * whole * mask).sum((1, 2, 3)) / (length + 0.5)                                      # 1: nothing done, 0: all
    aside = ((to_go - along[:, None, None, None] * whole).square() * mask).sum((1, 2, 3)) / (length + 0.5)
    followed = ((found.followed - found.target) * whole * mask).sum((1, 2, 3)) / (length + 0.5)
    more = torch.stack([along, torch.sqrt(aside + 1e-4), followed, mask.mean((1, 2, 3))], dim=-1)
    return torch.cat([amounts, 4 * absolutes, more.clamp(-4, 4)], dim=-1)


def textures(original: Tensor, edited: Tensor) -> Tensor:
    """(B, TEXTURES): how fine and how flat both pictures and their difference are: slopes to the right and downwards at three scales, as
    logarithms of their mean and of their root mean square; how much is quite flat; mean and deviation of the colours."""
    found = []
    pictures = [original, edited, edited - original]
    for scale in range(3):
        for number, picture in enumerate(pictures):
            for slope in (picture[..., 1:] - picture[..., :-1], picture[..., 1:, :] - picture[..., :-1, :]):
                size = slope.abs()
                found += [torch.log(size.mean((1, 2, 3)) + 1e-3) + 4, torch.log(size.square().mean((1, 2, 3)).sqrt() + 1e-3) + 4]
                if scale == 0 and number < 2:
                    found.append((size < FLAT).float().mean((1, 2, 3)))
        pictures = [functional.avg_pool2d(picture, 2) for picture in pictures]
    colours = [part for picture in (original, edited) for part in (picture.mean((2, 3)), picture.flatten(2).std(-1))]       # (B, 3) each
    return torch.cat([torch.stack(found, dim=-1), *colours], dim=-1)


FLAT = 1 / 255          # half a level of 255
DISTANCES, TEXTURES = 24, 52    # of `distances` and of `textures`


def _shrunk(picture: Tensor, side: int) -> Tensor:
    """(C, H, W) of any numbers as the mean over equal squares, float."""
    return functional.adaptive_avg_pool2d(picture.float(), side)
