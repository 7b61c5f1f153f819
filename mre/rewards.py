"""Perspectives, edit types and the reward: what every other part speaks of. Needs the standard library only."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, cast

from mre.errors import RewardError
from mre.text import fault_of_text

PERSPECTIVES = ("following", "preserving", "quality")
EDIT_TYPES = ("local", "remove", "add", "texture", "background", "global", "style")   # Real-Edit's seven, in its order
WHOLE_PICTURE = ("global", "style")      # the edit types that change every pixel
SCORE_MIN, SCORE_MAX = 0.0, 5.0
NOTHING_WRONG = "None"
TEXT_SEPARATOR = "; "
MAX_TEXT_CHARS = 500        # per perspective; far above what a text encoder of 77 tokens reads


@dataclass(frozen=True)
class Reward:
    """What an edit should score on each perspective, from 0 (worst) to 5 (best), and what is wrong with it.

    Raises RewardError, naming the field, for a score that is not a number in [0, 5] or a text that is not text.
    """

    following: float = SCORE_MAX
    preserving: float = SCORE_MAX
    quality: float = SCORE_MAX
    texts: tuple[str, str, str] = (NOTHING_WRONG, NOTHING_WRONG, NOTHING_WRONG)

    def __post_init__(self) -> None:
        for name in PERSPECTIVES:
            object.__setattr__(self, name, checked_score(getattr(self, name), name))
        texts = self.texts
        if isinstance(texts, str) or len(tuple(texts)) != len(PERSPECTIVES):
            raise RewardError(f"texts must be three, one for each of {', '.join(PERSPECTIVES)}, got {texts!r}")
        object.__setattr__(self, "texts", tuple(_checked_text(text, name) for name, text in zip(PERSPECTIVES, texts, strict=True)))

    @property
    def scores(self) -> tuple[float, float, float]:
        """The three scores, in the order of PERSPECTIVES."""
        return self.following, self.preserving, self.quality

    @property
    def text(self) -> str:
        """The reward text that the text encoder reads, such as `None; None; None`."""
        return TEXT_SEPARATOR.join(self.texts)

    @classmethod
    def best(cls) -> Reward:
        """5 / 5 / 5 with nothing wrong: what is asked for when nothing else is said."""
        return cls()

    @classmethod
    def of(cls, scores: Iterable[float | str | None], texts: Iterable[str] = (NOTHING_WRONG,) * 3) -> Reward:
        """A reward from three scores and three texts, both in the order of PERSPECTIVES."""
        scores = tuple(scores)
        if len(scores) != len(PERSPECTIVES):
            raise RewardError(f"scores must be three ({', '.join(PERSPECTIVES)}), got {len(scores)}")
        return cls(*cast(tuple[float, float, float], scores), texts=cast(tuple[str, str, str], tuple(texts)))      # checked on construction

    @classmethod
    def parse(cls, scores: str, text: str | None = None) -> Reward:
        """A reward from `"5,5,5"` and, when given, `"a; b; c"`: the forms of the command line."""
        values = scores.split(",")
        if len(values) != len(PERSPECTIVES):
            raise RewardError(f"scores must be three numbers with commas between, such as 5,5,5; got {scores!r}")
        texts = (NOTHING_WRONG,) * 3 if text is None else tuple(text.split(TEXT_SEPARATOR.strip()))
        if len(texts) != len(PERSPECTIVES):
            raise RewardError(f'reward text must be three texts with ";" between, got {text!r}')
        return cls.of((checked_score(value, name) for name, value in zip(PERSPECTIVES, values, strict=True)), texts)

    def with_score(self, perspective: str, score: float) -> Reward:
        """The same reward with another score on one perspective."""
        if perspective not in PERSPECTIVES:
            raise RewardError(f"perspective must be one of {', '.join(PERSPECTIVES)}, got {perspective!r}")
        return replace(self, **{perspective: score})


def checked_score(value: Any, name: str) -> float:
    """`value` as a float in [0, 5]. Raises RewardError that names the field."""
    try:
        score = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        score = math.nan
    if not SCORE_MIN <= score <= SCORE_MAX:      # NaN fails this too
        raise RewardError(f"{name} must be a number between 0 and 5, got {str(value).strip()!r}")
    return score


def _checked_text(text: object, name: str) -> str:
    """A reward text without surrounding blanks; empty means nothing is wrong. `;` would shift the perspectives."""
    if not isinstance(text, str):
        raise RewardError(f"text of {name} must be text, got {text!r}")
    if fault := fault_of_text(text):
        raise RewardError(f"text of {name} holds {fault}")
    text = " ".join(text.split())
    if TEXT_SEPARATOR.strip() in text:
        raise RewardError(f'text of {name} must not hold ";", which separates the three texts, got {text!r}')
    if len(text) > MAX_TEXT_CHARS:
        raise RewardError(f"text of {name} must have at most {MAX_TEXT_CHARS} characters, got {len(text)}")
    return text or NOTHING_WRONG
