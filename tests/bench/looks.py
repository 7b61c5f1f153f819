"""How much of each look a model leaves out, on photos: the squared distance of its edit at 5/5/5 from the true look, by that of the photo.

0 is the look itself, 1 as far from it as the photo was. Looks are those of `mre.data.scenes.looks`, worked out at the model's own size.

  python -m tests.bench.looks PHOTO ... [--model tiny tiny-baseline] [--sheet looks.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from mre.data.scenes.concepts import Asked, canonical
from mre.data.scenes.looks import GLOBAL_LOOKS, LOOKS
from mre.editors.kinds import make_editor
from mre.editors.settings import EditSettings
from mre.imaging import open_image


def instruction_for(look: str) -> str:
    """The plainest words, which every embedded model was taught or has a reader for."""
    return canonical(Asked(f"{'global' if look in GLOBAL_LOOKS else 'style'}:{look}"))


def as_pixels(picture: Image.Image) -> np.ndarray:
    """(H, W, 3) float32 in [0, 1]."""
    return np.asarray(picture, np.float32) / 255


def middle_of(path: Path, side: int) -> Image.Image:
    """The largest square in the middle of a photo, at `side` pixels."""
    photo = open_image(path)
    short = min(photo.size)
    left, top = (photo.width - short) // 2, (photo.height - short) // 2
    return photo.resize((side, side), Image.Resampling.BILINEAR, box=(left, top, left + short, top + short), reducing_gap=3.0)


def resized(pixels: np.ndarray, side: int) -> np.ndarray:
    """(H, W, 3) float32 at another size, for the sheet."""
    picture = Image.fromarray((pixels.clip(0, 1) * 255).astype(np.uint8))
    return as_pixels(picture.resize((side, side), Image.Resampling.NEAREST))


def left_out(before: np.ndarray, asked: np.ndarray, edit: np.ndarray) -> float:
    """The squared distance of an edit from what was asked for, by that of the photo."""
    return float(((edit - asked) ** 2).mean() / ((before - asked) ** 2).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", nargs="+", type=Path, metavar="PHOTO")
    parser.add_argument("--model", nargs="+", default=["tiny", "tiny-baseline"])
    parser.add_argument("--sheet", type=Path, help="where to save a picture of it: a row for each look, of photo, true look, models")
    args = parser.parse_args()
    editors = [make_editor(model) for model in args.model]
    sides = [editor.info.native_size for editor in editors]
    photos = [{side: middle_of(path, side) for side in sides} for path in args.photos]
    print(f"{'look':16}" + "".join(f"{Path(model).name:>16}" for model in args.model))
    rows, means = [], []
    for number, (look, apply) in enumerate(LOOKS.items()):
        settings, distances, shown = EditSettings(instruction_for(look)), [], []
        for index, photo in enumerate(photos):
            before = {side: as_pixels(picture) for side, picture in photo.items()}
            asked = {side: apply(picture) for side, picture in before.items()}
            edits = [as_pixels(editor.edit(photo[side], settings).made) for editor, side in zip(editors, sides, strict=True)]
            distances.append([left_out(before[side], asked[side], edit) for side, edit in zip(sides, edits, strict=True)])
            if index == number % len(photos):
                shown = [resized(picture, sides[0]) for picture in (before[sides[0]], asked[sides[0]], *edits)]
        rows.append(np.concatenate(shown, axis=1))
        means.append(np.mean(distances, axis=0))
        print(f"{look:16}" + "".join(f"{mean:16.3f}" for mean in means[-1]), flush=True)
    print(f"{'mean':16}" + "".join(f"{mean:16.3f}" for mean in np.mean(means, axis=0)))
    if args.sheet:
        half = -(-len(rows) // 2)
        columns = [np.concatenate(part) for part in (rows[:half], [*rows[half:], *[np.ones_like(rows[0])] * (2 * half - len(rows))])]
        Image.fromarray((np.concatenate(columns, axis=1).clip(0, 1) * 255).astype(np.uint8)).save(args.sheet)


if __name__ == "__main__":
    main()
