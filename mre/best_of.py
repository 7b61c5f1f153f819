"""Several edits that differ in their seeds alone, and the one that a judge scores highest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from mre.editors.settings import MAX_SEED
from mre.errors import JudgeError, SettingsError
from mre.judge.overall import overall_of
from mre.judge.verdicts import Ask, Judge, score_one

if TYPE_CHECKING:
    from PIL.Image import Image

    from mre.editors.editor import Editor, EditorInfo, EditResult
    from mre.editors.settings import EditSettings
    from mre.judge.verdicts import Verdicts

MOST = 64           # edits to choose from
TASK = "evaluate"


@dataclass(frozen=True)
class Candidate:
    """One of the edits, and what the judge says of it. `overall` None: it could not be scored."""

    result: EditResult
    verdicts: Verdicts
    overall: float | None


def with_seeds(settings: EditSettings, count: int) -> list[EditSettings]:
    """The same settings with `count` seeds, from their own on."""
    return [replace(settings, seed=(settings.seed + number) % (MAX_SEED + 1)) for number in range(count)]


def refuse_seedless(info: EditorInfo, count: int) -> None:
    """Raises SettingsError for a count that is none, and for an editor whose edits would all be the same."""
    if not 2 <= count <= MOST:
        raise SettingsError(f"--best-of must be between 2 and {MOST}, got {count}")
    if not info.capabilities.seed:
        raise SettingsError(f"--best-of: {info.name} reads no seed, so that its edits would all be the same")


def ranked(editor: Editor, judge: Judge, photo: Image, settings: EditSettings, count: int) -> list[Candidate]:
    """The edits with `count` seeds, the best first; of equals the one with the earlier seed. Raises JudgeError where none can be scored."""
    candidates = list(_candidates(editor, judge, photo, settings, count))
    scored = [candidate for candidate in candidates if candidate.overall is not None]
    if not scored:
        reasons = "; ".join(dict.fromkeys(candidates[0].verdicts.errors.values()))
        raise JudgeError(f"{judge.name} could score none of {count} edits: {reasons}")
    return sorted(candidates, key=lambda candidate: -1.0 if candidate.overall is None else candidate.overall, reverse=True)


def _candidates(editor: Editor, judge: Judge, photo: Image, settings: EditSettings, count: int) -> Iterator[Candidate]:
    for result in editor.edit_many([photo] * count, with_seeds(settings, count)):
        verdicts = score_one(judge, Ask("the edit", settings.instruction, photo, result.image), TASK)
        yield Candidate(result, verdicts, None if verdicts.errors else overall_of(verdicts))


def told(judge: Judge, candidates: list[Candidate]) -> str:
    """Which was chosen and by how much, in a line."""
    best, *others = candidates
    seed = best.result.settings.seed
    left = ", ".join("-" if one.overall is None else f"{one.overall:.3f}" for one in others)
    scores = ", ".join(f"{verdict.perspective} {verdict.score:.2f}" for verdict in best.verdicts if verdict.score is not None)
    return f"best of {len(candidates)} by {judge.name}: seed {seed} with {best.overall:.3f} ({scores}); the others {left}"
