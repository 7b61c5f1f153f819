"""Judges on this server that can be chosen by name: the one that ships, and those that the Research tab has trained."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from mre.errors import StudyError
from mre.families import named
from mre.judge.reward_models.folder import judge_version, judges_in

if TYPE_CHECKING:
    from mre.judge.trained import TrainedJudge

EMBEDDED = "tiny-judge"
FOLDER = "judges"               # in the data folder


class LocalJudges:
    """The embedded judge and those of a data folder; no other folder of the server can be named."""

    def __init__(self, data: Path) -> None:
        self.folder = data / FOLDER

    @property
    def trained(self) -> dict[str, Path]:
        """Folders of those that were trained here, by name."""
        return judges_in(self.folder)

    @property
    def names(self) -> list[str]:
        return [EMBEDDED, *self.trained]

    def get(self, name: str) -> TrainedJudge:
        """Raises StudyError for a name that is none of `names`, JudgeError for a folder that has a fault."""
        if name == EMBEDDED:
            return _opened(None, "")
        known = self.trained
        if name not in known:
            raise StudyError(f"there is no judge {name[:60]!r} here")
        return _opened(known[name], judge_version(known[name]))


@lru_cache(maxsize=3)
def _opened(folder: Path | None, version: str) -> TrainedJudge:
    """Kept in memory, a folder as long as it is the same."""
    return named("mre.judge.trained:TrainedJudge")(folder) if folder else named("mre.judge.trained:embedded_judge")()
