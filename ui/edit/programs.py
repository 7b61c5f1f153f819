"""The editor for programs: two named endpoints of the page's API, the same as tools for agents, and how to call them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.route_utils import get_request_origin

from mre.editors.capabilities import refuse_unused
from mre.editors.settings import EditSettings
from mre.masks import Mask
from mre.recipes import read_recipe
from mre.rewards import Reward
from ui.edit.views import photo_of
from ui.pictures import address
from ui.site.door import Page, address_field, photo_field, this_page
from ui.texts import add_texts, t

if TYPE_CHECKING:
    from mre.editors.editor import Editor
    from ui.studio import Studio

TEXTS = {
    "tab_programs": ("Programs", "程序接口"),
    "programs_about": ("The same editor without the page: the same recipe gives the same bytes everywhere.",
                       "不经过页面使用同一个编辑器：相同的配方在任何地方得到相同的字节。"),
}
add_texts(TEXTS)
OWNER, KEPT_SECONDS = "programs", 3600      # a program has an hour to fetch its picture

PYTHON = '''from gradio_client import Client, handle_file   # python -m pip install gradio_client

client = Client("{url}")
picture, recipe = client.predict(
    image=handle_file("photo.jpg"), instruction="make it look like sunset",
    following=5, preserving=5, quality=5, seed=42, api_name="/edit")
print(picture, recipe["made_with"]["model"])          # a PNG, its recipe inside
'''
CURL = '''FILE=$(curl -s {url}gradio_api/upload -F files=@photo.jpg | tr -d '[]"')
EVENT=$(curl -s {url}gradio_api/call/v2/edit -H 'Content-Type: application/json' -d '{{
  "image": {{"path": "'$FILE'", "meta": {{"_type": "gradio.FileData"}}}}, "instruction": "make it look like sunset",
  "following": 5, "preserving": 5, "quality": 5, "seed": 42}}' | tr -d '"{{}}' | cut -d: -f2 | tr -d ' ')
curl -sN {url}gradio_api/call/edit/$EVENT | tee answer.txt          # the recipe, and the address of the picture
curl -s $(grep -o 'http[^"]*edited.png' answer.txt | head -1) -o edited.png
'''
COMMAND = '''python -m mre edit photo.jpg "make it look like sunset" --scores 5,5,5 --seed 42 --out edited.png
python -m mre edit photos/ "make it look like sunset" --out edited/     # a folder; run again to go on
python -m mre edit jobs.csv --out edited/                               # one row, one picture
'''


def build(studio: Studio) -> None:
    """Draw the examples, and the endpoints, whose fields are not shown on the page."""
    url = f"http://{'127.0.0.1' if studio.settings.host in ('0.0.0.0', '::') else studio.settings.host}:{studio.settings.port}/"
    page = this_page()
    gr.Markdown(t("programs_about"), elem_classes="muted small")
    gr.Code(PYTHON.format(url=url), language="python", label="gradio_client", interactive=False, elem_id="program-python")
    gr.Code(CURL.format(url=url), language="shell", label="curl", interactive=False, elem_id="program-curl")
    gr.Code(COMMAND, language="shell", label="python -m mre edit", interactive=False, elem_id="program-command")
    with gr.Row(visible=False):
        image = photo_field(label="image")
        fields = [image, gr.Textbox(label="instruction"), *(gr.Number(5, label=name) for name in ("following", "preserving", "quality")),
                  gr.Textbox("None; None; None", label="reward_text"), gr.Number(42, label="seed", precision=0),
                  gr.Number(None, label="steps", precision=0), gr.Number(None, label="guidance_scale"),
                  gr.Number(None, label="image_guidance_scale"), gr.Textbox("default", label="scheduler"), gr.Textbox("", label="model"),
                  gr.Checkbox(True, label="recipe_inside"), photo_field(label="mask"), gr.Checkbox(False, label="put_back"),
                  gr.Textbox("", label="negative_reward"), gr.Textbox("", label="way_back"), gr.Checkbox(False, label="fast")]
        picture, recipe = address_field(label="picture"), gr.JSON(label="recipe")
        gr.Button().click(edit_endpoint(studio, page), fields, [picture, recipe], api_name="edit", concurrency_limit=40,
                          api_description="Edit a picture with an instruction and the scores (0-5) that the edit should have; returns the "
                                          "address of a PNG, kept for an hour, and the recipe to make it again. Empty model: the first. "
                                          "mask: a picture of the photo's size, white where the edit may change something. "
                                          "fast: half the steps and less guidance, where the model can.")
        gr.Button().click(recipe_endpoint(studio, page), photo_field(label="picture"), gr.JSON(label="recipe"), api_name="recipe",
                          concurrency_limit=40, api_description="The recipe inside a PNG that this studio made.")
        gr.Button().click(models_endpoint(studio, page), None, gr.JSON(label="models"), api_name="models", concurrency_limit=None,
                          api_description="The models that can be named, their state, and what they can use: `/edit` refuses the rest.")


def edit_endpoint(studio: Studio, page: Page) -> Callable:
    def edit(request: gr.Request, image: str, instruction: str, following: float = 5, preserving: float = 5, quality: float = 5,
             reward_text: str = "None; None; None", seed: int = 42, steps: int | None = None, guidance_scale: float | None = None,
             image_guidance_scale: float | None = None, scheduler: str = "default", model: str = "",
             recipe_inside: bool = True, mask: str | None = None, put_back: bool = False, negative_reward: str = "",
             way_back: str = "", fast: bool = False) -> tuple[str, dict[str, Any]]:
        try:
            reward = Reward.parse(f"{following},{preserving},{quality}", reward_text or None)
            negative = Reward.parse(negative_reward) if negative_reward else None
            settings = EditSettings(instruction, reward, seed if seed is not None else 42, steps or None, guidance_scale,
                                    image_guidance_scale, scheduler or "default", negative, way_back or None,
                                    Mask.read(mask, "the mask") if mask else None, bool(put_back), fast=bool(fast))
            editor = studio.editor(model or None)
            refuse_unused(settings, editor.info, lambda name: "following, preserving, quality" if name in ("scores", "no_wish") else name)
            result = editor.edit(photo_of(image), settings, should_stop=studio.closing.is_set)
            token = studio.shelf.put(result.png(bool(recipe_inside)), "edited.png", OWNER, KEPT_SECONDS)
            asking = request.request
            assert asking is not None, "a program asks"
            return str(get_request_origin(asking, "").join(address(token, "edited.png"))), json.loads(result.recipe.to_json())
        except Exception as error:
            raise studio.error(error) from None
        finally:
            _forget(studio, page, request.session_hash, image, mask)
    return edit


def recipe_endpoint(studio: Studio, page: Page) -> Callable:
    def recipe(request: gr.Request, picture: str) -> dict[str, Any]:
        try:
            return json.loads(read_recipe(picture or "", name=Path(picture or "").name).to_json())
        except Exception as error:
            raise studio.error(error) from None
        finally:
            _forget(studio, page, request.session_hash, picture)
    return recipe


def models_endpoint(studio: Studio, page: Page) -> Callable:
    def models(request: gr.Request) -> list[dict[str, Any]]:
        _forget(studio, page, request.session_hash)
        return [{"model": name, "status": editor.status, "capabilities": editor.capabilities.as_json(), "defaults": defaults_of(editor)}
                for name, editor in studio.editors.items()]
    return models


def defaults_of(editor: Editor) -> dict[str, float] | None:
    """The model's own numbers for what may be asked of it; None before it is known."""
    if editor.default_steps is None:
        return None
    has, info = editor.capabilities, editor.info
    numbers = {"steps": (has.steps, info.steps), "guidance_scale": (has.guidance_scale, info.guidance_scale),
               "image_guidance_scale": (has.image_guidance_scale, info.image_guidance_scale)}
    return {name: value for name, (used, value) in numbers.items() if used}


def _forget(studio: Studio, page: Page, session: str | None, *uploads: str | None) -> None:
    """A program's call is over: its uploads have been read and are not needed again. A page that calls as a program does goes on."""
    if session not in studio.visits:
        for upload in uploads:
            studio.uploads.forget(upload)
        page.forget_session(session)
