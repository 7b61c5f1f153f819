"""Which of the things that the embedded editor was taught are in a picture: a request about one that is not there has no answer but the
untouched picture, and the editor alone would change something else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from mre.files import write_whole

WEIGHTS, SETTINGS = "finder.safetensors", "finder.json"
WIDTHS = (16, 32, 48, 64, 96)       # channels at 1/2, 1/4, 1/8, 1/8, 1/8 of the picture's side
STRIDES = (2, 2, 2, 1, 1)
CELL = 8                            # pixels, the side of a place
SIDE = 128                          # pixels, of the picture as it is looked at


class ThingFinder(nn.Module):
    """A picture -> for each kind of thing and each place, a logit that one is there."""

    def __init__(self, kinds: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, width, stride in zip((3, *WIDTHS), WIDTHS, STRIDES, strict=False):
            layers += [nn.Conv2d(before, width, 3, stride=stride, padding=1), nn.GroupNorm(8, width), nn.SiLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(WIDTHS[-1], kinds, 3, padding=1))

    def forward(self, pictures: Tensor) -> Tensor:
        """(B, 3, H, W) in [-1, 1] -> (B, kinds, H / CELL, W / CELL)."""
        return self.layers(pictures)


@dataclass(frozen=True)
class Finder:
    """A trained network, the kinds that it knows, and for each the logit from which one counts as there."""

    network: ThingFinder
    kinds: tuple[str, ...]
    least: tuple[float, ...]

    def holds(self, picture: Image.Image, kind: str) -> bool:
        """Whether a thing of this kind is in a picture, which is looked at without its borders; of a kind that it does not know, True."""
        if kind not in self.kinds:
            return True
        place = self.kinds.index(kind)
        return bool(self.logits([picture])[0, place] >= self.least[place])

    @torch.inference_mode()
    def logits(self, pictures: Sequence[Image.Image]) -> Tensor:
        """(B, kinds): of the place where each is likeliest."""
        return torch.cat([self.network(as_input(picture)).amax(dim=(2, 3)) for picture in pictures])

    def save(self, folder: Path) -> None:
        """Weights in half precision, and what the rest is."""
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: value.half().contiguous() for name, value in self.network.state_dict().items()}, folder / WEIGHTS)
        least: Mapping[str, float] = dict(zip(self.kinds, self.least, strict=True))
        write_whole(folder / SETTINGS, json.dumps({"least": least}, indent=1) + "\n")


def as_input(picture: Image.Image) -> Tensor:
    """(1, 3, H, W) in [-1, 1], its longer side SIDE pixels: as large as the editor sees it."""
    scale = SIDE / max(picture.size)
    size = [max(16, round(side * scale)) for side in picture.size]
    small = picture.convert("RGB").resize((size[0], size[1]), Image.Resampling.BILINEAR, reducing_gap=3.0)
    return torch.from_numpy(np.array(small)).permute(2, 0, 1)[None].float() / 127.5 - 1


@lru_cache(maxsize=2)
def load_finder(folder: Path) -> Finder | None:
    """The finder in a folder; none where there is none. Raises OSError, ValueError, KeyError for one that is not whole."""
    if not (folder / WEIGHTS).is_file():
        return None
    least = json.loads((folder / SETTINGS).read_text(encoding="utf-8"))["least"]
    network = ThingFinder(len(least))
    network.load_state_dict({name: value.float() for name, value in load_file(folder / WEIGHTS).items()})
    return Finder(network.eval(), tuple(least), tuple(least.values()))
