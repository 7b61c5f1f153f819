"""A link to the form as it is: an address with instruction, scores and settings, but without the photo."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import gradio as gr

from mre.editors.settings import EditSettings
from mre.errors import MreError, SettingsError
from mre.rewards import NOTHING_WRONG, PERSPECTIVES, Reward, parsed_score
from ui.notices import note
from ui.texts import add_texts, language_of, say, t

if TYPE_CHECKING:
    from ui.studio import Studio

NUMBERS = ("steps", "guidance_scale", "image_guidance_scale", "seed")
PLAIN = ("scheduler", "way_back")
SWITCHES = ("put_back", "fast")        # 1 where they are on
NO_WORDS = "-"                 # where a link gives no instruction
FIELDS = ("instruction", *PERSPECTIVES, *(f"text_{name}" for name in PERSPECTIVES), *NUMBERS, *PLAIN, "negative_reward", *SWITCHES)
MOST_CHARS = 1000              # of a value
DEFAULTS = EditSettings(NO_WORDS)
add_texts({
    "link_copy": ("Copy link", "复制链接"),
    "link_shown": ("A link to these words, scores and settings, without the photo:", "包含这些文字、评分和设置的链接（不含照片）："),
    "link_filled": ("The form is filled from the link. Choose a photo and run.", "已按链接填写表单，请选择照片并运行。"),
    "link_refused": ("The link's settings were not taken: {reason}", "未采用链接中的设置：{reason}"),
})
# The clipboard may be closed to the page; then the address can be marked and copied by hand.
COPY = """(query) => { const shown = document.querySelector('#link-shown output'); if (!shown || !query) return;
const url = new URL(location.pathname, location.origin); url.search = query; shown.textContent = url.href;
navigator.clipboard?.writeText(url.href).catch(() => {}); }"""


def build_button() -> gr.Button:
    return gr.Button(t("link_copy"), size="sm", elem_id="copy-link", min_width=80)


def query_of(settings: EditSettings, model: str) -> str:
    """The query of an address: whatever is not as in a new form."""
    reward, negative = settings.reward, settings.negative_reward
    values: dict[str, Any] = {"instruction": settings.instruction, "model": model}
    values |= {name: shown for name, shown in zip(PERSPECTIVES, reward.shown(",").split(","), strict=True) if shown != "5"}
    values |= {f"text_{name}": text for name, text in zip(PERSPECTIVES, reward.texts, strict=True) if text != NOTHING_WRONG}
    values |= {name: getattr(settings, name) for name in (*NUMBERS, *PLAIN) if getattr(settings, name) != getattr(DEFAULTS, name)}
    values |= {} if negative is None else {"negative_reward": negative.shown(",")}
    on = {"put_back": settings.put_back and settings.mask is None, "fast": settings.fast}
    return urlencode(values | {name: 1 for name in SWITCHES if on[name]})


def asked_by(request: gr.Request | None) -> dict[str, str]:
    """What the address of a page says of the form."""
    query = dict((request.query_params if request else None) or {})
    return {name: str(query[name]) for name in (*FIELDS, "model") if query.get(name)}


def settings_from(query: Mapping[str, str]) -> EditSettings | None:
    """What an address asks for; None where it asks for nothing. Raises MreError naming the field."""
    asked = {name: str(query[name]) for name in FIELDS if query.get(name)}
    if not asked:
        return None
    if long := [name for name, value in asked.items() if len(value) > MOST_CHARS]:
        raise SettingsError(f"{long[0]} has more than {MOST_CHARS} characters")
    for name in SWITCHES:
        if asked.get(name, "0") not in ("0", "1"):
            raise SettingsError(f"{name} must be 0 or 1, got {asked[name][:40]!r}")
    reward = Reward.of([parsed_score(asked.get(name, "5"), name) for name in PERSPECTIVES],
                       [asked.get(f"text_{name}", "") for name in PERSPECTIVES])
    given: dict[str, Any] = {name: asked[name] for name in (*NUMBERS, *PLAIN) if name in asked}         # checked by the settings
    if "negative_reward" in asked:
        given["negative_reward"] = Reward.parse(asked["negative_reward"])
    return EditSettings(asked.get("instruction", NO_WORDS), reward, **{name: asked.get(name) == "1" for name in SWITCHES}, **given)


def fill_from(studio: Studio, tab: Any, query: dict[str, str], language: str, model: str, axes: dict[str, str]) -> dict[Any, Any]:
    """Updates of the form as an address asks, and what is said of it."""
    try:
        if (settings := settings_from(query)) is None:
            return {}
        chosen = query.get("model", model)
        info = studio.editor(chosen).info
        filled = tab.form.fill(settings, chosen, info)
    except MreError as error:
        return {tab.progress: note(say("link_refused", language, reason=studio.trouble(error)), "bad")}
    if settings.instruction == NO_WORDS:
        filled[tab.form.instruction] = ""
    return {**filled, **tab.sweep.follow(info.capabilities, axes), tab.progress: note(say("link_filled", language))}


def on_copy(studio: Studio, settings_of: Callable[..., EditSettings]) -> Callable:
    """The query of the form as it is, and the line that shows the address."""
    def copy(request: gr.Request, model: str, **fields: Any) -> tuple[str, str]:
        language = language_of(request)
        try:
            query = query_of(settings_of(**fields), model)
        except MreError as error:
            return "", note(studio.trouble(error), "bad")
        return query, f'<p class="notice plain" role="status" id="link-shown">{say("link_shown", language)} <output></output></p>'
    return copy
