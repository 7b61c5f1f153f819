"""kill -9 of the study's server fifty times while ten annotators submit: python -m tests.bench.study_kill [--kills 50] [--annotators 10]

Each kill comes after a drawn number of acknowledged answers. At the end every acknowledged answer must be in the store with its scores, no
screen may be half there, and after each cut every annotator must have found the screen that was theirs. Fails otherwise.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from tests.study.test_kill import kill_while_they_submit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--annotators", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        items = 60 + 45 * args.kills * args.annotators // 80
        counts = kill_while_they_submit(Path(folder), args.kills, args.annotators, args.seed, items=items)
    print(f"{args.kills} kills, {args.annotators} annotators, {time.perf_counter() - began:.0f} s: "
          + ", ".join(f"{name} {count}" for name, count in counts.items()) + "; nothing lost, nothing doubled, nobody misplaced")


if __name__ == "__main__":
    main()
