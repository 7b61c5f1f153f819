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
NO_WISH = "none"            # in place of a score, where it is typed or shown
TEXT_SEPARATOR = "; "
MAX_TEXT_CHARS = 500        # per perspective; far above what a text encoder of 77 tokens reads


@dataclass(frozen=True)
class Reward:
    """What an edit should score on each perspective, from 0 (worst) to 5 (best), and what is wrong with it. None is no wish: the
    perspective is left to the model.

    Raises RewardError, naming the field, for a score that is not a number in [0, 5], a text that is not text, and a text of a perspective
    without a wish.
    """

    following: float | None = SCORE_MAX
    preserving: float | None = SCORE_MAX
    quality: float | None = SCORE_MAX
    texts: tuple[str, str, str] = (NOTHING_WRONG, NOTHING_WRONG, NOTHING_WRONG)

    def __post_init__(self) -> None:
        for name in PERSPECTIVES:
            if (score := getattr(self, name)) is not None:
                object.__setattr__(self, name, checked_score(score, name))
        texts = self.texts
        if isinstance(texts, str) or len(tuple(texts)) != len(PERSPECTIVES):
            raise RewardError(f"texts must be three, one for each of {', '.join(PERSPECTIVES)}, got {texts!r}")
        object.__setattr__(self, "texts", tuple(_checked_text(text, name) for name, text in zip(PERSPECTIVES, texts, strict=True)))
        for name, wish, text in zip(PERSPECTIVES, self.wishes, self.texts, strict=True):
            if wish is None and text != NOTHING_WRONG:
                raise RewardError(f"text of {name} needs a score of {name}, for which there is no wish; got {text!r}")

    @property
    def wishes(self) -> tuple[float | None, float | None, float | None]:
        """The three scores, in the order of PERSPECTIVES; None for no wish."""
        return self.following, self.preserving, self.quality

    @property
    def scores(self) -> tuple[float, float, float]:
        """The three scores as numbers, in the order of PERSPECTIVES; NaN for no wish."""
        return cast(tuple[float, float, float], tuple(math.nan if wish is None else wish for wish in self.wishes))

    @property
    def without_wish(self) -> tuple[str, ...]:
        """The perspectives for which there is no wish."""
        return tuple(name for name, wish in zip(PERSPECTIVES, self.wishes, strict=True) if wish is None)

    def shown(self, separator: str = "/") -> str:
        """The scores in a line, such as `5/none/3.5`."""
        return separator.join(NO_WISH if wish is None else f"{wish:g}" for wish in self.wishes)

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
        """A reward from `"5,5,5"`, in which `none` is no wish, and, when given, `"a; b; c"`: the forms of the command line."""
        values = scores.split(",")
        if len(values) != len(PERSPECTIVES):
            raise RewardError(f"scores must be three numbers with commas between, such as 5,5,5; got {scores!r}")
        texts = (NOTHING_WRONG,) * 3 if text is None else tuple(text.split(TEXT_SEPARATOR.strip()))
        if len(texts) != len(PERSPECTIVES):
            raise RewardError(f'reward text must be three texts with ";" between, got {text!r}')
        return cls.of((parsed_score(value, name) for name, value in zip(PERSPECTIVES, values, strict=True)), texts)

    def with_score(self, perspective: str, score: float | None) -> Reward:
        """The same reward with another score on one perspective; with None, no wish, also without its text."""
        if perspective not in PERSPECTIVES:
            raise RewardError(f"perspective must be one of {', '.join(PERSPECTIVES)}, got {perspective!r}")
        texts = list(self.texts)
        if score is None:
            texts[PERSPECTIVES.index(perspective)] = NOTHING_WRONG
        return replace(self, **{perspective: score}, texts=tuple(texts))


def parsed_score(value: str, name: str) -> float | None:
    """A score as it is typed: a number, or `none` for no wish. Raises RewardError that names the field."""
    return None if str(value).strip().lower() == NO_WISH else checked_score(value, name)


def checked_score(value: Any, name: str) -> float:
    """`value` as a float in [0, 5]. Raises RewardError that names the field."""
    try:
        score = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        score = math.nan
    if not SCORE_MIN <= score <= SCORE_MAX:      # NaN fails this too
        raise RewardError(f"{name} must be a number between 0 and 5, got {str(value).strip()[:40]!r}")
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
