"""An edit through the door against calling the pipeline oneself: seconds, alternating in one run, and whether the pixels are the same.

`python -m tests.bench.adapter_cost [--class FluxKontextPipeline] [--edits 6] [--steps 28] [--width 512]`, with random weights: all at a
tiny size, or with --width the denoiser of Kontext at this width, so that an edit takes seconds. Timed is all that `Editor.edit` does: the
queue of the device, the way to the model's size and back, and the recipe. Each way comes first in every second pair. On a busy machine the
ratio of pairs swings by more than there is to measure; the seconds of an edit that are not the pipeline's do not. They do not grow with the
model, so a full-size one has a smaller share of them.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import tempfile
import time
from pathlib import Path

import diffusers
import numpy as np
import torch
from PIL import Image

from mre.editors.diffusers_kind import DiffusersEditor
from mre.editors.forms import FORMS
from mre.editors.load_options import LoadOptions
from mre.editors.local_editor import EditorOptions
from mre.editors.settings import EditSettings
from tests.editors import tiny_diffusers


def by_hand(pipeline, kind: str, photo: Image.Image, steps: int, seed: int) -> Image.Image:
    """The same edit with the class's own arguments, on a photo of the model's size."""
    form = FORMS[kind]
    with torch.inference_mode():
        return pipeline(prompt="make it red", num_inference_steps=steps, generator=torch.Generator().manual_seed(seed),
                        **{form.image: [photo] if form.is_list else photo, form.guidance: form.scale},
                        **({"width": photo.width, "height": photo.height} if form.sized else {}),
                        **({"negative_prompt": form.blank} if form.blank else {}), **form.told(*photo.size)).images[0]


def timed(pipeline, seconds: list[float]) -> None:
    """Add the processor seconds of each call of the pipeline to `seconds`."""
    kind = type(pipeline)

    @functools.wraps(kind.__call__)
    def call(self, **arguments):
        started = time.process_time()
        result = kind.__call__(self, **arguments)
        seconds.append(time.process_time() - started)
        return result
    pipeline.__class__ = type(kind.__name__, (kind,), {"__call__": call})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--class", dest="kind", default="FluxKontextPipeline", choices=tiny_diffusers.BUILDERS)
    parser.add_argument("--edits", type=int, default=6)
    parser.add_argument("--steps", type=int, default=28)
    parser.add_argument("--size", type=int, default=128, help="side of the photo, in pixels (default %(default)s)")
    parser.add_argument("--width", type=int, help="of the hidden states of Kontext's denoiser, a multiple of 64; its depth is 4 + 8 blocks")
    args = parser.parse_args()
    if args.width and args.kind != "FluxKontextPipeline":
        parser.error("--width is for FluxKontextPipeline")
    torch.set_num_threads(1)
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 255, (args.size, args.size, 3), dtype=np.uint8))
    wide = (lambda: tiny_diffusers.kontext(num_attention_heads=args.width // 64, attention_head_dim=64, num_layers=4, num_single_layers=8,
                                           axes_dims_rope=(16, 24, 24))) if args.width else None
    with tempfile.TemporaryDirectory() as place:
        folder = tiny_diffusers.save(args.kind, Path(place) / args.kind, native=args.size, build=wide)
        editor = DiffusersEditor(str(folder), EditorOptions(device="cpu", loading=LoadOptions(dtype="float32")))
        pipeline = getattr(diffusers, args.kind).from_pretrained(folder)
        pipeline.set_progress_bar_config(disable=True)
        inside: list[float] = []
        timed(editor.prepare(), inside)
        ways = {"adapter": lambda seed: editor.edit(photo, EditSettings("make it red", steps=args.steps, seed=seed)).image,
                "by hand": lambda seed: by_hand(pipeline, args.kind, photo, args.steps, seed)}
        seconds: dict[str, list[float]] = {way: [] for way in ways}
        same = True
        for number in range(args.edits + 1):            # the first of each warms up
            made = {}
            for way in list(ways)[::1 if number % 2 else -1]:
                started = time.process_time()
                made[way] = ways[way](number).tobytes()
                seconds[way].append(time.process_time() - started)
            same &= made["adapter"] == made["by hand"]
    adapter, alone = seconds["adapter"][1:], seconds["by hand"][1:]
    beside = statistics.median(whole - own for whole, own in zip(adapter, inside[1:], strict=True))
    ratios = [one / other for one, other in zip(adapter, alone, strict=True)]
    size = f" of width {args.width}" if args.width else ""
    print(f"{args.kind}{size}, {args.steps} steps, {args.size} px, {args.edits} edits, processor seconds: adapter "
          f"{statistics.median(adapter):.3f}, by hand {statistics.median(alone):.3f}, ratio {statistics.median(ratios):.3f} (of pairs "
          f"{min(ratios):.3f} to {max(ratios):.3f}); beside the pipeline {beside:.4f}, "
          f"{beside / statistics.median(adapter):.2%} of an edit; same pixels: {same}")


if __name__ == "__main__":
    main()
