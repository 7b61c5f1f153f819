"""A PNG that was made here, dropped on the page: its settings go into the form, and what would keep the bytes from being equal is said."""

from __future__ import annotations

import html
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from mre.editors.settings import EditSettings
from mre.errors import MreError
from mre.recipes import read_recipe
from ui.edit.form import Form
from ui.edit.region import as_file, for_photo
from ui.edit.views import photo_of
from ui.notices import note
from ui.texts import add_texts, language_of, say, t

if TYPE_CHECKING:
    from ui.edit.form import Form
    from ui.edit.sweep import SweepPanel
    from ui.studio import Studio

TEXTS = {
    "tab_recipe": ("Recipe", "配方"),
    "recipe_about": ("Every PNG made here carries its recipe. Drop one to fill the form with the settings it was made with.",
                     "这里生成的 PNG 都带有配方。拖入一张即可把它的设置填入表单。"),
    "recipe_drop": ("PNG with a recipe", "带配方的 PNG"),
    "recipe_filled": ("The form is filled. Run it on the same photo to reproduce the picture.",
                      "表单已填好。用同一张照片运行即可重新生成。"),
    "recipe_same": ("All settings match: a run gives the same bytes.", "设置完全一致：运行会得到逐字节相同的图片。"),
    "recipe_differs": ("Differences from the original run:", "与原运行的差异："),
    "recipe_other_model": ("It was made with the model “{model}”, which is not available here; the selected model is kept.",
                           "它由模型 “{model}” 生成，此处没有该模型；保留当前选择的模型。"),
    "recipe_no_photo": ("Choose the original photo to check whether the result will be identical.",
                        "选择原照片后才能判断结果是否一致。"),
}
add_texts(TEXTS)


class RecipePanel:
    """The recipe's components."""

    def __init__(self) -> None:
        gr.Markdown(t("recipe_about"), elem_classes="muted small")
        self.file = gr.File(label=t("recipe_drop"), file_types=[".png"], type="filepath", elem_id="recipe-file", height=120)
        self.answer = gr.HTML(elem_id="recipe-answer")


def on_drop(studio: Studio, form: Form, sweep: SweepPanel, answer: gr.HTML, progress: gr.HTML) -> Callable:
    """Fill the form from the recipe inside the file; what is to be said of it stands beside the file and where a run's news stand."""
    def drop(request: gr.Request, file: str | None, photo: str | None, model: str, **axes: str) -> dict[Any, Any]:
        language = language_of(request)
        if not file:
            return {answer: ""}
        try:
            recipe = read_recipe(file, name=Path(file).name)
            settings = EditSettings.from_recipe(recipe)
            made_by = recipe.made_with.get("model", "")
            by_name = {editor.info.name if editor.status == "ready" else name: name for name, editor in studio.editors.items()}
            found = by_name.get(made_by) or (made_by if made_by in studio.editors else None)
            editor = studio.editor(found or model)
            lines = [note(say("recipe_filled", language))]
            if found is None:
                lines.append(note(say("recipe_other_model", language, model=made_by[:80]), "warn"))
            if photo:
                opened = photo_of(photo)
                # The form's words are read, also those of a recipe from before; of intervals of guidance it knows that of fast edits.
                as_the_form_asks = replace(settings, as_typed=False, guidance_interval=None, fast=settings.is_fast(editor.info))
                here = editor.recipe(opened, for_photo(as_the_form_asks, opened))
                lines.append(differences_html(recipe.differences(here, editor.silent_dtype), language))
            else:
                lines.append(note(say("recipe_no_photo", language)))
            filled = form.fill(settings, found, editor.info, as_file(studio, recipe.mask, request))
            said = dict.fromkeys((answer, progress), "".join(lines))
            return {**filled, **sweep.follow(editor.capabilities, axes), **said}
        except MreError as error:
            return dict.fromkeys((answer, progress), note(studio.trouble(error), "bad"))
    return drop


def differences_html(differences: list[str], language: str) -> str:
    """What keeps the bytes from being equal, or that nothing does."""
    if not differences:
        return note(say("recipe_same", language))
    rows = "".join(f"<li>{html.escape(line)}</li>" for line in differences)
    return f'<div class="notice"><p>{say("recipe_differs", language)}</p><ul>{rows}</ul></div>'


