"""What a model trained on synthetic scenes can know: its words, its things, and instructions to try."""

from __future__ import annotations

import re
from functools import lru_cache

from mre.data.scenes import wordings
from mre.data.scenes.defects import DEGREES, FOLLOWING_TEXTS, PRESERVING_TEXTS, QUALITY_TEXTS
from mre.data.scenes.looks import LOOKS
from mre.data.scenes.world import COLOUR_NAMES, KINDS, TEXTURES
from mre.rewards import NOTHING_WRONG

EXAMPLES = {
    "local": ("make the ball blue", "paint the left star green", "change the color of both cars to red"),
    "remove": ("remove the tree", "take the ball on the left away", "remove both houses"),
    "add": ("add a red balloon in the sky", "put a yellow star on the left", "add two blue balls"),
    "texture": ("make the cube wooden", "give the heart stripes", "make the ball golden"),
    "background": ("change the background to a beach", "put everything in the snow", "replace the background with a city"),
    "global": ("make it look like sunset", "make it foggy", "turn day into night", "change the season to winter",
               "make it brighter"),
    "style": ("make it black and white", "turn it into a pencil sketch", "make it look like pixel art",
              "turn it into a watercolor painting", "make it sepia")}


@lru_cache(maxsize=1)
def vocabulary() -> frozenset[str]:
    """Every word of instructions and reward texts, in lower case."""
    texts = [NOTHING_WRONG, "the picture background there gone two another", *DEGREES.values(), *TEXTURES,
             *(look.replace("_", " ") for look in LOOKS)]
    for table in (FOLLOWING_TEXTS, PRESERVING_TEXTS, QUALITY_TEXTS):
        texts += [text for wordings_of_one in table.values() for text in wordings_of_one]
    reward_words = wordings.words_in(re.sub(r"\{[a-z]+\}", " ", " ".join(texts)))
    return wordings.instruction_words() | frozenset(reward_words)


def nouns() -> tuple[str, ...]:
    """The things that can be named in an instruction."""
    return KINDS


def colours() -> tuple[str, ...]:
    return COLOUR_NAMES


def example_instructions(edit_type: str) -> tuple[str, ...]:
    """Instructions of one edit type to try."""
    return EXAMPLES[edit_type]


def unknown_words(text: str) -> list[str]:
    """The words of an instruction that never occur in training, in order, each once; whatever is not in Latin letters is one of them."""
    words = re.findall(r"[^\W_]+(?:'[^\W_]+)?", text.lower())
    return list(dict.fromkeys(word for word in words if word not in vocabulary()))
