"""A lexicon: words that the reader's training never shows, and words of training that mean the same or what they are a kind of. Made by
`mre.embedded.make_lexicon`. No torch here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path

from mre.files import write_whole

MOST_OF_PHRASE = 6          # words of an entry; a Chinese sign is one
MOST_VARIANTS = 8           # of one text
VERB, WORD, AGAIN = "v", "w", "again"
# After these, as at the beginning of a text, a verb says what to do.
BEFORE_VERBS = frozenset({"please", "pls", "plz", "to", "and", "then", "you", "can", "could", "would", "just", "we", "us", "let's",
                          "kindly", "now", "maybe", "also", "so", ",", ".", ";", ":", "!"})


@dataclass(frozen=True)
class Entry:
    """What a word is read as. part: VERB, which stands only where a verb says what to do; WORD; or AGAIN, a verb of training that is read
    so where the text is not understood as it is."""

    target: tuple[str, ...]
    part: str = WORD


class Lexicon:
    """Puts words of a lexicon into words that training asks with."""

    def __init__(self, entries: Mapping[str, Sequence[Entry]]) -> None:
        """entries: by word or phrase, its words with one blank between."""
        self.entries = entries
        self.words = frozenset(word for phrase in entries for word in phrase.split())

    def variants(self, words: Sequence[str], again: bool = False) -> list[list[str]]:
        """The words of a text with all that have an entry replaced, the longest first, in each way that there is: none where nothing is.
        again: by entries of AGAIN too."""
        choices: list[list[tuple[str, ...]]] = []
        replaced, place = False, 0
        while place < len(words):
            count, entries = self._longest(words, place, again)
            choices.append([entry.target for entry in entries] or [tuple(words[place:place + count])])
            replaced |= any(target != tuple(words[place:place + count]) for target in choices[-1])
            place += count
        return [[word for part in way for word in part] for way in islice(product(*choices), MOST_VARIANTS)] if replaced else []

    def _longest(self, words: Sequence[str], place: int, again: bool) -> tuple[int, list[Entry]]:
        """How many words from a place on have entries, and these; else one, and none."""
        begins = place == 0 or words[place - 1] in BEFORE_VERBS
        parts = {WORD} | ({VERB} if begins else set()) | ({AGAIN} if begins and again else set())
        for count in range(min(MOST_OF_PHRASE, len(words) - place), 0, -1):
            found = [entry for entry in self.entries.get(" ".join(words[place:place + count]), ()) if entry.part in parts]
            if found:
                return count, found
        return 1, []


def write_lexicon(entries: Mapping[str, Sequence[Entry]], path: Path) -> None:
    """A line for each entry: word or phrase, what it is read as, part, with tabs between."""
    lines = (f"{word}\t{' '.join(entry.target)}\t{entry.part}\n" for word, several in sorted(entries.items()) for entry in several)
    write_whole(path, "".join(lines))


def read_lexicon(path: Path) -> dict[str, list[Entry]]:
    """Raises OSError; ValueError where a line is none of an entry."""
    entries: dict[str, list[Entry]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        word, target, part = line.split("\t")
        entries.setdefault(word, []).append(Entry(tuple(target.split()), part))
    return entries
