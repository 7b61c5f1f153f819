"""Words of a text as numbers: whole words of a list, and for every word the hashed pieces of its spelling. No torch here."""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping

import numpy as np

MOST_WORDS = 32             # of a text; what comes after is not read
BUCKETS = 4096              # of pieces
MOST_PIECES = 12            # of a word
PAD, UNKNOWN = 0, 1         # numbers that are no word
FIRST_WORD = 2

# A word, a number, or one sign of a script that writes without blanks. Whatever else is no blank is one symbol.
TOKENS = re.compile(r"[\u3400-\u9fff\u3040-\u30ff\uac00-\ud7af]|[^\W_\u3400-\u9fff\u3040-\u30ff\uac00-\ud7af]+(?:'[a-z]+)?|[^\w\s]|_")
APOSTROPHES = str.maketrans({"’": "'", "‘": "'", "`": "'"})


def words_of(text: str) -> list[str]:
    """The words of a text in lower case, its Chinese signs and its symbols one by one, as many as are read."""
    return TOKENS.findall(text.lower().translate(APOSTROPHES))[:MOST_WORDS]


def pieces_of(word: str) -> list[int]:
    """Numbers of the runs of three and four letters of a word, its ends marked: 1 .. BUCKETS - 1. A word of one sign is its own piece."""
    marked = f"<{word}>"
    runs = [marked] if len(word) == 1 else [marked[start:start + size] for size in (3, 4) for start in range(len(marked) - size + 1)]
    return [1 + zlib.crc32(run.encode()) % (BUCKETS - 1) for run in runs[:MOST_PIECES]]


def numbered(texts: list[str], index: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """(B, T) numbers of words by `index`, UNKNOWN where it has none, and (B, T, MOST_PIECES) numbers of pieces; 0 is nothing. T >= 1."""
    split = [words_of(text) for text in texts]
    longest = max(1, *map(len, split)) if split else 1
    words = np.full((len(texts), longest), PAD, np.int64)
    pieces = np.zeros((len(texts), longest, MOST_PIECES), np.int64)
    for row, tokens in enumerate(split):
        for place, token in enumerate(tokens):
            words[row, place] = index.get(token, UNKNOWN)
            found = pieces_of(token)
            pieces[row, place, :len(found)] = found
    return words, pieces
