"""What the page says of a recipe that is dropped on it, without a browser."""

from types import SimpleNamespace

from PIL import Image

from mre.editors.settings import EditSettings
from mre.recipes import png_bytes
from tests.fake_editing import fake_editor
from ui.edit import recipe


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
