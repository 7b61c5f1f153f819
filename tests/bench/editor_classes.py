"""Every class of the table of editing pipelines, built at a tiny size with random weights and edited with: what each can do.

`python -m tests.bench.editor_classes [--only NAME ...] [--tracebacks]`. No hub is asked. Classes for which there is no builder, or that the
installed packages do not let edit, are named with the reason.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import traceback
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps

from mre.editors.forms import FORMS
from mre.editors.kinds import make_editor
from mre.editors.settings import EditSettings
from mre.masks import Mask
from tests.editors import tiny_diffusers
from tests.editors.tiny_diffusers_more import MORE

BUILT = tiny_diffusers.BUILDERS | tiny_diffusers.MASKED | MORE


def can_do(kind: str, place: Path) -> str:
    """One edit of a photo, and what else moves the picture."""
    torch.manual_seed(0)
    folder = tiny_diffusers.save(kind, place / kind, native=128, build=BUILT[kind])
    editor = make_editor(str(folder), device="cpu")
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 72, 3), dtype=np.uint8))
    inside = np.broadcast_to(np.arange(72) < 36, (48, 72))
    needs = {"mask": Mask.of(inside)} if FORMS[kind].unmasked == "refused" else {}
    base = {"instruction": "make it red", "steps": 2, "seed": 1} | needs
    started = time.perf_counter()
    first = editor.edit(photo, EditSettings(**base))
    seconds = time.perf_counter() - started
    has = editor.capabilities
    asked = {"instruction": {"instruction": "a blue cat"}, "seed": {"seed": 2}, "steps": {"steps": 3}}
    asked |= {"guidance": {"guidance_scale": 9.0}} if has.guidance_scale else {}
    asked |= {"image guidance": {"image_guidance_scale": 4.0}} if has.image_guidance_scale else {}
    asked |= {"mask": {"mask": Mask.of(~inside if needs else inside)}} if has.mask else {}
    made = {name: editor.edit(photo, EditSettings(**base | other)).made for name, other in asked.items()}
    made["photo"] = editor.edit(ImageOps.invert(photo), EditSettings(**base)).made
    moves = [name for name, other in made.items() if other.tobytes() != first.made.tobytes()]
    still = [name for name in made if name not in moves]
    return f"edits ({seconds:.1f} s); moved by {', '.join(moves)}" + (f"; NOT moved by {', '.join(still)}" if still else "")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=FORMS, default=list(FORMS), metavar="NAME", help="classes (default: all)")
    parser.add_argument("--tracebacks", action="store_true", help="of those that fail")
    args = parser.parse_args()
    torch.set_num_threads(1)
    built = 0
    with tempfile.TemporaryDirectory() as place:
        for kind in args.only:
            if kind not in BUILT:
                print(f"{kind}: no tiny form of it here", flush=True)
                continue
            try:
                print(f"{kind}: {can_do(kind, Path(place))}", flush=True)
                built += 1
            except Exception as error:      # what pipelines raise has no common class
                if args.tracebacks:
                    traceback.print_exc()
                print(f"{kind}: does not edit here: {type(error).__name__}: {str(error).splitlines()[0][:160]}", flush=True)
    print(f"{built} of {len(args.only)} classes were built and edit")
    return 0


if __name__ == "__main__":
    sys.exit(main())
