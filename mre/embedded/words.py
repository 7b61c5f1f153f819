"""Words of a text as numbers: whole words of a list, and for every word the hashed pieces of its spelling; unknown words are mended first
where one that is asked with is near. No torch here."""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, cached_property

import numpy as np
from opencc import OpenCC
from rapidfuzz import process
from rapidfuzz.distance import OSA

MOST_WORDS = 64             # of a text; what comes after is not read
MOST_KEPT = 20_000          # mended words that are kept
BUCKETS = 4096              # of pieces
MOST_PIECES = 12            # of a word
PAD, UNKNOWN = 0, 1         # numbers that are no word
FIRST_WORD = 2

# A word, a number, or one sign of a script that writes without blanks. Whatever else is no blank is one symbol.
TOKENS = re.compile(r"[\u3400-\u9fff\u3040-\u30ff\uac00-\ud7af]|[^\W_\u3400-\u9fff\u3040-\u30ff\uac00-\ud7af]+(?:'[a-z]+)?|[^\w\s]|_")
APOSTROPHES = str.maketrans({"’": "'", "‘": "'", "`": "'"})
CHINESE = re.compile(r"[\u3400-\u9fff]")
DRAWN_OUT = re.compile(r"([^\W\d_])\1{2,}")       # "sooo", "foggyyyy"
SHORTEST_MENDED, SHORT, LONG = 3, 4, 7             # letters of a word: below SHORT it lacks one at most, from LONG on two slips are mended
# Slips that are words of the public list, or that lack no letter.
SLIPS = {"teh": "the", "hte": "the", "adn": "and", "nite": "night", "lite": "light", "dont": "don't", "doesnt": "doesn't", "isnt": "isn't",
         "cant": "can't", "wont": "won't", "wouldnt": "wouldn't", "shouldnt": "shouldn't"}
READ_SCRIPTS = ("LATIN", "CJK", "FULLWIDTH LATIN")
MOST_OF_OTHER_SCRIPTS = 0.25                       # share of a text's letters


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, its Chinese signs (simplified) and its symbols one by one, as many as are read."""
    if CHINESE.search(text):
        text = _to_simplified().convert(text)
    return TOKENS.findall(DRAWN_OUT.sub(r"\1\1", text.lower().translate(APOSTROPHES)))[:MOST_WORDS]


@cache
def _to_simplified() -> OpenCC:
    return OpenCC("t2s")


def in_another_script(text: str) -> bool:
    """Whether a text is written, in part at least, in a script that is neither Latin nor Chinese: kana, say, or Cyrillic."""
    letters = [sign for sign in text if sign.isalpha()]
    others = sum(not unicodedata.name(sign, "").startswith(READ_SCRIPTS) for sign in letters)
    return others > MOST_OF_OTHER_SCRIPTS * len(letters)


class Spelling:
    """Mends slips of the keyboard: an unknown word becomes the word of a list that is nearest, where one is near enough."""

    def __init__(self, wanted: Sequence[str], known: Iterable[str] = ()) -> None:
        """wanted: words that people ask with, which others are mended to, those of concepts first; known: words that are
        left as they are."""
        self.wanted = tuple(word for word in wanted if len(word) >= SHORTEST_MENDED)
        self.known = frozenset(known) | frozenset(wanted)
        self._mended: dict[str, tuple[str, ...]] = {}

    def mend(self, word: str) -> str:
        """The word, or the one that it was to be: one letter wrong, missing, doubled or swapped; in a long word two."""
        return self.meant_by(word)[0]

    def meant_by(self, word: str) -> tuple[str, ...]:
        """What a word may have been to be, the likeliest first: all words of the list that are as near as the nearest."""
        if self.wanted and word in SLIPS:
            return (SLIPS[word],)
        if word in self.known or len(word) < SHORTEST_MENDED or not (word.isascii() and word.isalpha()):
            return (word,)
        if word not in self._mended:
            if len(self._mended) > MOST_KEPT:
                self._mended.clear()
            most = 1 if len(word) < LONG else 2
            found = process.extract(word, self.by_length.get(len(word), ()), scorer=OSA.distance, score_cutoff=most, limit=None)
            # Few people miss the first letter; of two words the one that stands first in the list is meant.
            found.sort(key=lambda each: (each[1], each[0][0] != word[0], each[2]))
            self._mended[word] = tuple(each[0] for each in found if each[1] == found[0][1]) or (word,)
        return self._mended[word]

    @cached_property
    def by_length(self) -> dict[int, list[str]]:
        """The wanted words that a word of a length may be."""
        lengths = range(SHORTEST_MENDED, max(map(len, self.wanted), default=0) + 3)
        return {length: [word for word in self.wanted
                         if (len(word) - length == 1 if length < SHORT else abs(len(word) - length) <= (1 if length < LONG else 2))]
                for length in lengths}


def pieces_of(word: str) -> list[int]:
    """Numbers of the runs of three and four letters of a word, its ends marked: 1 .. BUCKETS - 1. A word of one sign is its own piece."""
    marked = f"<{word}>"
    runs = [marked] if len(word) == 1 else [marked[start:start + size] for size in (3, 4) for start in range(len(marked) - size + 1)]
    return [1 + zlib.crc32(run.encode()) % (BUCKETS - 1) for run in runs[:MOST_PIECES]]


def numbered(texts: list[str], index: Mapping[str, int], spelling: Spelling) -> tuple[np.ndarray, np.ndarray]:
    """(B, T) numbers of words by `index`, UNKNOWN where it has none, and (B, T, MOST_PIECES) numbers of pieces; 0 is nothing. T >= 1."""
    split = [[spelling.mend(word) for word in words_of(text)] for text in texts]
    longest = max(1, *map(len, split)) if split else 1
    words = np.full((len(texts), longest), PAD, np.int64)
    pieces = np.zeros((len(texts), longest, MOST_PIECES), np.int64)
    for row, tokens in enumerate(split):
        for place, token in enumerate(tokens):
            words[row, place] = index.get(token, UNKNOWN)
            found = pieces_of(token)
            pieces[row, place, :len(found)] = found
    return words, pieces
