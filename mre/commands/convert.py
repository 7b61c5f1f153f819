"""Write SmartEdit's released files anew, as a folder of safetensors that loads like any other model: no pickles, adapters merged.

SOURCE is smartedit-7b, smartedit-13b, or a folder in the released layout. No more than a gigabyte of it is in memory at once, beside the
vision tower.

  python -m mre convert smartedit-7b --out models/smartedit-7b
  python app.py --model models/smartedit-7b
"""

from __future__ import annotations

import argparse
from pathlib import Path

from mre.errors import ModelError, SettingsError

FORMATS = ("bfloat16", "float16", "float32")
SIZES = range(64, 1025, 8)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SOURCE", help="a name, or a folder in the released layout")
    parser.add_argument("--out", type=Path, required=True, help="the new folder")
    parser.add_argument("--dtype", choices=FORMATS, default="bfloat16",
                        help="numbers of the language model; float16 may overflow in it (default: bfloat16)")
    parser.add_argument("--size", type=int, default=256, metavar="PIXELS",
                        help="side of the square that the model edits at: 256 is what it was trained at and is best at, 384 good too, 512 "
                             "weak (default: 256)")


def run(args: argparse.Namespace) -> None:
    from mre.families import layout_of
    from mre.models.known import KNOWN

    if args.size not in SIZES:
        raise SettingsError(f"--size must be a multiple of 8 between {SIZES[0]} and {SIZES[-1]}, got {args.size}")
    if args.out.exists():
        raise SettingsError(f"--out {args.out} is there already; name a new folder")
    layout = layout_of(args.source)
    folder = layout.find(KNOWN[args.source].hub_id) if layout else Path(args.source).expanduser()
    if not folder.is_dir():
        raise ModelError(f"there is no model folder {args.source}")
    if layout_of(args.source, folder) is None:
        raise ModelError(f"{args.source} is not in SmartEdit's released layout (LLM-15000, embeddings_qformer, modulate-15000, unet-15000)")
    import torch

    from mre.models.smartedit.convert import convert
    from mre.training.checkpoints import write_whole

    write_whole(args.out, lambda place: convert(folder, place, dtype=getattr(torch, args.dtype), native_size=args.size))
    print(f"{args.out}: {sum(file.stat().st_size for file in args.out.rglob('*') if file.is_file()) / 1e9:.1f} GB")
