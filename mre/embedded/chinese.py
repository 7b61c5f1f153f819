"""Looks in Chinese: a request in the very phrases of the table of concepts is understood as it is. So few signs say so much that a network
which reads pieces of words takes "warmer" for "cooler"."""

from __future__ import annotations

import re
from functools import cache

from mre.data.scenes.concepts import phrases, table

# What is to look so, where it stands before the phrase
TOPIC = re.compile("^(?:请|帮我|麻烦)?(?:把|让|将|给)?(?:整个|整张|整体|这张|这个)?(?:画面|照片|图片|图像|图)?的?"
                   "(?:色调|色彩|颜色|光线|亮度)?(?:变得|调得|弄得|变|调)?")
ASIDE = re.compile(r"[\s，。！？、,.!?~～]+|[吧啊呀哦呢]$")


def look_in_chinese(text: str) -> str:
    """The look that a text asks for in the table's own words, "" where it is none of them, or could be two."""
    said = ASIDE.sub("", text)
    topic = TOPIC.match(said)
    return _looks().get(said) or _looks().get(said[topic.end():] if topic else "", "")


@cache
def _looks() -> dict[str, str]:
    """Phrases of looks, alone and in what is said around them -> the look. None that a landscape or two looks share."""
    found: dict[str, set[str]] = {}
    for look in table()["looks"]:
        for phrase in phrases("looks", look, "zh"):
            found.setdefault(phrase, set()).add(look)
            for carrier in phrases("carriers_zh", "look"):
                found.setdefault(ASIDE.sub("", carrier.format(adj=phrase)), set()).add(look)
    landscapes = {phrase for scene in table()["backgrounds"] for phrase in phrases("backgrounds", scene, "zh")}
    return {text: look for text, (look, *others) in found.items() if not others and text not in landscapes}
