"""What an annotator sends for a screen, checked: an answer, or a draft of one."""

from __future__ import annotations

import json
from dataclasses import dataclass

from mre.errors import BadAnswer
from mre.rewards import PERSPECTIVES
from mre.study.schema import SKIP_REASONS

MAX_COMMENT_CHARS = 20_000


@dataclass(frozen=True)
class Answer:
    """One submit as it came from outside, checked."""

    key: str
    revision: int                                   # of the answer that the annotator saw; 0: none
    scores: tuple[tuple[int, int, int], ...] = ()   # of Edited Image 1 and 2; empty when skipped
    skip_reason: str | None = None
    comment: str = ""
    active_ms: int | None = None
    viewport: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.key, str) or not 8 <= len(self.key) <= 80 or not self.key.isascii():
            raise BadAnswer("key must be 8 to 80 plain characters")
        if isinstance(self.revision, bool) or not isinstance(self.revision, int) or self.revision < 0:
            raise BadAnswer(f"revision must be a whole number from 0, got {self.revision!r}")
        if self.skip_reason is None:
            object.__setattr__(self, "scores", checked_scores(self.scores))
        elif self.skip_reason not in SKIP_REASONS:
            raise BadAnswer(f"skip_reason must be one of {', '.join(SKIP_REASONS)}, got {self.skip_reason!r}")
        elif self.scores:
            raise BadAnswer("a skipped screen has no scores")
        object.__setattr__(self, "comment", checked_comment(self.comment))
        if self.active_ms is not None and (isinstance(self.active_ms, bool) or not isinstance(self.active_ms, int) or self.active_ms < 0):
            raise BadAnswer(f"active_ms must be a whole number from 0, got {self.active_ms!r}")
        if not isinstance(self.viewport, str) or len(self.viewport) > 40 or not self.viewport.isascii() or not self.viewport.isprintable():
            raise BadAnswer("viewport must be at most 40 plain characters")


def checked_scores(scores: object) -> tuple[tuple[int, int, int], ...]:
    """Two times three whole scores from 0 to 5. Raises BadAnswer that names the picture and perspective."""
    if not isinstance(scores, list | tuple) or len(scores) != 2:
        raise BadAnswer("scores must be two lists, for Edited Image 1 and 2")
    for number, row in enumerate(scores, 1):
        if not isinstance(row, list | tuple) or len(row) != len(PERSPECTIVES):
            raise BadAnswer(f"scores of Edited Image {number} must be three: {', '.join(PERSPECTIVES)}")
        for name, score in zip(PERSPECTIVES, row, strict=True):
            if isinstance(score, bool) or not isinstance(score, int) or not 0 <= score <= 5:
                raise BadAnswer(f"{name} of Edited Image {number} must be a whole number from 0 to 5, got {score!r}")
    return tuple(tuple(row) for row in scores)


def checked_comment(comment: object) -> str:
    """A comment as plain text. Raises BadAnswer for what is none, or too long."""
    if not isinstance(comment, str):
        raise BadAnswer("comment must be text")
    if len(comment) > MAX_COMMENT_CHARS:
        raise BadAnswer(f"the comment has {len(comment)} characters, at most {MAX_COMMENT_CHARS} can be kept; please shorten it")
    return plain_text(comment)


def plain_text(text: str) -> str:
    """Text that every database and CSV can hold: newlines as LF, no control characters, no broken surrogates."""
    text = text.encode("utf-8", "replace").decode().replace("\r\n", "\n").replace("\r", "\n")
    return "".join(char for char in text if char in "\n\t" or ord(char) >= 32).replace("\x7f", "").strip()


@dataclass(frozen=True)
class Draft:
    """What an annotator has put into a screen and not yet sent, checked."""

    scores: list[list[int | None]]                  # of Edited Image 1 and 2; None where nothing is chosen yet
    comment: str = ""
    skip_reason: str | None = None

    def __post_init__(self) -> None:
        if (not isinstance(self.scores, list) or len(self.scores) != 2
                or not all(isinstance(row, list) and len(row) == len(PERSPECTIVES) for row in self.scores)
                or not all(score is None or (type(score) is int and 0 <= score <= 5) for row in self.scores for score in row)):
            raise BadAnswer("a draft must be two lists of three scores from 0 to 5, or null where nothing is chosen")
        if self.skip_reason is not None and self.skip_reason not in SKIP_REASONS:
            raise BadAnswer(f"skip_reason must be one of {', '.join(SKIP_REASONS)}, got {self.skip_reason!r}")
        object.__setattr__(self, "comment", checked_comment(self.comment))

    @classmethod
    def from_json(cls, text: str) -> Draft:
        """A stored draft; one of before comments were kept is the scores alone."""
        kept = json.loads(text)
        return cls(kept) if isinstance(kept, list) else cls(**kept)
