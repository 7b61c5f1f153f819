"""Draw triplets whose true rewards are known: scenes of all seven edit types, spoiled in known ways.

Writes an InstructPix2Pix tree (original, edited and clean target as PNG) and scenes.jsonl, RewardEdit data with the true scores and texts.
The same flags give the same triplets everywhere; a second run of the same command goes on where the first was cut, and a larger --count
adds to what is there.

  python -m mre scenes --count 1000 --out scenes
  python -m mre scenes --count 60 --out scenes --split heldout --photos my-photos --sheet sheet.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mre.errors import DataError
from mre.rewards import EDIT_TYPES

ON_SHEET = 42


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--count", type=int, required=True, help="how many triplets")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--split", choices=("train", "heldout"), default="train",
                        help="heldout: objects, wordings and backgrounds that train never shows (default: train)")
    parser.add_argument("--size", type=int, default=128, help="side of the pictures in pixels (default: 128)")
    parser.add_argument("--seed", type=int, default=0, help="another seed, other scenes (default: 0)")
    parser.add_argument("--edit-type", choices=EDIT_TYPES, help="only this edit type (default: all seven)")
    parser.add_argument("--photos", type=Path, metavar="DIR", help="photographs to stand behind the things in part of the scenes")
    parser.add_argument("--photo-share", type=float, default=0.4, help="that part (default: 0.4)")
    spoiling = parser.add_mutually_exclusive_group()
    spoiling.add_argument("--spoiled", dest="spoiled", action="store_true", default=True, help="edits with faults (default)")
    spoiling.add_argument("--clean", dest="spoiled", action="store_false", help="perfect edits only: 5 / 5 / 5")
    parser.add_argument("--sheet", type=Path, metavar="PNG", help=f"also write a contact sheet of the first {ON_SHEET}")


def run(args: argparse.Namespace) -> None:
    from mre.data.scenes.photos import read_photos
    from mre.data.scenes.sheet import contact_sheet
    from mre.data.scenes.tree import ROWS, TreeSettings, digest_of, write_tree
    from mre.data.scenes.triplets import draw_triplet

    for name, low, high in (("count", 1, 10_000_000), ("size", 32, 1024), ("seed", 0, 2 ** 63 - 1), ("photo_share", 0, 1)):
        if not low <= getattr(args, name) <= high:
            raise DataError(f"--{name.replace('_', '-')} must be between {low} and {high}, got {getattr(args, name)}")
    photos = read_photos(args.photos) if args.photos else None
    settings = TreeSettings(args.seed, args.split, args.size, args.edit_type, args.spoiled, args.photo_share, digest_of(photos))
    drawn = write_tree(args.out, args.count, settings, photos)
    print(f"{args.out / ROWS}: {args.count} triplets, {drawn} of them drawn now")
    if args.sheet:
        shown = [draw_triplet(args.seed, index, args.split, args.size, photos, edit_type=args.edit_type, photo_share=args.photo_share,
                              spoiled=args.spoiled) for index in range(min(args.count, ON_SHEET))]
        try:
            args.sheet.parent.mkdir(parents=True, exist_ok=True)
            contact_sheet(shown).save(args.sheet, "PNG")
        except OSError as error:
            raise DataError(f"{args.sheet}: cannot be written: {error.strerror or error}") from error
        print(f"{args.sheet}: the first {len(shown)}")
