"""How an editor read an instruction, in the visitor's language."""

from __future__ import annotations

import html
from typing import TYPE_CHECKING

from ui.notices import note
from ui.texts import add_texts, say

if TYPE_CHECKING:
    from mre.editors.reading import Reading

TEXTS = {
    "understood": ("Understood: {request}", "理解为：{request}"),
    "reading_unknown": ("Did not understand “{text}”: the photo stays as it is.", "没有理解 “{text}”：照片保持不变。"),
    "reading_several": ("Several requests in one: ask for one at a time. The photo stays as it is.", "一次只能提一个请求，照片保持不变。"),
    "reading_absent": ("Found no {absent} such as it knows in the photo, which stays as it is.",
                       "照片中没有找到它认识的东西（{absent}），照片保持不变。"),
    "reading_wordless": ("The instruction contains no words: the photo stays as it is.", "指令中没有文字，照片保持不变。"),
    "reading_script": ("It reads English and Chinese: the photo stays as it is.", "只能读懂中文和英文，照片保持不变。"),
    "nearest": ("Nearest that it knows", "最接近的请求"),
}
add_texts(TEXTS)


def reading_text(reading: Reading, language: str) -> str:
    """How an instruction was read, in one line."""
    if reading.understood:
        return say("understood", language, request=reading.understood)
    return say(f"reading_{reading.fault}", language, text=reading.quoted, absent=reading.absent)


def reading_html(reading: Reading, language: str) -> str:
    """The same under the instruction: plain where something is understood, a notice where nothing is."""
    text = reading_text(reading, language)
    return f'<p class="small muted" id="reading">{html.escape(text)}</p>' if reading.understood else note(text, "warn")


def with_reading(done: str, reading: Reading | None, language: str) -> str:
    """The news that an edit is done, and how its instruction was read: with nothing understood, that alone."""
    if reading is None:
        return note(done)
    read = reading_text(reading, language)
    return note(f"{done} · {read}") if reading.understood else note(read, "warn")
