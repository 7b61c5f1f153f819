"""What the page says, in English and Chinese. A tab adds its own texts as `TEXTS = {key: (English, Chinese)}`.

Labels that never change go to the browser as keys (`t`), which shows them in the visitor's language. Sentences that a handler makes
are chosen on the server by what was switched to, or what the browser says it prefers (`say`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import gradio as gr
from gradio.i18n import I18nData

LANGUAGES = ("en", "zh")
CHOSEN = re.compile(r"(?:^|;\s*)mre_language=(en|zh)(?=;|$)")      # the cookie that the page's switch sets
_known: dict[str, tuple[str, str]] = {}


def add_texts(texts: Mapping[str, tuple[str, str]]) -> None:
    """Make a tab's texts known; called once, when its module is imported. A key belongs to one tab."""
    for key, both in texts.items():
        if _known.setdefault(key, both) != both:
            raise ValueError(f"text {key!r} is defined twice")


def t(key: str) -> I18nData:
    """A label that the browser shows in the visitor's language."""
    if key not in _known:
        raise KeyError(f"no text {key!r}")
    return I18nData(key)


def say(key: str, language: str = "en", **values: object) -> str:
    """A sentence in the given language, with values filled in. It is plain text: whoever puts it into HTML escapes it."""
    return _known[key][LANGUAGES.index(language)].format(**values)


def language_of(request: gr.Request | None) -> str:
    """The one that was switched to at the top of the page; else `zh` when the browser prefers Chinese to English, else `en`."""
    if chosen := CHOSEN.search(request.headers.get("cookie", "") if request else ""):
        return chosen[1]
    wanted = (request.headers.get("accept-language", "") if request else "").lower()
    for part in wanted.split(","):
        if part.strip().startswith(LANGUAGES):
            return part.strip()[:2]
    return "en"


def translations() -> gr.I18n:
    """All texts known, for the page."""
    chinese = {key: both[1] for key, both in _known.items()}
    return gr.I18n(en={key: both[0] for key, both in _known.items()}, zh=chinese, **{"zh-CN": chinese, "zh-TW": chinese, "zh-HK": chinese})
