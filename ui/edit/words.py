"""Words of an instruction as they are typed: how much of it is read, what the embedded model does not know, how it could go on."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import gradio as gr

from mre.editors.settings import MAX_INSTRUCTION_CHARS
from mre.errors import MreError
from ui.chips import PICK, chips_html
from ui.edit.examples import Example, example_of
from ui.edit.reading import reading_html
from ui.edit.suggestions import suggestions
from ui.texts import add_texts, language_of, say

if TYPE_CHECKING:
    from mre.editors.editor import Editor, Vocabulary
    from mre.editors.reading import Reading
    from ui.studio import Studio

SHOWN_WORDS, SHOWN_WORD, SHOWN_REST = 8, 24, 60     # how much of what was typed is said again
TEXTS = {
    "tokens": ("{count} of {most} tokens", "{count}/{most} 个词元"),
    "tokens_cut": ("{count} of {most} tokens: the model does not read “{rest}”", "{count}/{most} 个词元：模型读不到 “{rest}”"),
    "unknown_words": ("This model doesn't know: {words}. It knows whole-picture effects and these objects: {nouns}.",
                      "该模型不认识：{words}。它会整图效果，并认识这些物体：{nouns}。"),
    "no_words": ("The instruction contains no words.", "指令中没有文字。"),
    "things_on_photo": ("In photos this model cannot find {things}: it changes only light, weather, season, colours and style of the "
                        "whole picture.",
                        "这个模型在照片里找不到 {things}：它只改变整张照片的光线、天气、季节、颜色和风格。"),
    "other_language": ("This model understands English only; for example: {example}", "该模型只懂英文，例如：{example}"),
    "suggestions": ("Suggestions", "建议"),
    "instruction_long": ("At most {most} characters; these are {count}.", "最多 {most} 个字符，现在是 {count} 个。"),
}
add_texts(TEXTS)


def build() -> gr.HTML:
    """The lines under the instruction; `pick` carries a suggestion that was clicked."""
    return gr.HTML(elem_id="words", js_on_load=PICK)


def words_html(editor: Editor, text: str, language: str, example: Example | None = None, photo: bool = False) -> str:
    """Token count, notices and suggestions for an instruction; `example` is the drawn example that is loaded, `photo` tells of another
    picture."""
    lines = []
    vocabulary, reading = editor.vocabulary, _reading(editor, text)
    if len(text) > MAX_INSTRUCTION_CHARS:
        lines.append(notice(say("instruction_long", language, most=MAX_INSTRUCTION_CHARS, count=len(text))))
    elif editor.status == "ready" and text.strip() and reading is None:
        try:
            if counted := editor.count_tokens(text):
                count, most, rest = counted
                kind, key = ("notice", "tokens_cut") if rest else ("muted", "tokens")
                rest = html.escape(shortened(rest, SHOWN_REST))
                lines.append(f'<p class="small {kind}" id="tokens">{say(key, language, count=count, most=most, rest=rest)}</p>')
        except MreError:
            pass                                 # the status line says what is wrong with the model
    if reading is not None:
        lines.append(reading_html(reading, language))
    elif vocabulary is not None and text.strip():
        lines += [notice(words) for words in _about_words(vocabulary, text, language)]
    if vocabulary is not None and photo and (things := _things_to_find(vocabulary, text)):
        lines.append(notice(say("things_on_photo", language, things=things)))
    if found := suggestions(vocabulary, text, example, language):
        lines.append(chips_html(found, say("suggestions", language)))
    elif reading is not None and reading.nearest:
        lines.append(chips_html(list(reading.nearest), say("nearest", language)))
    return "".join(lines)


def _reading(editor: Editor, text: str) -> Reading | None:
    """How the editor reads what is typed, once it is loaded: before that, reading would load it."""
    if editor.status != "ready" or not text.strip() or len(text) > MAX_INSTRUCTION_CHARS:
        return None
    try:
        return editor.read(" ".join(text.split()))
    except MreError:
        return None                              # the status line says what is wrong with the model


def _about_words(vocabulary: Vocabulary, text: str, language: str) -> Iterator[str]:
    """What a model of a closed vocabulary that takes words as they are makes nothing of."""
    strange = vocabulary.unknown_words(text)
    if any(not letter.isascii() and letter.isalpha() for word in strange for letter in word):
        yield say("other_language", language, example=EXAMPLE)
    elif strange:
        shown = ", ".join(shortened(word, SHOWN_WORD) for word in strange[:SHOWN_WORDS])
        yield say("unknown_words", language, words=shown, nouns=", ".join(vocabulary.nouns))
    elif not any(sign.isalnum() for sign in text):
        yield say("no_words", language)


def _things_to_find(vocabulary: Vocabulary, text: str) -> str:
    """Things that the model knows and that an instruction wants found in the picture, not added to it."""
    words = text.lower().split()
    things = [noun for noun in vocabulary.nouns if any(word.strip(".,!?") in (noun, noun + "s") for word in words)]
    return "" if set(words) & ADDING else ", ".join(things)


EXAMPLE = "make it look like sunset"
ADDING = {"add", "put", "place", "draw", "insert", "include", "show", "want", "like", "be"}     # words that ask for something new


def shortened(text: str, most: int) -> str:
    return text if len(text) <= most else text[:most - 1] + "…"


def notice(text: str) -> str:
    return f'<p class="notice" role="note">{html.escape(text)}</p>'


def on_type(studio: Studio) -> Callable:
    def typed(request: gr.Request, text: str, model: str, photo: str | None) -> str:
        try:
            example = example_of(photo) if photo else None
            return words_html(studio.editor(model), text or "", language_of(request), example, bool(photo) and example is None)
        except MreError as error:
            return notice(studio.trouble(error))
    return typed


def on_pick(event: gr.EventData) -> Any:
    """A suggestion into the instruction."""
    chosen = getattr(event, "pick", None)
    return chosen[:1000] if isinstance(chosen, str) else gr.skip()
