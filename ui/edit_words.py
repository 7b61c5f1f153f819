"""Words of an instruction as they are typed: how much of it is read, what the embedded model does not know, how it could go on."""

from __future__ import annotations

import html
from collections.abc import Callable
from typing import Any

import gradio as gr

from mre.data.scenes import example_instructions, nouns, unknown_words
from mre.editing import Editor
from mre.errors import MreError
from mre.models.zoo import is_embedded
from mre.rewards import EDIT_TYPES
from ui.chips import PICK, chips_html
from ui.studio import Studio
from ui.texts import add_texts, language_of, say

MOST_SUGGESTIONS = 5
TEXTS = {
    "tokens": ("{count} of {most} tokens", "{count}/{most} 个词元"),
    "tokens_cut": ("{count} of {most} tokens: the model does not read “{rest}”", "{count}/{most} 个词元：模型读不到 “{rest}”"),
    "unknown_words": ("The embedded model was never shown: {words}. It knows edits of whole pictures and these things: {nouns}.",
                      "内置模型没有学过：{words}。它会整图编辑，并认识这些物体：{nouns}。"),
    "other_language": ("The embedded model understands English only; for example: {example}", "内置模型只懂英文，例如：{example}"),
    "suggestions": ("Suggestions", "建议"),
    "untrained": ("This model is untrained: it shows how the page works, and edits nothing sensibly.",
                  "该模型未经训练：只用于演示页面，不能真正编辑。"),
}
add_texts(TEXTS)


def build() -> gr.HTML:
    """The lines under the instruction; `pick` carries a suggestion that was clicked."""
    return gr.HTML(elem_id="words", js_on_load=PICK)


def suggestions(typed: str) -> list[str]:
    """Instructions that the embedded model knows and that go on from what is typed: those that begin so first, then those that hold its
    last word. With nothing typed, one of each edit type."""
    known = [(kind, text) for kind in EDIT_TYPES for text in example_instructions(kind)]
    words = typed.lower().split()
    if not words:
        return [example_instructions(kind)[0] for kind in EDIT_TYPES]
    begins = [text for _, text in known if text.startswith(" ".join(words)) and text != " ".join(words)]
    last = words[-1]
    holds = [text for _, text in known if len(last) > 2 and any(word.startswith(last) for word in text.split()) and text != " ".join(words)]
    grown = []
    if len(last) > 1 and typed and not typed[-1].isspace():
        grown = [" ".join([*words[:-1], noun]) for noun in nouns() if noun.startswith(last) and noun != last]
    return list(dict.fromkeys([*begins, *grown, *holds]))[:MOST_SUGGESTIONS]


def words_html(editor: Editor, text: str, language: str) -> str:
    """Token count, notices and suggestions for an instruction."""
    lines = []
    if editor.status == "ready" and text.strip():
        try:
            count, most, rest = editor.count_tokens(text)
            kind, key = ("notice", "tokens_cut") if rest else ("muted", "tokens")
            lines.append(f'<p class="small {kind}" id="tokens">{html.escape(say(key, language, count=count, most=most, rest=rest))}</p>')
        except MreError:
            pass                                 # the status line says what is wrong with the model
    embedded = is_embedded(editor.name)
    if embedded:
        strange = unknown_words(text)
        if any(not word.isascii() for word in strange):
            lines.append(notice(say("other_language", language, example=example_instructions("global")[0])))
        elif strange:
            lines.append(notice(say("unknown_words", language, words=", ".join(strange[:8]), nouns=", ".join(nouns()))))
    found = suggestions(text) if embedded else []
    if found:
        lines.append(chips_html(found, say("suggestions", language)))
    return "".join(lines)


def notice(text: str) -> str:
    return f'<p class="notice" role="note">{html.escape(text)}</p>'


def on_type(studio: Studio) -> Callable:
    def typed(request: gr.Request, text: str, model: str) -> str:
        try:
            return words_html(studio.editor(model), (text or "")[:2000], language_of(request))
        except MreError as error:
            return notice(studio.trouble(error))
    return typed


def on_pick(event: gr.EventData) -> Any:
    """A suggestion into the instruction."""
    chosen = getattr(event, "pick", None)
    return chosen[:1000] if isinstance(chosen, str) else gr.skip()
