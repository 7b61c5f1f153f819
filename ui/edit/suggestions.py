"""Instructions offered for what is loaded. A model of a closed vocabulary knows few; only those are offered that it does well on it: tests
run each.

On any picture these are looks of the whole; on a drawn example also what it was drawn for, whose true edit is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mre.editors.editor import Vocabulary
    from ui.edit.examples import Example

MOST_AT_FIRST, MOST_COMPLETIONS = 7, 5


def read_language(vocabulary: Vocabulary | None, language: str) -> str:
    """The page's language where the model reads it, else English."""
    return language if vocabulary and language in vocabulary.languages else "en"


def offered(vocabulary: Vocabulary | None, example: Example | None, language: str = "en") -> list[str]:
    """All that may be offered with this model: at first one for each look, then other wordings."""
    language = read_language(vocabulary, language)
    wordings = vocabulary.suggestions(language) if vocabulary else ()
    first = [example.said(language)] if example and wordings else []
    return list(dict.fromkeys([*first, *(each[0] for each in wordings), *(text for each in wordings for text in each[1:])]))


def suggestions(vocabulary: Vocabulary | None, typed: str, example: Example | None, language: str = "en") -> list[str]:
    """With nothing typed, or a whole one of them, one for each look. Else what goes on from it: those that begin so first, then those that
    hold its last word."""
    all_of_them, words = offered(vocabulary, example, language), typed.lower().split()
    text, last = " ".join(words), words[-1] if words else ""
    others = [one for one in all_of_them if one.lower() != text]
    if not words or len(others) < len(all_of_them):
        return others[:min(MOST_AT_FIRST, len(vocabulary.suggestions()) if vocabulary else 0)]
    begins = [one for one in others if one.lower().startswith(text)]
    holds = [one for one in others if len(last) > 2 and any(word.startswith(last) for word in one.lower().split())]
    return list(dict.fromkeys([*begins, *holds]))[:MOST_COMPLETIONS]
