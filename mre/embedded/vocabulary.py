"""What the small editors can know, trained on synthetic scenes: their words, their things, and instructions to try."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from mre.data.scenes import wordings
from mre.data.scenes.defects import DEGREES, FOLLOWING_TEXTS, HUES, PART_TEXTS, PRESERVING_TEXTS, QUALITY_TEXTS, WAYS
from mre.data.scenes.looks import LOOKS
from mre.data.scenes.world import KINDS, TEXTURES
from mre.rewards import NOTHING_WRONG


@lru_cache(maxsize=1)
def vocabulary() -> frozenset[str]:
    """Every word of instructions and reward texts, in lower case."""
    texts = [NOTHING_WRONG, "the picture background there gone two another", *DEGREES.values(), *TEXTURES, *HUES, *WAYS,
             *PART_TEXTS.values(), *(look.replace("_", " ") for look in LOOKS)]
    for table in (FOLLOWING_TEXTS, PRESERVING_TEXTS, QUALITY_TEXTS):
        texts += [text for wordings_of_one in table.values() for text in wordings_of_one]
    reward_words = wordings.words_in(re.sub(r"\{[a-z]+\}", " ", " ".join(texts)))
    return wordings.instruction_words() | frozenset(reward_words)


def nouns() -> tuple[str, ...]:
    """The things that can be named in an instruction."""
    return KINDS


def look_instructions(look: str, language: str = "en") -> tuple[str, ...]:
    """Some of the wordings of a look of the whole picture, the plainest first, in English or ("zh") Chinese."""
    if language == "zh":
        return (PLAINEST_CHINESE[look],)
    plain = [f"make it {text}" for text in wordings.ADJECTIVES.get(look, ())] + \
            [f"turn it into {text}" for text in wordings.STYLE_NOUNS.get(look, ())]
    sayings = [text for text in wordings.SAYINGS.get(look, ()) if text not in MISREAD]
    return (PLAINEST.get(look, plain[0]), *plain[:2], *sayings[:1])


MISREAD = ("remove the colours",)       # which the reader that ships takes for the removal of a thing: not offered


PLAINEST = {"sunset": "make it look like sunset", "night": "turn day into night", "winter": "change the season to winter",
            "black_and_white": "make it black and white", "sketch": "turn it into a pencil sketch", "sepia": "make it sepia",
            "watercolour": "turn it into a watercolour painting", "vintage": "make it look old", "negative": "invert the colours"}


PLAINEST_CHINESE = {
    "sunset": "变成日落时分", "black_and_white": "变成黑白照片", "winter": "改成冬天", "sketch": "变成铅笔素描", "night": "变成夜景",
    "sepia": "变成棕褐色", "foggy": "加点雾", "watercolour": "变成水彩画", "vintage": "变成老照片", "warmer": "暖一点", "cooler": "冷一点",
    "darker": "暗一点", "brighter": "亮一点", "vivid": "颜色鲜艳一点", "negative": "反转颜色", "poster": "变成海报", "autumn": "改成秋天",
    "pixel_art": "变成像素画"}


def unknown_words(text: str) -> list[str]:
    """The words of an instruction that never occur in training, in order, each once; whatever is not in Latin letters, and each run of
    symbols that are no punctuation (emoji, say), is one of them."""
    kept = "".join(sign if sign.isascii() or unicodedata.category(sign)[0] != "P" or sign == "’" else " " for sign in text.lower())
    words = re.findall(r"[^\W_]+(?:['’][^\W_]+)?|[^\w\s\x00-\x7f]+", kept)
    return list(dict.fromkeys(word for word in words if word not in vocabulary()))
