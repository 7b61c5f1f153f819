"""What a trained judge is worth on scenes and photographs that it never saw, and how fast it is: python -m tests.bench.tiny_judge [JUDGE]

Held-out scenes (things, places, looks, wordings and forms of defects that training never shows) of seeds that neither trained, stopped nor
calibrated it; then things drawn on the photographs that come with the program. Each original has four edits; pairs are of one original.
"""

from __future__ import annotations

import dataclasses
import sys
import time
from pathlib import Path

import numpy as np

from mre.judge.trained import EMBEDDED, TrainedJudge
from mre.training.judges.groups import GroupSource
from mre.training.judges.measure import Predictions, predict
from mre.training.judges.report import report_rows, report_table
from mre.training.judges.scenes import SceneGroups

PHOTOS = EMBEDDED.parent / "photos"


def measured(judge: TrainedJudge, source: GroupSource) -> tuple[Predictions, str]:
    """Predictions, none of which calibrates, and their table."""
    found = predict(judge.network, [source.group(number) for number in range(len(source))])
    found = dataclasses.replace(found, calibrates=np.zeros(len(found.edits), dtype=bool))
    return found, report_table(report_rows(found, judge.facts.calibration))


def edits_a_second(judge: TrainedJudge, edits: int = 256) -> float:
    """Of pictures that are decoded and resized already, by processor time: on a busy machine the clock says nothing."""
    size = judge.network.config.size
    pictures = list(np.random.default_rng(0).integers(0, 256, (edits, size, size, 3), dtype=np.uint8))
    words = ["make the ball on the left red"] * 32
    judge.score_arrays(pictures[:32], pictures[:32], words)
    started = time.process_time()
    for start in range(0, edits, 32):
        judge.score_arrays(pictures[start:start + 32], pictures[start:start + 32], words)
    return edits / (time.process_time() - started)


def main(folder: Path = EMBEDDED, scenes: int = 200, photos: int = 80) -> None:
    judge = TrainedJudge(folder)
    for title, source in ((f"{scenes} held-out scenes", SceneGroups(scenes, 90_001, "heldout")),
                          (f"{photos} scenes on photographs", SceneGroups(photos, 90_002, "heldout", photos=PHOTOS, photo_share=1.0))):
        print(f"{title}, four edits each\n\n{measured(judge, source)[1]}", flush=True)
    print(f"{edits_a_second(judge):.0f} edits a second of processor time")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
