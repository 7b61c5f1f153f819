"""Looks in Chinese: a request in the very phrases that the reader was trained with is understood as it is. So few signs say so much that a
network which reads pieces of words takes "warmer" for "cooler". The phrases come with the reader."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

# What is to look so, where it stands before the phrase
TOPIC = re.compile("^(?:请|帮我|麻烦)?(?:把|让|将|给)?(?:整个|整张|整体|这张|这个)?(?:画面|照片|图片|图像|图)?的?"
                   "(?:色调|色彩|颜色|光线|亮度)?(?:变得|调得|弄得|变|调)?")
ASIDE = re.compile(r"[\s，。！？、,.!?~～]+|[吧啊呀哦呢]$")


@dataclass(frozen=True)
class ChineseLooks:
    """phrases: of looks, each with its look; carriers: what is said around them, with {adj} for a phrase."""

    phrases: Mapping[str, str] = field(default_factory=dict)
    carriers: Sequence[str] = ()

    def look(self, text: str) -> str:
        """The look that a text asks for in these words, "" where it is none of them, or could be two."""
        said = ASIDE.sub("", text)
        topic = TOPIC.match(said)
        return self._looks.get(said) or self._looks.get(said[topic.end():] if topic else "", "")

    @cached_property
    def _looks(self) -> dict[str, str]:
        """Phrases, alone and in what is said around them -> the look; none that two looks share."""
        found: dict[str, set[str]] = {}
        for phrase, look in self.phrases.items():
            for carrier in ("{adj}", *self.carriers):
                found.setdefault(ASIDE.sub("", carrier.format(adj=phrase)), set()).add(look)
        return {text: look for text, (look, *others) in found.items() if not others}
