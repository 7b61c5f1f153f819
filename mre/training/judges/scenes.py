"""Synthetic scenes as labels: each spoiled in several ways, so that one original has good and bad edits whose true scores are known."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from urllib.parse import parse_qs

import numpy as np
from PIL import Image

from mre.data.scenes.defects import Spoiling, draw_spoiling
from mre.data.scenes.photos import read_photos
from mre.data.scenes.triplets import SceneTriplet, draw_triplet, followed, spoil_followed, to_bytes
from mre.errors import DataError
from mre.training.judges.groups import DrawnEdit, GroupSource, LabelledEdit, LabelledGroup

SCENES = "scenes:"
VARIANTS = 4            # edits of one scene
UNTOUCHED, PERFECT = 0.06, 0.06         # how often one of them is the original as it is, and the clean edit
SPOILINGS = 20_000_011          # a random stream that drawing a scene does not use


class SceneGroups:
    """The first `count` scenes of a seed, each with VARIANTS edits. Another time round they are spoiled in other ways."""

    def __init__(self, count: int, seed: int = 0, split: str = "train", size: int = 128, photos: Path | None = None,
                 photo_share: float = 0.4) -> None:
        if not 1 <= count <= 10_000_000:
            raise DataError(f"{SCENES} their number must be between 1 and 10,000,000, got {count}")
        self.count, self.seed, self.split, self.size, self.photo_share = count, seed, split, size, photo_share
        self.photos = _photos(str(photos)) if photos else None
        self.name = f"{SCENES}{split}" + (" on photographs" if photos else "")

    @classmethod
    def parse(cls, source: str) -> SceneGroups:
        """From `scenes:20000?seed=1&split=train&size=128&photos=DIR&photo_share=0.4`."""
        count, _, query = source.removeprefix(SCENES).partition("?")
        fields = {name: values[-1] for name, values in parse_qs(query, keep_blank_values=True).items()}
        if unknown := fields.keys() - {"seed", "split", "size", "photos", "photo_share"}:
            raise DataError(f"{source}: knows seed, split, size, photos and photo_share, not {', '.join(sorted(unknown))}")
        try:
            return cls(int(count), int(fields.get("seed", 0)), fields.get("split", "train"), int(fields.get("size", 128)),
                       Path(fields["photos"]) if fields.get("photos") else None, float(fields.get("photo_share", 0.4)))
        except ValueError as error:
            raise DataError(f"{source}: must look like scenes:20000?seed=1&split=train&size=128") from error

    def __len__(self) -> int:
        return self.count

    def source_of(self, number: int) -> str:
        return f"{self.split}-{self.seed}-{number}"

    def held_out(self, most: int, seed: int) -> GroupSource | None:
        """Scenes of the held-out split: things, places, looks and wordings that training never shows."""
        if self.split != "train":
            return None
        apart = SceneGroups(most, seed + 1_000_003, "heldout", self.size, None, self.photo_share)
        apart.photos = self.photos
        return apart

    def group(self, number: int, round: int = 0) -> LabelledGroup:
        triplet = draw_triplet(self.seed, number, self.split, self.size, self.photos, photo_share=self.photo_share)
        return spoiled_group(triplet, np.random.default_rng([SPOILINGS, self.seed, number, round]), first_as_drawn=round == 0)


def spoiled_group(triplet: SceneTriplet, rng: np.random.Generator, variants: int = VARIANTS, first_as_drawn: bool = True) -> LabelledGroup:
    """A scene's edits: as it was drawn, then spoiled anew, now and then the untouched original or the clean edit."""
    before, after, wrong = (picture.astype(np.float32) / 255 for picture in (triplet.original, triplet.target, triplet.wrong))
    made: list[tuple[np.ndarray, Sequence[float], DrawnEdit]] = []

    def add(picture: np.ndarray, scores: Sequence[float], done: np.ndarray, kinds: tuple[str, str, str]) -> None:
        made.append((picture, scores, DrawnEdit(triplet.target, done, triplet.target_mask, kinds)))

    def done_by(spoiling: Spoiling) -> np.ndarray:
        return followed(triplet.edit, spoiling, before, after, wrong, triplet.photo)
    if first_as_drawn:
        add(triplet.edited, triplet.reward.scores, to_bytes(done_by(triplet.spoiling)), triplet.kinds)
    while len(made) < variants:
        chance = rng.random()
        if chance < UNTOUCHED:
            add(triplet.original, (0.0, 5.0, 5.0), triplet.original, ("missing", "", ""))
        elif chance < UNTOUCHED + PERFECT:
            add(triplet.target, (5.0, 5.0, 5.0), triplet.target, ("", "", ""))
        else:
            spoiling = draw_spoiling((rng, rng, rng), triplet.edit, triplet.split)
            done = done_by(spoiling)
            picture = spoil_followed(spoiling, done, triplet.target_mask, rng)
            add(to_bytes(picture), [float(score) for score in spoiling.scores], to_bytes(done), spoiling.kinds)
    original = Image.fromarray(triplet.original)
    return LabelledGroup(triplet.id, tuple(
        LabelledEdit(triplet.instruction, original, Image.fromarray(picture), tuple(scores), edit_type=triplet.edit_type, item=triplet.id,
                     method=f"spoiling {place}", drawn=drawn) for place, (picture, scores, drawn) in enumerate(made)))


@lru_cache(maxsize=4)
def _photos(folder: str) -> list[np.ndarray]:
    return read_photos(Path(folder))
