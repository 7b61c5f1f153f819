"""The editor over plain HTTP: programs get the page's bytes, visitors nothing of each other's, and bad input one line."""

import asyncio
import base64
import io
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from mre.editors.device_queue import DeviceQueue
from mre.editors.settings import EditSettings
from mre.embedded.names import EMBEDDED
from mre.imaging import open_image
from mre.masks import Mask
from mre.recipes import read_recipe
from mre.rewards import Reward
from tests.conftest import ROOT
from tests.fake_editing import fake_editor
from tests.test_imaging import bomb
from tests.ui.serving import served
from ui.app import build_app
from ui.edit.programs import CURL
from ui.notices import without_paths
from ui.pictures import PictureShelf
from ui.studio import Studio, StudioSettings


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    queue = DeviceQueue(most_waiting=30)
    return build_app(StudioSettings(data=tmp_path_factory.mktemp("data")),
                     {"quick": fake_editor("quick", 0.002, queue), "slow": fake_editor("slow", 0.2, queue),
                      "plain": fake_editor("plain", queue=queue, capabilities=EMBEDDED)})


@pytest.fixture(scope="module")
def client(app):
    with served(app) as url, httpx.Client(base_url=url, timeout=60, limits=httpx.Limits(max_connections=60)) as http:
        yield http


