"""How long the comparison of 100,000 human with 100,000 judge scores takes: python -m tests.bench.compare

Two shapes: a study (560 items, 6 methods, 10 annotators, 10 runs of the judge, whole grades) and single ratings (33,334 edits of as many
photos, one annotator, one run, scores with decimals). To hold: first tables in 3 s, all tables with 1,000 bootstrap draws in 20 s.
"""

from __future__ import annotations

import io
import sys
import time

import numpy as np
import pandas as pd

from mre.agreement.comparison import Comparison
from mre.agreement.comparison_tables import all_tables
from mre.agreement.score_files import read_human, read_judge
from mre.agreement.sides import Options, sides_of
from mre.rewards import EDIT_TYPES, PERSPECTIVES


def scores(items: int, methods: int, annotators: int, repeats: int, whole: bool, seed: int = 0) -> tuple[bytes, bytes]:
    """Made-up ratings as the CSV files that the comparison reads."""
    generator = np.random.default_rng(seed)
    edits = pd.MultiIndex.from_product([[f"photo{i:05}" for i in range(items)], [f"method{m}" for m in range(methods)], PERSPECTIVES],
                                       names=["item", "method", "perspective"]).to_frame(index=False)
    edits["truth"] = generator.uniform(0, 5, len(edits))
    edits["edit_type"] = edits["item"].str[-2:].astype(int).mod(len(EDIT_TYPES)).map(dict(enumerate(EDIT_TYPES)))
    sides = []
    for count, column, shift in ((annotators, "annotator", -0.4), (repeats, "repeat", 0.4)):
        rows = edits.loc[edits.index.repeat(count)].reset_index(drop=True)
        rows[column] = [f"a{i}" if column == "annotator" else i + 1 for i in np.tile(np.arange(count), len(edits))]
        noisy = np.clip(rows["truth"] + shift + generator.normal(0, 0.8, len(rows)), 0, 5)
        rows["score"] = noisy.round(0 if whole else 3)
        sides.append(rows.drop(columns="truth"))
    sides[0]["scale_max"] = 5
    sides[1] = sides[1].assign(judge="made-up", judge_version="1")
    return tuple(side.to_csv(index=False).encode() for side in sides)


def main() -> int:
    held = True
    for title, shape in (("study of whole grades", (560, 6, 10, 10, True)), ("single ratings with decimals", (33_334, 1, 1, 1, False))):
        human, judge = scores(*shape)
        start, cpu = time.perf_counter(), time.process_time()
        sides = sides_of(read_human(io.BytesIO(human).getvalue(), ["human.csv"]), read_judge(judge, ["judge.csv"]), Options())
        comparison = Comparison(sides)
        all_tables(comparison)
        first = time.perf_counter() - start
        first_cpu = time.process_time() - cpu
        comparison.method_tests()
        for _ in comparison.intervals():
            pass
        tables = all_tables(comparison)
        whole = time.perf_counter() - start
        held &= first <= 3 and whole <= 20
        whole_cpu = time.process_time() - cpu
        print(f"{title}: {len(sides.human)} human, {len(sides.runs)} judge scores; first tables {first:.1f} s ({first_cpu:.1f} s of "
              f"processor), all {len(comparison.rows)} figures and {len(tables)} tables with {sides.options.bootstrap} draws {whole:.1f} s "
              f"({whole_cpu:.1f} s of processor)")
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
