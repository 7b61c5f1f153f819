"""What the seeds of the embedded editor show: how far they are apart at 5/5/5 and at low scores, and which defects the oracle names.

  python -m tests.bench.seeds [--model tiny] [--per-type 2] [--seeds 8] [--sheet seeds.png]

"apart" is the mean distance of two seeds' pictures, in levels of 255. "with one" is the share of edits in which the oracle names a defect,
"kinds" how many different defects it names over a scene's seeds, on average over scenes, and over all of them.
"""

from __future__ import annotations

import argparse
from collections import Counter
from itertools import combinations
from pathlib import Path

import numpy as np
from PIL import Image

from mre.data.scenes.concepts import canonical
from mre.data.scenes.oracle import name_defect
from mre.data.scenes.triplets import SceneTriplet, draw_triplet
from mre.editors.kinds import make_editor
from mre.editors.settings import EditSettings
from mre.rewards import EDIT_TYPES, Reward

ASKED = {"5/5/5": Reward(5, 5, 5), "1/5/5": Reward(1, 5, 5), "5/1/5": Reward(5, 1, 5), "5/5/1": Reward(5, 5, 1), "0/0/0": Reward(0, 0, 0)}


def scenes(count: int, size: int) -> list[SceneTriplet]:
    """`count` held-out scenes of each edit type."""
    return [draw_triplet(31, index, "heldout", size, edit_type=EDIT_TYPES[index % len(EDIT_TYPES)], spoiled=False)
            for index in range(count * len(EDIT_TYPES))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--per-type", type=int, default=2, help="scenes of each edit type")
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--sheet", type=Path, help="where to save a picture: a row for each scene, of photo and four seeds at each reward")
    args = parser.parse_args()
    editor = make_editor(args.model)
    drawn = scenes(args.per_type, editor.info.native_size)
    rows = [[triplet.original] for triplet in drawn]
    print(f"{'asked':8}{'apart':>8}{'with one':>10}{'kinds':>8}  defects")
    for name, reward in ASKED.items():
        apart, named, kinds = [], Counter[str](), []
        for triplet, row in zip(drawn, rows, strict=True):
            photo, words = Image.fromarray(triplet.original), canonical(triplet.edit.request)
            made = [np.asarray(editor.edit(photo, EditSettings(words, reward, seed=seed)).made) for seed in range(args.seeds)]
            row += made[:4]
            apart += [np.abs(one.astype(float) - other).mean() for one, other in combinations(made, 2)]
            found = [name_defect(triplet, picture) for picture in made]
            kinds.append(len(set(found) - {""}))
            named.update(found)
        total = sum(named.values())
        print(f"{name:8}{np.mean(apart):8.1f}{1 - named[''] / total:10.2f}{np.mean(kinds):8.1f}  "
              f"{len(set(named) - {''})}: " + ", ".join(f"{kind or 'nothing'} {count}" for kind, count in named.most_common()), flush=True)
    if args.sheet:
        Image.fromarray(np.concatenate([np.concatenate(row, axis=1) for row in rows])).save(args.sheet)


if __name__ == "__main__":
    main()
