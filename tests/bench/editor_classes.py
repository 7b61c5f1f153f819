"""Every class of the table of editing pipelines, built at a tiny size with random weights: one edit by the command, the same by what the
page's Run button calls, which must give the same file, and then what moves the picture.

`python -m tests.bench.editor_classes [--only NAME ...] [--tracebacks]` prints a table. No hub is asked. A class that does not edit with the
installed packages is named with the reason. Exit code 1 if there is one.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mre.__main__ import main as command
from mre.editors.forms import FORMS
from mre.editors.settings import EditSettings
from mre.masks import Mask
from tests.editors import tiny_diffusers
from tests.editors.tiny_diffusers_more import MORE
from ui.edit.form import settings_of
from ui.edit.run import run_edit
from ui.edit.visit import EditVisit
from ui.studio import Studio, StudioSettings

BUILT = tiny_diffusers.BUILDERS | tiny_diffusers.MASKED | MORE
ASKED = "make it red"


def can_do(kind: str, place: Path) -> str:
    """A row of the table: whether command and page make the same file, and what moves the picture. Raises what the edits raise."""
    folder = tiny_diffusers.save(kind, place / kind, native=128, build=BUILT[kind])
    photo = Image.fromarray(np.random.default_rng(0).integers(0, 255, (48, 72, 3), dtype=np.uint8))
    inside = np.broadcast_to(np.arange(72) < 36, (48, 72))
    photo.save(place / "photo.png")
    Image.fromarray(inside).save(place / "mask.png")
    needs_mask = FORMS[kind].unmasked == "refused"
    by_command = edit_by_command(folder, place, ["--mask", str(place / "mask.png")] if needs_mask else [])

    studio = Studio(StudioSettings(models=(str(folder),), data=place / "data"))
    settings = settings_of(instruction=ASKED, following=5, preserving=5, quality=5, steps=2, seed=1,
                           mask=str(place / "mask.png") if needs_mask else None)
    entry = [entry for _, entry in run_edit(studio, EditVisit(studio.shelf), "en", str(place / "photo.png"), kind, settings)][-1]
    by_page = studio.shelf.get(entry.picture.token) if entry else None
    same = by_page is not None and by_page.file.read_bytes() == by_command

    editor = studio.editor(kind)
    first, has = editor.edit(photo, settings).made, editor.capabilities
    asked = {"instruction": {"instruction": "a blue cat"}, "seed": {"seed": 2}, "steps": {"steps": 3}}
    asked |= {"guidance": {"guidance_scale": 9.0}} if has.guidance_scale else {}
    asked |= {"image guidance": {"image_guidance_scale": 4.0}} if has.image_guidance_scale else {}
    asked |= {"mask": {"mask": Mask.of(~inside if needs_mask else inside)}} if has.mask else {}
    base = {"instruction": ASKED, "steps": 2, "seed": 1, "mask": settings.mask}
    made = {"photo": editor.edit(Image.new("RGB", photo.size, "red"), settings).made}
    made |= {name: editor.edit(photo, EditSettings(**base | other)).made for name, other in asked.items()}
    still = [name for name, other in made.items() if other.tobytes() == first.tobytes()]
    if still or not same:
        raise AssertionError("; ".join(filter(None, ["" if same else "page and command differ",
                                                     f"not moved by {', '.join(still)}" if still else ""])))
    return f"same file | {', '.join(made)}"


def edit_by_command(folder: Path, place: Path, more: list[str]) -> bytes:
    """The file that `python -m mre edit` writes. Raises RuntimeError where that fails."""
    out = place / f"{folder.name}.png"
    words = ["edit", str(place / "photo.png"), ASKED, "--model", str(folder), "--steps", "2", "--seed", "1", "--out", str(out), *more]
    with redirect_stdout(sys.stderr):
        if command(words):
            raise RuntimeError("the command failed: its line is on standard error")
    return out.read_bytes()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=FORMS, default=list(FORMS), metavar="NAME", help="classes (default: all)")
    parser.add_argument("--tracebacks", action="store_true", help="of those that fail")
    args = parser.parse_args()
    torch.set_num_threads(1)
    tiny_diffusers.see_small_conditions(pytest.MonkeyPatch())
    print("| class | edit by command and page | moved by |\n| --- | --- | --- |", flush=True)
    edit = 0
    with tempfile.TemporaryDirectory() as place:
        for kind in args.only:
            try:
                print(f"| {kind} | {can_do(kind, Path(place))} |", flush=True)
                edit += 1
            except Exception as error:      # what pipelines raise has no common class
                if args.tracebacks:
                    traceback.print_exc()
                print(f"| {kind} | does not edit here: {type(error).__name__}: {str(error).splitlines()[0][:160]} | |", flush=True)
    print(f"\n{edit} of {len(args.only)} classes were built and edit")
    return int(edit < len(args.only))


if __name__ == "__main__":
    sys.exit(main())
