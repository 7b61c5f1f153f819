"""Where the Compare tab takes scores from: files that a visitor uploads, this studio's studies, and judge runs in its data folder."""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import sqlalchemy as sa

from mre.agreement.score_files import Ratings, read_edits, read_human, read_judge
from mre.errors import DataError
from mre.families import named
from mre.files import QUICK, png_bytes
from mre.imaging import open_reduced

if TYPE_CHECKING:
    from ui.studio import Studio

RUN_FILE = "scores.csv"         # of a benchmark folder, beside its edits.csv
PREVIEW_PIXELS = 512
PictureOf = Callable[[str, str | None], bytes | None]       # (item, method or None for the original) -> PNG


@dataclass
class Sources:
    """Both sides as read, before any choice of methods or judges."""

    human: Ratings
    judge: Ratings
    edits: pd.DataFrame | None
    picture: PictureOf


class SampleSources:
    """Drawn scenes with simulated annotators and the judge that ships: made when they are first asked for, the same for all visitors."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: Sources | None = None

    def get(self) -> Sources:
        """Takes seconds the first time. Raises MreError."""
        with self._lock:
            if self._made is None:
                sample = named("mre.benchmark.sample:draw_sample")()
                self._made = Sources(sample.human, sample.judge, sample.edits, lambda item, method: sample.pictures.get((item, method)))
            return self._made


def study_names(studio: Studio) -> list[str]:
    """Names of this studio's studies; none where there is no database yet."""
    from mre.study.records import all_studies
    if studio.settings.database is None and not Path(studio.settings.data).is_dir():
        return []
    return [study.name for study in all_studies(studio.store)]


def run_names(studio: Studio) -> list[str]:
    """Judge runs below the data folder, by their folder's name relative to it."""
    return studio.folders_with(RUN_FILE)


def read_sources(studio: Studio, study: str | None, human_files: Sequence[str] | None, run: str | None, judge_files: Sequence[str] | None,
                 edits_file: str | None) -> Sources:
    """Reads what was chosen; an uploaded file goes before a study or run. Raises DataError, naming what is missing or wrong."""
    edits = read_edits(Path(edits_file)) if edits_file else None
    picture: PictureOf = lambda item, method: None                      # noqa: E731
    if human_files:
        human = read_human([Path(file) for file in human_files])
    elif study:
        human, picture = read_human(study_table(studio, study), [study]), study_pictures(studio, study)
    else:
        raise DataError("people's ratings are missing: choose a study or upload a file")
    if judge_files:
        judge = read_judge([Path(file) for file in judge_files])
    elif run:
        if run not in run_names(studio):
            raise DataError(f"there is no judge run {run} here")
        folder = Path(studio.settings.data) / run
        judge = read_judge(folder / RUN_FILE, [run])
        edits = edits if edits is not None else read_edits(None, beside=folder / RUN_FILE)
        if not study or human_files:
            picture = run_pictures(folder, edits)
    else:
        raise DataError("judge scores are missing: choose a run or upload a file")
    return Sources(human, judge, edits, picture)


def study_table(studio: Studio, name: str) -> pd.DataFrame:
    """A study's scores as its long export has them, without annotators that are excluded."""
    from mre.study.export import export
    text = io.StringIO(newline="")
    export(studio.store, name, text, "long", without_excluded=True)
    return pd.read_csv(io.StringIO(text.getvalue()), dtype=str, keep_default_na=False, na_filter=False)


def study_pictures(studio: Studio, name: str) -> PictureOf:
    """Pictures as the study's annotators saw them."""
    from mre.study.records import find_study
    from mre.study.schema import edits, images, items, methods
    study = find_study(studio.store, name)

    def picture(item: str, method: str | None) -> bytes | None:
        query = sa.select(images.c.png).join(items, items.c.original == images.c.digest) if method is None else (
            sa.select(images.c.png).join(edits, edits.c.image == images.c.digest).join(items, items.c.id == edits.c.item_id)
            .join(methods, methods.c.id == edits.c.method_id).where(methods.c.name == method))
        with studio.store.read() as connection:
            return connection.execute(query.where(items.c.study_id == study.id, items.c.name == item)).scalar()
    return picture


def run_pictures(folder: Path, edits: pd.DataFrame | None) -> PictureOf:
    """Pictures of a benchmark folder. Only files inside it are read, whatever its edits.csv says."""
    if edits is None:
        return lambda item, method: None
    folder = folder.resolve()
    originals = edits.drop_duplicates("item").set_index("item")["original"]
    edited = edits.drop_duplicates(["item", "method"]).set_index(["item", "method"])["edited"]

    def picture(item: str, method: str | None) -> bytes | None:
        name = originals.get(item) if method is None else edited.get((item, method))
        path = (folder / name).resolve() if name else folder
        if not path.is_relative_to(folder) or not path.is_file():
            return None
        return png_bytes(open_reduced(path, PREVIEW_PIXELS), QUICK)
    return picture
