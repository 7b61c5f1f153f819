"""Scores as words of the instruction, as HIVE (arXiv 2303.09618) puts them: the plainest way to ask an editor without a condition."""

from __future__ import annotations

from mre.rewards import PERSPECTIVES, Reward

NUMBERS = ("zero", "one", "two", "three", "four", "five")
NAMES = {"following": "following the instruction", "preserving": "preserving the rest", "quality": "image quality"}


def with_scores(instruction: str, reward: Reward) -> str:
    """The instruction and after it each score, such as `make it red, ..., image quality is five out of five`. Reward texts are not said,
    nor is a perspective without a wish."""
    said = (f"{NAMES[name]} is {_number(score)} out of five" for name, score in zip(PERSPECTIVES, reward.wishes, strict=True)
            if score is not None)
    return ", ".join((instruction.rstrip(" .!?,;"), *said))


def _number(score: float) -> str:
    """In words where it is whole."""
    return NUMBERS[int(score)] if score == int(score) else f"{score:g}"
