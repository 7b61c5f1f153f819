"""What the page says of a recipe that is dropped on it, without a browser."""

from dataclasses import replace
from types import SimpleNamespace

import gradio as gr
from PIL import Image

from mre.editors.pipeline_info import FULL_SIZE
from mre.editors.settings import EditSettings
from mre.embedded.names import EMBEDDED
from mre.recipes import png_bytes
from tests.fake_editing import INFO, fake_editor
from ui.edit import recipe, region
from ui.edit.form import Form, build_instruction, build_photo, build_scores, build_settings, build_texts, settings_of


def test_a_recipe_of_a_fast_edit_is_what_the_form_asks_and_one_with_another_interval_of_guidance_is_said_not_to_be(tmp_path, monkeypatch):
    editor, photo = fake_editor(), Image.new("RGB", (96, 64), "olive")
    studio = SimpleNamespace(editors={editor.name: editor}, editor=lambda name: editor, trouble=str)
    filled = SimpleNamespace(fill=lambda *given: {}), SimpleNamespace(follow=lambda *given: {})
    for name, value in {"language_of": lambda request: "en", "photo_of": lambda token: photo, "for_photo": lambda settings, photo: settings,
                        "as_file": lambda *given: None}.items():
        monkeypatch.setattr(recipe, name, value)
    drop = recipe.on_drop(studio, *filled, "answer", "progress")
    for more, said in (({"guidance_interval": (0.2, 0.8)}, "guidance interval: (0.2, 0.8) then, None now"), ({}, "same bytes"),
                       ({"fast": True}, "same bytes"), ({"fast": True, "guidance_scale": 1.0}, "same bytes")):
        asked = EditSettings("make it blue", as_typed=True, **more)
        (tmp_path / "made.png").write_bytes(png_bytes(photo, editor.recipe(photo, asked)))
        assert said in drop(None, str(tmp_path / "made.png"), "token", editor.name)["answer"]


def form() -> Form:
    """As the tab builds it."""
    with gr.Blocks():
        photo = build_photo()
        marks = region.build(photo)
        return Form(photo=photo, instruction=build_instruction(), mask=marks.mask, put_back=marks.put_back, model=gr.Dropdown(["fake"]),
                    **build_texts(FULL_SIZE), **build_settings(FULL_SIZE), **build_scores(FULL_SIZE))


def test_the_form_shows_a_fast_edit_as_what_asks_for_the_same_again_and_hides_the_box_where_it_would_do_nothing():
    shown = form()
    fast = EditSettings("make it blue", fast=True)
    from_recipe = EditSettings.from_recipe(fake_editor().recipe(Image.new("RGB", (96, 64)), fast))
    for settings, steps in ((fast, 0), (from_recipe, 2)):
        filled = shown.fill(settings, "fake", INFO)
        assert (filled[shown.fast]["value"], filled[shown.fast]["visible"], filled[shown.steps]["value"]) == (True, True, steps)
        asked = settings_of(instruction="make it blue", following=5, preserving=5, quality=5, fast=True, steps=steps,
                            scheduler=filled[shown.scheduler]["value"])
        assert asked.resolved(INFO) == fast.resolved(INFO)
    filled = shown.fill(fast, "fake", replace(INFO, capabilities=EMBEDDED))
    assert (filled[shown.fast]["value"], filled[shown.fast]["visible"]) == (False, False)