def picture(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((96, 64), Image.Resampling.BICUBIC).save(file, "PNG")
    return file.getvalue()


def upload(client, data: bytes, name: str = "photo.png") -> dict:
    path = client.post("/gradio_api/upload", files={"files": (name, data)}).json()[0]
    return {"path": path, "meta": {"_type": "gradio.FileData"}}


def call(client, name: str, data: list) -> tuple[str, list | str]:
    """(`complete`, values) or (`error`, text) of one call."""
    event = client.post(f"/gradio_api/call/{name}", json={"data": data}).json()["event_id"]
    stream = client.get(f"/gradio_api/call/{name}/{event}").text
    kind, values = re.findall(r"event: (\w+)\ndata: (.*)", stream)[-1]
    return kind, json.loads(values)


def edit(client, data: bytes, instruction: str, scores=(5, 5, 5), seed=42, model="quick", text="None; None; None", inside=True):
    return call(client, "edit", [upload(client, data), instruction, *scores, text, seed, None, None, None, "default", model, inside])


def fetched(client, answer: list) -> bytes:
    return client.get(answer[0]["url"]).content


def test_the_endpoints_names_and_fields_stay(client):
    info = client.get("/gradio_api/info").json()["named_endpoints"]
    assert {"/edit", "/recipe", "/models"} <= set(info)
    assert [field["parameter_name"] for field in info["/edit"]["parameters"]] == [
        "image", "instruction", "following", "preserving", "quality", "reward_text", "seed", "steps", "guidance_scale",
        "image_guidance_scale", "scheduler", "model", "recipe_inside", "mask", "put_back", "negative_reward", "way_back", "fast"]
    assert all(field["parameter_has_default"] for field in info["/edit"]["parameters"][2:])


def test_a_program_gets_the_bytes_that_the_editor_gives_and_can_read_the_recipe(client, app):
    kind, answer = edit(client, picture(1), "make it blue", (5, 3, 0), 9, text="a; b; c")
    assert kind == "complete"
    settings = EditSettings("make it blue", Reward(5, 3, 0, ("a", "b", "c")), 9)
    wanted = app.state.studio.editor("quick").edit(open_image(picture(1)), settings).png()
    assert fetched(client, answer) == wanted
    assert answer[1]["seed"] == 9
    assert call(client, "recipe", [upload(client, wanted)])[1][0] == answer[1]
    kind, answer = edit(client, picture(1), "make it blue", inside=False)
    assert b"mre" not in fetched(client, answer)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_the_curl_example_of_the_page_makes_the_same_bytes(client, app, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(picture(1))
    subprocess.run(["bash", "-c", CURL.format(url=f"{client.base_url}/")], cwd=tmp_path, check=True, timeout=60)
    settings = EditSettings("make it look like sunset", seed=42)
    assert (tmp_path / "edited.png").read_bytes() == app.state.studio.editor("quick").edit(open_image(picture(1)), settings).png()


def test_a_program_may_ask_for_a_fast_edit_of_a_model_that_can_make_one(client, app):
    def asked(model: str) -> tuple[str, list | str]:
        return call(client, "edit", [upload(client, picture(1)), "make it blue", 5, 5, 5, "", 42, None, None, None, "default", model, True,
                                     None, False, "", "", True])
    kind, answer = asked("quick")
    assert kind == "complete", answer
    wanted = app.state.studio.editor("quick").edit(open_image(picture(1)), EditSettings("make it blue", fast=True))
    assert fetched(client, answer) == wanted.png()
    assert (answer[1]["steps"], answer[1]["scheduler"], answer[1]["guidance_interval"]) == (2, "dpm-solver", [0.1, 0.8])
    kind, answer = asked("plain")
    assert (kind, answer["error"]) == ("error", "fast: the model plain has no steps and no guidance to leave out of an edit with these "
                                                "settings; leave it out")


def mask_png(size: tuple[int, int] = (96, 64), box: tuple[int, int, int, int] = (20, 10, 60, 40)) -> bytes:
    """A rectangle that may change."""
    file, mask = io.BytesIO(), Image.new("L", size)
    mask.paste(255, box)
    mask.save(file, "PNG")
    return file.getvalue()


def masked(client, mask: bytes | None, put_back: bool = False, negative: str = "", way: str = "") -> tuple[str, list | str]:
    return call(client, "edit", [upload(client, picture(1)), "make it blue", 5, 5, 5, "", 42, None, None, None, "default", "quick", True,
                                 mask and upload(client, mask, "mask.png"), put_back, negative, way])


def test_a_program_says_where_the_edit_may_change_something_and_what_else_a_recipe_holds(client, app):
    kind, answer = masked(client, mask_png(), negative="0,1,2", way="replace")
    assert kind == "complete", answer
    settings = EditSettings("make it blue", negative_reward=Reward(0, 1, 2), way_back="replace", mask=Mask.read(mask_png()))
    wanted = app.state.studio.editor("quick").edit(open_image(picture(1)), settings).png()
    assert fetched(client, answer) == wanted
    assert read_recipe(wanted).mask == Mask.read(mask_png())
    far = np.asarray(open_image(wanted))[:, 75:]
    assert np.array_equal(far, np.asarray(open_image(picture(1)))[:, 75:]), "beyond the seam the photo's own pixels"


@pytest.mark.parametrize(("mask", "said"), [(mask_png((96, 60)), "the mask: has 96 x 60 pixels, the photo 96 x 64; both need one size"),
                                            (mask_png(box=(0, 0, 0, 0)), "the mask: marks nothing"),
                                            (mask_png(box=(0, 0, 96, 64)), "the mask: marks the whole picture"),
                                            (b"hello", "the mask: not a picture")])
def test_a_mask_that_does_not_fit_is_one_line(client, mask, said):
    outcome, answer = masked(client, mask)
    assert outcome == "error"
    assert said in json.dumps(answer)


def test_no_answer_names_a_place_on_the_server(client):
    places = {tempfile.gettempdir(), str(ROOT), sys.prefix, str(Path.home())}
    made = edit(client, picture(2), "make it blue")
    answers = [made, edit(client, b"hello", "make it blue"), edit(client, picture(2), "x", model="nonsense"), call(client, "models", []),
               call(client, "recipe", [upload(client, fetched(client, made[1]))]), call(client, "recipe", [upload(client, picture(2))]),
               *(client.get(address).text for address in ("/config", "/gradio_api/info", "/"))]
    assert [json.dumps(answer)[:300] for answer in answers if any(place in json.dumps(answer) for place in places)] == []
    assert made[1][0]["url"].startswith(f"{client.base_url}/pictures/")


def test_models_tell_what_they_can_use_and_the_rest_is_refused_by_name(client, app):
    editor = app.state.studio.editors["quick"]
    before, editor._info = editor.info, replace(editor.info, capabilities=EMBEDDED)
    try:
        told = {model["model"]: model["capabilities"] for model in call(client, "models", [])[1][0]}
        assert told["quick"] == EMBEDDED.as_json()
        assert told["slow"]["steps"] == [1, 200]
        assert (told["quick"]["seed"], told["quick"]["steps"]) == (False, None)
        assert edit(client, picture(1), "make it blue", (5, 3, 0))[0] == "complete"
        outcome, text = edit(client, picture(1), "make it blue", seed=7)
        assert outcome == "error"
        assert "seed 7: the model quick makes the same picture" in json.dumps(text)
    finally:
        editor._info = before


def test_gradios_own_client_gets_the_same_picture(client, app, tmp_path):
    from gradio_client import Client, handle_file
    (tmp_path / "photo.png").write_bytes(picture(3))
    program = Client(str(client.base_url), verbose=False, download_files=tmp_path, analytics_enabled=False)
    photo = handle_file(tmp_path / "photo.png")
    file, recipe = program.predict(image=photo, instruction="make it blue", quality=2, seed=7, api_name="/edit")
    wanted = app.state.studio.editor("quick").edit(open_image(picture(3)), EditSettings("make it blue", Reward(5, 5, 2), 7)).png()
    assert Path(file).read_bytes() == wanted
    assert recipe["reward"]["quality"] == 2
    assert program.predict(picture=handle_file(file), api_name="/recipe") == recipe
    assert [model["model"] for model in program.predict(api_name="/models")] == list(app.state.studio.editors)


@pytest.fixture
def agent(client):
    """An agent's session with the tools that the studio offers: call it with what shall be done in the session."""
    pytest.importorskip("mcp", reason="the mcp package is not installed, so the studio offers no tools to agents")
    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client

    def connected(work):
        async def session() -> None:
            async with streamablehttp_client(f"{client.base_url}/gradio_api/mcp/") as (read, write, _), ClientSession(read, write) as agent:
                await agent.initialize()
                return await work(agent)
        return asyncio.run(session())
    return connected


def test_an_agent_finds_three_tools_and_gets_to_see_its_edit(agent, app):
    photo = "data:image/png;base64," + base64.b64encode(picture(4)).decode()

    async def work(session):
        asked = {"image": photo, "instruction": "make it blue", "seed": 3}
        return (await session.list_tools(), await session.call_tool("edit", asked),
                await session.call_tool("edit", {"image": photo, "instruction": ""}), await session.call_tool("models", {}))
    tools, made, refused, models = agent(work)
    assert {tool.name for tool in tools.tools} == {"edit", "recipe", "models"}
    assert all(tool.description for tool in tools.tools)
    assert {"image", "instruction", "following"} <= set(next(tool for tool in tools.tools if tool.name == "edit").inputSchema["properties"])
    seen, address, recipe = made.content
    wanted = app.state.studio.editor("quick").edit(open_image(picture(4)), EditSettings("make it blue", seed=3)).image
    assert np.array_equal(open_image(base64.b64decode(seen.data)), wanted)
    assert "/pictures/" in address.text
    assert "make it blue" in recipe.text
    assert refused.isError
    assert "instruction is empty" in refused.content[0].text
    assert "quick" in models.content[0].text
    assert tempfile.gettempdir() not in str((tools, made, refused, models))


def test_a_model_folder_is_known_by_its_last_name(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "other" / "mine").mkdir(parents=True)
    studio = Studio(StudioSettings(models=(str(tmp_path / "mine"), str(tmp_path / "other" / "mine"), "owner/model", "tiny-untrained")))
    assert studio.models == ("mine", "mine-2", "owner/model", "tiny-untrained")
    assert [editor.name for editor in studio.editors.values()][:2] == [str(tmp_path / "mine"), str(tmp_path / "other" / "mine")]


def test_two_visitors_interleaved_get_nothing_of_each_other(client, app):
    editor = app.state.studio.editor("quick")

    def visitor(number: int) -> list[bytes]:
        results = []
        for turn in range(12):
            kind, answer = edit(client, picture(number), f"visitor {number} turn {turn}", (number, turn % 6, 5), number)
            assert kind == "complete", answer
            results.append(fetched(client, answer))
        return results
    with ThreadPoolExecutor(2) as pool:
        both = list(pool.map(visitor, (1, 2)))
    for number, results in zip((1, 2), both, strict=True):
        for turn, data in enumerate(results):
            settings = EditSettings(f"visitor {number} turn {turn}", Reward(number, turn % 6, 5), number)
            assert data == editor.edit(open_image(picture(number)), settings).png()


def test_nothing_of_a_programs_session_stays_in_memory(client, app):
    sessions = app.state.page.state_holder.session_data
    before = set(sessions)
    sent = edit(client, picture(5), "make it blue"), call(client, "models", []), call(client, "recipe", [upload(client, picture(5))])
    assert [kind for kind, _ in sent] == ["complete", "complete", "error"]
    assert set(sessions) == before


def test_twenty_at_once_each_get_their_own_and_a_full_line_refuses_politely(client, app):
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda number: edit(client, picture(number), f"number {number}", seed=number), range(20)))
    assert [kind for kind, _ in answers] == ["complete"] * 20
    assert [answer[1]["instruction"] for _, answer in answers] == [f"number {number}" for number in range(20)]
    queue = app.state.studio.queue
    held = [queue.join() for _ in range(31)]
    kind, answer = edit(client, picture(0), "one too many")
    for turn in held:
        turn.leave()
    assert kind == "error"
    assert "30 edits are waiting" in json.dumps(answer)


