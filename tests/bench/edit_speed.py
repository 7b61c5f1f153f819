"""Seconds per edit, and what a sweep's cells cost beside single edits, in one run.

  python -m tests.bench.edit_speed [--model tiny-untrained] [--rounds 27] [--threads 2]
"""

from __future__ import annotations

import argparse
import statistics
import time

from mre.editors.kinds import make_editor
from mre.editors.settings import EditSettings
from mre.imaging import open_image
from mre.models.known import ASSETS
from mre.recipes import png_bytes
from mre.sweep import Axis, Sweep


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--rounds", type=int, default=27, help="single edits, each in turn with a cell")
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    import torch
    torch.set_num_threads(args.threads)
    editor, photo = make_editor(args.model), open_image(ASSETS / "photos" / "coffee.jpg")
    started = time.perf_counter()
    editor.pipeline()
    print(f"load                     {time.perf_counter() - started:6.2f} s")
    started = time.perf_counter()
    editor.edit(photo, EditSettings("make it look like sunset"))
    print(f"first edit               {time.perf_counter() - started:6.2f} s")

    axes = [Axis.parse(name, "0, 3, 5") for name in ("following", "preserving", "quality")]
    sweep = Sweep.plan(EditSettings("make it look like sunset"), args.model, axes, {args.model: editor.capabilities})
    singles, cells, whole = [], [], time.perf_counter()
    for number, _ in enumerate(sweep.run(photo, {args.model: editor})):
        cells.append(time.perf_counter() - whole - sum(cells) - sum(singles))
        if number < args.rounds:                       # in turns, so that whatever else the machine does falls on both alike
            started = time.perf_counter()
            editor.edit(photo, EditSettings("make it look like sunset"))
            singles.append(time.perf_counter() - started)
    single, cell = statistics.median(singles), statistics.median(cells)
    print(f"single edit, median      {single:6.2f} s   (of {len(singles)}; {photo.width} x {photo.height}, {editor.info.steps} steps)")
    print(f"cell of a sweep, median  {cell:6.2f} s   (of {len(cells)}; {100 * (cell / single - 1):+.1f} % to a single edit)")
    print(f"sweep of 27 cells        {sum(cells):6.1f} s")
    picture = editor.edit(photo, EditSettings("make it look like sunset"))
    started = time.perf_counter()
    png_bytes(picture.image, picture.recipe)
    print(f"PNG with its recipe      {time.perf_counter() - started:6.2f} s")


if __name__ == "__main__":
    main()
