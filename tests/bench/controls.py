"""What each control does with a model: how far it moves the picture, and what the oracle says of the edits, over drawn scenes.

"moved" is the root mean square between the edits with the control and those without, by that between edit and photo; 0 is nothing, 1 as
much as the edit itself. Scores are means over the scenes, 0 to 5. This is what `Capabilities` of the embedded models rest on.

  python -m tests.bench.controls [--model tiny tiny-baseline] [--per-type 10]
"""

from __future__ import annotations

import argparse
import statistics

import numpy as np
from PIL import Image

from mre.data.scenes.oracle import score
from mre.data.scenes.triplets import draw_triplet
from mre.editors.kinds import make_editor
from mre.editors.settings import EditSettings
from mre.errors import MreError
from mre.rewards import EDIT_TYPES, PERSPECTIVES, Reward

BLOCKY = Reward(5, 5, 3, ("None", "None", "the picture is strongly blocky"))
CONTROLS = {
    "as it is": {}, "seed 1": {"seed": 1}, "seed 2": {"seed": 2},
    "2 steps": {"steps": 2}, "5 steps": {"steps": 5}, "20 steps": {"steps": 20},
    "guidance 1.5": {"guidance_scale": 1.5}, "guidance 7.5": {"guidance_scale": 7.5}, "image guidance 1.5": {"image_guidance_scale": 1.5},
    "guidance 7.5, image 1.5": {"guidance_scale": 7.5, "image_guidance_scale": 1.5},
    "guidance 1.5 from 0/0/0": {"guidance_scale": 1.5, "negative_reward": Reward(0, 0, 0)}, "ddim": {"scheduler": "ddim"},
    "dpm-solver": {"scheduler": "dpm-solver"}, "unipc": {"scheduler": "unipc"}, "euler": {"scheduler": "euler"},
    "euler-ancestral": {"scheduler": "euler-ancestral"}, "scores 0/0/0": {"reward": Reward(0, 0, 0)},
    "scores 5/5/3": {"reward": Reward(5, 5, 3)}, "5/5/3, text: blocky": {"reward": BLOCKY}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=["tiny", "tiny-baseline"])
    parser.add_argument("--per-type", type=int, default=10, help="scenes of each edit type")
    args = parser.parse_args()
    for model in args.model:
        editor = make_editor(model)
        size = editor.info.native_size
        scenes = [draw_triplet(9, index, "heldout", size, edit_type=kind) for kind in EDIT_TYPES for index in range(args.per_type)]
        photos = [Image.fromarray(scene.original) for scene in scenes]
        plain: list[np.ndarray] = []
        print(f"{model}, {len(scenes)} scenes\n{'':26}{'moved':>7}" + "".join(f"{name:>12}" for name in PERSPECTIVES))
        for name, control in CONTROLS.items():
            try:
                edits = [np.asarray(editor.edit(photo, EditSettings(scene.instruction, **control)).made)
                         for photo, scene in zip(photos, scenes, strict=True)]
            except MreError as error:
                print(f"{name:26}{error}")
                continue
            plain = plain or edits
            moved = statistics.median(_away(edit, base) / max(_away(base, scene.original), 1e-6)
                                      for edit, base, scene in zip(edits, plain, scenes, strict=True))
            scores = np.mean([score(scene, edit).scores for scene, edit in zip(scenes, edits, strict=True)], axis=0)
            print(f"{name:26}{moved:7.3f}" + "".join(f"{mean:12.2f}" for mean in scores), flush=True)


def _away(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.sqrt(((one.astype(float) - other) ** 2).mean()))


if __name__ == "__main__":
    main()
