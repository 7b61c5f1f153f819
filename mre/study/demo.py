"""The demo study: edits of the embedded models on the seven edit types, so that scoring can be tried at first start.

`make_edits` writes the folder of edits with the editors themselves; it ships in `mre/assets/demo_study`. `ensure_demo` makes a running
study of it in a store that has no study yet.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from mre.errors import StudyError
from mre.files import EDITS, csv_text, png_bytes, write_whole
from mre.rewards import EDIT_TYPES
from mre.study import records, studies
from mre.study.design import StudyDesign

if TYPE_CHECKING:
    from mre.editors.editor import Editor
    from mre.study.store import Store

NAME = "demo"
FOLDER = Path(__file__).resolve().parent.parent / "assets" / "demo_study"
METHODS = ("tiny-baseline", "tiny")
DESIGN = StudyDesign(title="Try scoring: fourteen drawn edits · 试评十四组图", per_pair=200, repeats=10, repeat_gap=5, checks=10, seed=2411)
PER_TYPE = 2
SIZE = 256                  # pixels a side


def ensure_demo(store: Store, folder: Path = FOLDER) -> records.Study | None:
    """The demo study; made and started when the store has no study at all and the folder of edits is there. None without either."""
    known = {study.name: study for study in records.all_studies(store)}
    if known or not (folder / "edits.csv").is_file():
        return known.get(NAME)
    try:
        studies.create_from_edits(store, NAME, [folder], DESIGN, by="demo")
    except StudyError:
        if NAME in {study.name for study in records.all_studies(store)}:      # another process was faster
            return records.find_study(store, NAME)
        raise
    return studies.start(store, NAME, by="demo")


def make_edits(out: Path, methods: tuple[str, ...] = METHODS, per_type: int = PER_TYPE, seed: int = 2411,
               *, editor_of: Callable[[str], Editor], on_edit: Callable[[int, int], None] | None = None) -> int:
    """Draw held-out scenes, `per_type` for each edit type, edit each with every method, and write the folder. Returns the edits made.

    `editor_of` gives the editor of a method's name.
    """
    from mre.data.scenes.triplets import draw_triplet
    from mre.editors.settings import EditSettings

    chosen = {edit_type: [draw_triplet(seed, index, split="heldout", size=SIZE, edit_type=edit_type) for index in range(per_type)]
              for edit_type in EDIT_TYPES}
    rows, done, total = [], 0, len(methods) * len(EDIT_TYPES) * per_type
    for method in methods:
        editor = editor_of(method)
        for edit_type, triplets in chosen.items():
            for number, triplet in enumerate(triplets, 1):
                item = f"{edit_type}-{number}"
                original = Image.fromarray(triplet.original)
                write_whole(out / "originals" / f"{item}.png", png_bytes(original))
                result = editor.edit(original, EditSettings(instruction=triplet.instruction, seed=seed))
                write_whole(out / method / f"{item}.png", png_bytes(result.image))
                rows.append((item, edit_type, triplet.instruction, f"originals/{item}.png", method, f"{method}/{item}.png", seed, method,
                             f"{result.seconds:.2f}"))
                done += 1
                if on_edit:
                    on_edit(done, total)
    write_whole(out / "edits.csv", csv_text(EDITS, sorted(rows)))
    return done