BAD = {"no picture": (b"hello", "not a picture"), "empty": (b"", "empty"), "cut off": (picture(0)[:200], "damaged or cut off"),
       "bomb": (bomb(), "too many pixels")}


@pytest.mark.parametrize("kind", BAD)
def test_bad_pictures_are_one_line_without_path_or_id(client, kind):
    data, reason = BAD[kind]
    outcome, answer = edit(client, data, "make it blue")
    text = json.dumps(answer)
    assert outcome == "error"
    assert reason in text
    assert "(id" not in text, "the line says it all"
    assert "/tmp" not in text
    assert "Traceback" not in text


@pytest.mark.parametrize(("scores", "instruction", "model", "reason"), [
    ((6, 5, 5), "x", "quick", "following"), ((5, -1, 5), "x", "quick", "preserving"), ((5, 5, 5), "", "quick", "instruction is empty"),
    ((5, 5, 5), "x" * 1001, "quick", "1001 characters"), ((5, 5, 5), "x", "../../etc/passwd", "there is no model")])
def test_bad_values_are_named(client, scores, instruction, model, reason):
    outcome, answer = edit(client, picture(0), instruction, scores, model=model)
    assert outcome == "error"
    assert reason in json.dumps(answer)


def test_files_of_the_server_cannot_be_named_as_pictures(client):
    for path in ("/etc/passwd", "README.md"):
        event = client.post("/gradio_api/call/edit", json={"data": [
            {"path": path, "meta": {"_type": "gradio.FileData"}}, "x", 5, 5, 5, "", 1, None, None, None, "default", "", True]})
        stream = client.get(f"/gradio_api/call/edit/{event.json()['event_id']}").text if event.status_code == 200 else "error"
        assert "error" in stream
        assert "root:" not in stream
        assert tempfile.gettempdir() not in stream


