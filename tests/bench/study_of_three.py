"""One study of three kinds of editors: `tiny`, a FLUX Kontext with random weights, and a server that speaks the images API.

    python -m tests.bench.study_of_three --out DIR [--per-type 1]

Edits synthetic scenes with each through `python -m mre bench`, makes a study of the folder, opens it, and lets simulated annotators score a
copy: every step a command as a researcher types it. The server is the tests' own; it inverts pictures.
"""

from __future__ import annotations

import argparse
import csv
import os
import sys
from pathlib import Path

from mre.__main__ import main as command
from tests.editors.fake_images import KEY, FakeImages
from tests.editors.tiny_diffusers import save


def run(out: Path, per_type: int) -> list[str]:
    """Everything under `out`. Returns the methods of the study. Raises SystemExit where a command fails."""
    kontext = save("FluxKontextPipeline", out / "kontext")
    os.environ["OPENAI_API_KEY"] = KEY
    with FakeImages() as server:
        _do("bench", "scenes", "--model", "tiny", str(kontext), f"images:inverter@{server.url}?size=128", "--scores", "5,5,5", "--per-type",
            str(per_type), "--size", "128", "--steps", "2", "--tables", "scores", "--edits-only", "--sheet", "1",
            "--edit-cache", str(out / "paid.sqlite"), "--max-edit-requests", "1000", "--out", str(out / "bench"))
    data = ["--data", str(out / "data")]
    _do("study", "create", "three", "--edits", str(out / "bench"), "--per-pair", "1", "--repeats", "0", "--checks", "0", "--start", *data)
    _do("study", "simulate", "three", "--annotators", "2", *data)
    _do("study", "table", "three-simulated", "--everyone", *data)
    with (out / "bench" / "edits.csv").open(encoding="utf-8", newline="") as file:
        return sorted({row["method"] for row in csv.DictReader(file)})


def _do(*words: str) -> None:
    print("$ python -m mre " + " ".join(words), flush=True)
    if code := command([*words]):
        raise SystemExit(code)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    parser.add_argument("--per-type", type=int, default=1, metavar="N", help="scenes of each edit type (default %(default)s)")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    print("methods:", ", ".join(run(args.out, args.per_type)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
