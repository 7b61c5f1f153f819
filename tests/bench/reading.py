"""How the embedded editor reads the hand-written test instructions, which nothing was trained on, and what that does to photographs.

  python -m tests.bench.reading                                    # the reader alone: seconds
  python -m tests.bench.reading --split development --wrong        # the instructions that a reader may be tuned by, and what it mistakes
  python -m tests.bench.reading --split tuning                     # or "check": halves of people.csv: reading is tuned by one alone
  python -m tests.bench.reading --photos PHOTO ... [--model tiny] [--as-typed]   # and edits: looks missing, change by what asks for nothing

"right": operation and every slot that it names. "taken for nothing": a real request after which the photo is left alone. "left alone": a
text that asks for nothing known, or for several things, and changes no pixel. "acted on wrongly": something else than was asked is done.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mre.data.scenes.instructions import FILES, Instruction, instructions, read_instructions
from mre.data.scenes.looks import LOOKS
from mre.editors.kinds import make_editor
from mre.editors.settings import EditSettings
from mre.embedded.reader import SHIPPED, Reader, load_reader
from mre.embedded.request import NONE, Request
from tests.bench.looks import as_pixels, left_out, middle_of

ASK_NOTHING = ("unknown", "meaningless", "other", "several")        # groups whose right answer is the untouched picture
PEOPLE = Path(__file__).with_name("people.csv")     # as sundry people write; the first row and every second one are for tuning
HALVES = {"tuning": 0, "check": 1}
UNTOUCHED = 0.01            # mean change of a pixel, of the range of values


def operations_of(one: Instruction) -> list[tuple[str, str]]:
    """(verb, value) of each operation that is right: ("global", "foggy"), ("recolour", "")."""
    return [tuple(operation.partition(":")[::2]) for operation in one.operations]


def is_right(one: Instruction, request: Request) -> bool:
    """Whether a request is what the instruction asks for."""
    for verb, value in operations_of(one):
        if verb in ("global", "style"):
            if request.operation == value:
                return True
        elif request.operation == verb and _slots_right(one, request, verb, value):
            return True
    return False


def _slots_right(one: Instruction, request: Request, verb: str, value: str) -> bool:
    if verb == "background":
        return request.scene == value
    asked = {"kind": one.kind, "count": "two" if one.count == 2 else "", "where": one.place}
    asked |= {"texture": value} if verb == "texture" else {}
    asked |= {"anchor": one.beside} if verb == "add" else {"which": one.of_colour}
    if verb in ("recolour", "add") and (request.colour if request.colour != NONE else "") not in one.colours:
        return False
    return all(getattr(request, slot) in [each or NONE for each in said.split("|")] for slot, said in asked.items())


def of_split(name: str) -> tuple[Instruction, ...]:
    """The hand-written instructions of a split, or of a half of PEOPLE."""
    return read_instructions(PEOPLE)[HALVES[name]::2] if name in HALVES else instructions(name)


def reads(reader: Reader, asked: Sequence[Instruction]) -> list[tuple[Instruction, Request, bool]]:
    """Each instruction, the likeliest request and whether it is acted on."""
    readings = [reader.reading(one.text) for one in asked]
    return [(one, request, bool(reading.understood)) for one, (reading, request) in zip(asked, readings, strict=True)]


def table_of(reader: Reader, asked: Sequence[Instruction]) -> dict[str, float]:
    """The figures of the table, by name."""
    real = reads(reader, [one for one in asked if one.group in ("known", "absent")])
    nothing = reads(reader, [one for one in asked if one.group in ASK_NOTHING])
    looks = [each for each in real if operations_of(each[0])[0][0] in ("global", "style")]
    figures = {"real requests": len(real), "right": np.mean([acted and is_right(one, request) for one, request, acted in real]),
               "right, looks alone": np.mean([acted and is_right(one, request) for one, request, acted in looks]),
               "taken for nothing": np.mean([not acted for *_, acted in real]),
               "acted on wrongly": np.mean([acted and not is_right(one, request) for one, request, acted in real])}
    figures |= {"texts that ask for nothing, or for several things": len(nothing),
                "left alone": np.mean([not acted for *_, acted in nothing])}
    for group in ASK_NOTHING:
        figures[f"left alone, {group}"] = np.mean([not acted for one, _, acted in nothing if one.group == group])
    return {name: float(value) for name, value in figures.items()}


def on_photos(model: str, paths: Sequence[Path], as_typed: bool = False) -> dict[str, float]:
    """Share of looks missing and change by what asks for nothing, over photographs. Each instruction is tried on one of them.

    as_typed: hand the words to the network without reading them
    """
    editor = make_editor(model)

    def edited(photo: Image.Image, text: str) -> np.ndarray:
        settings = EditSettings(text).resolved(editor.info)
        if as_typed:
            return as_pixels(editor.make(photo, settings, lambda step: None, lambda: False))
        return as_pixels(editor.edit(photo, settings).made)
    photos = [middle_of(path, editor.info.native_size) for path in paths]
    missing, changes = [], []
    for number, one in enumerate(instructions()):
        photo = photos[number % len(photos)]
        before = as_pixels(photo)
        if one.group in ASK_NOTHING:
            changes.append(float(np.abs(edited(photo, one.text) - before).mean()))
        elif one.group == "known" and all(verb in ("global", "style") for verb, _ in operations_of(one)):
            made = edited(photo, one.text)
            missing.append(min(left_out(before, LOOKS[look](before), made) for _, look in operations_of(one)))
    return {"looks asked for": len(missing), "share of a look missing, mean": float(np.mean(missing)),
            "looks more than 0.65 missing": float(np.mean(np.array(missing) > 0.65)), "asked for nothing": len(changes),
            "changed by at most 1 % on average": float(np.mean(np.array(changes) <= UNTOUCHED)), "mean change": float(np.mean(changes))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--reader", type=Path, default=SHIPPED, help="folder of the reader (default: the one that ships)")
    parser.add_argument("--split", choices=(*FILES, *HALVES), default="test")
    parser.add_argument("--photos", nargs="+", type=Path, default=[], metavar="PHOTO")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--as-typed", action="store_true", help="edit with the words as they are typed, without the reader")
    parser.add_argument("--wrong", action="store_true", help="list what is read wrongly")
    args = parser.parse_args()
    reader = load_reader(args.reader)
    figures = table_of(reader, of_split(args.split)) | (on_photos(args.model, args.photos, args.as_typed) if args.photos else {})
    for name, value in figures.items():
        print(f"{name:52}{value:8.0f}" if value == int(value) and value > 1 else f"{name:52}{value:8.3f}")
    if args.wrong:
        for one, request, acted in reads(reader, of_split(args.split)):
            if (one.group in ASK_NOTHING and acted) or (one.group not in ASK_NOTHING and not (acted and is_right(one, request))):
                print(f"{one.group:12} {one.text[:70]!r}: {'|'.join(one.operations)} read as {request if acted else 'nothing'}")


if __name__ == "__main__":
    main()
