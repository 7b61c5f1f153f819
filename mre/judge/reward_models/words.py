"""Words of an instruction as numbers: hashed, so that any word of any script has one, the same in every process."""

from __future__ import annotations

import re
import unicodedata
import zlib

# Latin words and numbers whole; of scripts without blanks each character is a word
_WORDS = re.compile(r"[a-z]+|\d+|[^\W\d_a-z]|[^\w\s]")
MOST_WORDS = 40


def word_numbers(instruction: str, buckets: int) -> list[int]:
    """The first MOST_WORDS words, each as 1 .. buckets - 1; 0 stands for no word. Never empty."""
    text = unicodedata.normalize("NFKD", instruction).lower()
    words = _WORDS.findall("".join(character for character in text if not unicodedata.combining(character)))
    return [1 + zlib.crc32(word.encode()) % (buckets - 1) for word in words[:MOST_WORDS]] or [0]