def test_a_programs_upload_is_gone_after_use(client, app):
    uploads = app.state.studio.uploads
    before = set(uploads.folder.iterdir())
    sent = upload(client, picture(77))
    came = set(uploads.folder.iterdir()) - before
    assert [file.read_bytes() for folder in came for file in folder.iterdir()] == [picture(77)]
    assert call(client, "edit", [sent, "make it blue", 5, 5, 5, "", 1, None, None, None, "default", "", True])[0] == "complete"
    assert not any(folder.exists() for folder in came)
    assert call(client, "edit", [sent, "make it blue", 5, 5, 5, "", 1, None, None, None, "default", "", True])[0] == "error"


def test_pictures_of_a_visit_have_secret_addresses_and_go_with_it(tmp_path):
    shelf = PictureShelf(max_bytes=1000)
    tokens = [shelf.put(bytes(400), "a.png", owner) for owner in ("one", "two", "one")]
    assert shelf.get(tokens[0]) is None, "the oldest gave way at the limit"
    assert len(tokens[1]) > 30
    shelf.drop_owner("one")
    assert (shelf.get(tokens[1]) is not None, shelf.get(tokens[2]), shelf.bytes_used) == (True, None, 400)
    assert len(list(shelf.folder.iterdir())) == 1


def test_a_visit_that_fills_the_shelf_pushes_out_its_own_oldest_and_nobody_elses():
    shelf = PictureShelf(max_bytes=1000)
    theirs = shelf.put(bytes(150), "b.png", "another")
    own = [shelf.put(bytes(400), "a.png", "visit") for _ in range(4)]
    assert [shelf.get(token) is not None for token in (theirs, *own)] == [True, False, False, True, True]
    large = shelf.put(bytes(990), "c.png", "visit")
    assert [shelf.get(token) is not None for token in (theirs, *own, large)] == [False] * 5 + [True]        # what is new stays


def test_a_programs_picture_is_kept_for_its_time_only():
    shelf = PictureShelf()
    short, long = shelf.put(b"1", "a.png", "programs", 0.0), shelf.put(b"22", "b.png", "programs", 60.0)
    time.sleep(0.02)
    assert (shelf.get(short), shelf.get(long).size) == (None, 2)
    shelf.put(b"333", "c.png", "programs")
    assert shelf.bytes_used == 5
    assert len(list(shelf.folder.iterdir())) == 2


def test_unknown_pictures_are_not_there_and_messages_lose_their_folders(client):
    assert client.get("/pictures/nonsense/picture.png").status_code == 404
    assert without_paths("/srv/app/models/tiny/unet: no file x/y.json in C:\\data\\z") == "unet: no file x/y.json in z"


def test_a_picture_whose_file_goes_while_it_is_asked_for_is_gone_and_no_error(client, app):
    shelf = app.state.studio.shelf
    token = shelf.put(b"1", "a.jpg", "programs")
    shelf.path(token).unlink()
    assert client.get(f"/pictures/{token}/a.jpg").status_code == 404
    shelf.drop(token)
