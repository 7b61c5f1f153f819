"""What requests about things that are not in a picture do to it: the share that changes it by more than 1 % on average, by operation.

  python -m tests.bench.absent [--model tiny] [--scenes 60] [--photos PHOTO ...]

Synthetic scenes of the held-out split, each asked, in plain words, to recolour, remove and retexture a kind of thing that it has not; the
same requests about a thing that it has, to compare with. Photos hold none of these things by assumption: choose ones that do not.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
from PIL import Image

from mre.data.scenes.render import render
from mre.data.scenes.world import KINDS, draw_scene, pick
from mre.editors.kinds import make_editor
from mre.editors.settings import EditSettings
from tests.bench.looks import as_pixels, middle_of

ASKED = {"recolour": "make the {} red", "remove": "remove the {}", "texture": "make the {} striped"}
CHANGED = 0.01              # mean change of a pixel, of the range of values


def changes(model: str, scenes: int, photos: list[Path], seed: int = 0) -> dict[tuple[str, str], list[float]]:
    """(where, operation) -> mean change of a pixel by each request. where: "absent" or "present" in a scene, or "photo"."""
    editor, rng = make_editor(model), np.random.default_rng(seed)
    size = editor.info.native_size
    found: dict[tuple[str, str], list[float]] = defaultdict(list)

    def ask(picture: Image.Image, operation: str, kind: str, where: str) -> None:
        made = editor.edit(picture, EditSettings(ASKED[operation].format(kind))).made
        found[where, operation].append(float(np.abs(as_pixels(made) - as_pixels(picture)).mean()))
    for _ in range(scenes):
        scene = draw_scene(rng, "heldout", False)
        picture = Image.fromarray((render(scene, size).clip(0, 1) * 255).astype(np.uint8))
        here = sorted({thing.kind for thing in scene.things})
        for operation in ASKED:
            ask(picture, operation, pick(rng, [kind for kind in KINDS if kind not in here]), "absent")
            ask(picture, operation, pick(rng, here), "present")
    for path in photos:
        for operation in ASKED:
            for kind in KINDS:
                ask(middle_of(path, size), operation, kind, "photo")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--scenes", type=int, default=60)
    parser.add_argument("--photos", nargs="+", type=Path, default=[], metavar="PHOTO")
    args = parser.parse_args()
    print(f"{'':10}{'':12}{'requests':>10}{'over 1 %':>10}{'mean change':>13}")
    for (where, operation), values in changes(args.model, args.scenes, args.photos).items():
        print(f"{where:10}{operation:12}{len(values):10}{np.mean(np.array(values) > CHANGED):10.3f}{np.mean(values):13.4f}")


if __name__ == "__main__":
    main()
