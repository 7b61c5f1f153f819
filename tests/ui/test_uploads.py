"""What comes from outside names nothing on the server: files are bytes uploaded in the session, by whatever door they are named."""

from __future__ import annotations

import asyncio
import base64
import inspect
import io
import itertools
import math
import os
import re
import secrets
import socket
import stat
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import quote

import gradio
import httpx
import pytest
from gradio import processing_utils
from PIL import Image

from mre.editors.device_queue import DeviceQueue
from mre.study.accounts import write_account
from tests.fake_editing import fake_editor
from tests.ui.attacks import META, Walk, places_of, shapes, watching
from tests.ui.serving import served
from ui.app import build_app
from ui.site import gate
from ui.site.uploads import MOST_BYTES, VISIT, Caller
from ui.studio import StudioSettings

PASSWORDS = {"ada": ("researcher", "correct horse"), "vic": ("visitor", "battery staple"), "vera": ("visitor", "battery staple 2")}
SECRET_COLOUR = (201, 17, 88)


def png(colour=(10, 200, 30)) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 48), colour).save(file, "PNG")
    return file.getvalue()


class Site:
    """A studio that is served, the things on its machine that nobody uploaded, and a host that must never be asked for anything."""

    def __init__(self, url: str, app, places: dict[str, str], asked: list[str]) -> None:
        self.url, self.app, self.places, self.asked = url, app, places, asked
        self.signed = app.state.studio.access.enabled

    def client(self, name: str = "vic") -> httpx.Client:
        """Somebody's browser; signed in where there are accounts."""
        client = httpx.Client(base_url=self.url, timeout=60, follow_redirects=False)
        if self.signed:
            assert client.post("/login", data={"name": name, "password": PASSWORDS[name][1]}).status_code == 303
        client.get("/config")
        return client


@pytest.fixture(scope="module", params=["open", "accounts"])
def site(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    outside = tmp_path_factory.mktemp("outside")
    (outside / "outside.png").write_bytes(png(SECRET_COLOUR))
    (outside / "outside.csv").write_text("item,method,annotator,perspective,score,scale_min,scale_max\nhush,m,a,following,1,0,5\n")
    asked = []

    class Host(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(png())

        def log_message(self, *_):
            pass
    host = ThreadingHTTPServer(("127.0.0.1", 0), Host)
    Thread(target=host.serve_forever, daemon=True).start()
    for name, (role, password) in PASSWORDS.items():
        write_account(folder / "accounts.json", name, role, password)
    auth = folder / "accounts.json" if request.param == "accounts" else None
    queue = DeviceQueue(most_waiting=50)
    app = build_app(StudioSettings(data=folder / "data", auth=auth), {"quick": fake_editor("quick", 0.0, queue)})
    other = f"http://127.0.0.1:{host.server_port}"
    places = {**places_of(outside), "address": f"{other}/photo.png",
              "address without a scheme": other.removeprefix("http:") + "/photo.png",
              "metadata service": "http://169.254.169.254/latest/meta-data", "studio's source": "app.py"}
    with served(app) as url:
        yield Site(url, app, places, asked)
    host.shutdown()


def upload(client: httpx.Client, data: bytes | None = None, name: str = "photo.png") -> str:
    answer = client.post("/gradio_api/upload", files={"files": (name, data or png())})
    assert answer.status_code == 200, answer.text
    return answer.json()[0]


def file(path: str) -> dict:
    return {"path": path, "meta": META}


def edit_values(photo, instruction="make it blue") -> list:
    return [photo, instruction, 5, 5, 5, "None; None; None", 1, None, None, None, "default", "quick", True, None, False, "", "", False]


def called(client: httpx.Client, name: str, data: list) -> str:
    """All that a call by name tells."""
    event = client.post(f"/gradio_api/call/{name}", json={"data": data})
    if event.status_code != 200:
        return event.text
    return client.get(f"/gradio_api/call/{name}/{event.json()['event_id']}").text


def refusal(client: httpx.Client) -> str:
    """The words for what was never uploaded."""
    found = re.findall(r'"error": ?"([^"]+)"', called(client, "edit", edit_values(file("uploads/" + "x" * 43 + "/photo.png"))))
    assert found
    return found[0]


WHOLE = "MRE_WHOLE_WALK" in os.environ
LEAST, MOST = 9, 3  # attacks on an input that asks for a file, and on one that does not


@pytest.mark.timeout(900)        # a thousand requests
def test_no_input_of_any_function_takes_what_was_not_uploaded_in_the_session(site, capsys):
    """Every function that the running studio describes, private ones too, and every input; a new input is tried as well, by itself.
    Every attack meets every field for a file, shared out to the functions that read it, at least LEAST to each, and every frequent kind of
    other inputs, at most MOST to each. MRE_WHOLE_WALK=1 sends every attack to every input."""
    stranger = site.client("vera")
    places = {**site.places, "another's upload": upload(stranger), "another's upload as it lies": str(file_of(site, upload(stranger))),
              "another's picture": str(picture_of(site, stranger))}
    client = site.client("ada")
    words = refusal(client)
    walk = Walk(client)
    wrong = defaultdict(list)
    attacks = [(f"{place} as a file", shapes(value)["file"], True) for place, value in places.items()]
    attacks += [(shape, value, True) for shape, value in shapes(places["picture"]).items()]
    texts = [(f"{place} as text", places[place], False) for place in ("picture", "table")]

    def send(task: tuple[dict, int, str, object, bool]) -> None:
        function, place, name, value, is_file = task
        values = walk.plain_values(function)
        values[place] = value
        answer = walk.run(function, values).text
        if (is_file and words not in answer) or "hush" in answer:
            wrong[f"{function['id']} {function['api_name']} input {place}: {name}"].append(answer[:200])
    asked = defaultdict(list)                    # by field where that is for a file, else by kind of field
    for function in walk.functions:
        for number, component in enumerate(function["inputs"]):
            kind = walk.components[component]["type"]
            asked[kind, component if kind in ("file", "image") else None].append((function, number))
    tasks = []
    for (_, field), its in asked.items():
        share = math.ceil(len(attacks) / len(its))
        share = min(MOST, share) if field is None else max(LEAST, share)
        turn, told = itertools.cycle(attacks), zip(itertools.cycle(its), texts)
        if WHOLE:
            share, told = len(attacks), itertools.product(its, texts)
        tasks += [(*one, *attack) for one in its for attack in itertools.islice(turn, share)] + [(*one, *text) for one, text in told]
    inputs = sum(map(len, asked.values()))
    with watching(list(places.values())) as opened, ThreadPoolExecutor(4) as pool:
        list(pool.map(send, tasks))
    with capsys.disabled():
        print(f"\n{'with' if site.signed else 'without'} accounts: {len(walk.functions)} functions, {inputs} inputs, {walk.tries} tries; "
              f"{len(wrong)} taken, {len(opened)} files touched, {len(site.asked)} requests to another host")
    assert opened == []
    assert site.asked == []
    assert dict(list(wrong.items())[:5]) == {}


def test_the_watch_that_the_walk_rests_on_sees_what_is_opened(tmp_path):
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with watching([str(tmp_path / "a"), str(tmp_path / "link"), str(tmp_path)]) as opened:
        (tmp_path / "a").read_bytes()
        (tmp_path / "link").read_bytes()
        list(tmp_path.iterdir())
        Path(os.path.relpath(tmp_path / "a")).read_bytes()
    assert len(opened) == 4


def test_every_route_that_takes_values_has_the_same_door(site):
    """Queue, direct call, call by name in both forms: what one refuses, all refuse, in the same words. With accounts the queue is asked for
    every third function, with MRE_WHOLE_WALK=1 for all."""
    client = site.client("ada")
    words, walk = refusal(client), Walk(client)
    names = {function["api_name"]: function for function in walk.functions}
    outside = file(site.places["picture"])
    tried = 0
    with watching(list(site.places.values())) as opened:
        for name, values in (("edit", edit_values(outside)), ("recipe", [outside])):
            answers = [called(client, name, values), walk.queued(names[name], values, secrets.token_hex(8)),
                       *(client.post(f"/gradio_api/{verb}/{name}", json={"data": values}).text for verb in ("run", "api"))]
            named = client.get("/gradio_api/info").json()["named_endpoints"][f"/{name}"]["parameters"]
            form = {parameter["parameter_name"]: value for parameter, value in zip(named, values, strict=True)}
            event = client.post(f"/gradio_api/call/v2/{name}", json=form).json()["event_id"]
            answers.append(client.get(f"/gradio_api/call/v2/{name}/{event}").text)
            tried += len(answers)
            assert [answer for answer in answers if words not in answer] == []
        each = 1 if WHOLE or not site.signed else 3
        for function in walk.functions[::each]:  # the queue, with a file in the first input of those that have any
            if function["inputs"]:
                assert words in walk.queued(function, [outside, *walk.plain_values(function)[1:]], secrets.token_hex(8)), function
    assert tried == 10
    assert opened == []


def test_agents_name_nothing_on_the_server_and_nothing_elsewhere(site):
    pytest.importorskip("mcp", reason="the mcp package is not installed, so the studio offers no tools to agents")
    from mcp import ClientSession
    from mcp.client.streamable_http import streamablehttp_client
    client, stranger = site.client("ada"), site.client("vera")
    words, mine, other = refusal(client), upload(client), upload(stranger)
    cookies = {"Cookie": "; ".join(f"{name}={value}" for name, value in client.cookies.items()), "X-Forwarded-Host": "evil.example"}
    inside = "data:image/png;base64," + base64.b64encode(png()).decode()
    places = [*site.places.values(), other, str(file_of(site, other)), f"{site.url}/gradio_api/file={other}", "data:text/html,x", "hello"]

    async def visit() -> None:
        async with streamablehttp_client(f"{site.url}/gradio_api/mcp/", headers=cookies) as (read, write, _), \
                ClientSession(read, write) as agent:
            await agent.initialize()
            tools = {tool.name: tool.inputSchema["properties"] for tool in (await agent.list_tools()).tools}
            assert "http or https" not in str(tools)
            with watching(list(site.places.values())) as opened:
                for place in places:
                    told = await agent.call_tool("edit", {"image": place, "instruction": "make it blue"})
                    assert (told.isError, told.content[0].text) == (True, words), (place, told)
                    told = await agent.call_tool("recipe", {"picture": place})
                    assert (told.isError, told.content[0].text) == (True, words), (place, told)
            assert opened == []
            for good in (inside, mine, f"{site.url}/gradio_api/file={upload(client)}"):
                told = await agent.call_tool("edit", {"image": good, "instruction": "make it blue"})
                assert not told.isError, (good[:60], told.content[0].text)
    asyncio.run(visit())
    assert site.asked == []


def test_routes_of_gradio_that_read_files_or_addresses_are_closed(site):
    client, stranger = site.client("ada"), site.client("vera")
    mine, other = upload(client), upload(stranger)
    assert client.get(f"/gradio_api/file={mine}").content == png(), "one's own upload is shown again"
    missing = client.get("/gradio_api/file=uploads/" + "x" * 43 + "/photo.png")
    inside = [other, str(file_of(site, other)), str(file_of(site, mine)), str(picture_of(site, stranger)), "uploads/../app.py"]
    with watching(list(site.places.values())) as opened:
        for value in [*site.places.values(), *inside]:
            quoted = quote(value[:5000])
            for route in ("file=", "file/", "proxy="):
                for path in {f"/gradio_api/{route}{quoted}", f"/gradio_api/{route}{value[:5000]}", f"//gradio_api/{route}{quoted}"}:
                    with suppress(httpx.InvalidURL):
                        answer = client.get(path)
                        assert answer.status_code in (404, 422), path
                        assert str(site.places["picture"]) not in answer.text
                        if route == "file=" and path.startswith("/g") and value:
                            assert answer.text in (missing.text, "Not found"), path          # the client itself takes ".." away
    assert opened == []
    assert site.asked == []
    for path in ("/gradio_api/deep_link?session_hash=walk-session", "/monitoring", "/svelte/a.js",
                 "/gradio_api/custom_component/a/client/b/c", "/gradio_api/stream/a/b/c/playlist.m3u8",
                 "/gradio_api/vibe-code", "/gradio_api/dev/reload", "/gradio_api/runs"):
        assert client.get(path).status_code == 404, path
    for path in ("/gradio_api/component_server", "/gradio_api/process_recording", "/gradio_api/stream/a", "/gradio_api/vibe-edit"):
        assert client.post(path, json={}).status_code == 404, path


def test_routes_are_closed_until_somebody_has_looked_at_them(site):
    """What the gate leaves open of all that this version of Gradio has; a version with other routes, or another version, is looked at anew:
    docs/deploy.md says what the door rests on."""
    assert gradio.__version__ == "6.31.0", "read again what docs/deploy.md says under Gradio's mount, then change this number"
    assert inspect.getsource(processing_utils._check_allowed).count("has_launched") == 1
    assert site.app.state.page.has_launched
    passed = []
    for route in every_route(site.app.routes[-1].app.app):
        path = re.sub(r"\{(\w+)(:path)?\}", "x", route.path)
        passed += [path for methods, pattern in gate.OPEN if route.methods & set(methods.split()) and pattern.fullmatch(path)]
    reading = ("file", "proxy", "stream", "component", "record", "deep", "vibe", "monitor", "custom", "reload", "runs", "upload")
    assert sorted({path for path in passed if any(word in path for word in reading)}) == ["/gradio_api/upload_progress"]


def every_route(app) -> list:
    """Routes of a Gradio application, those of its router too."""
    found = []
    for route in app.routes:
        inner = getattr(route, "original_router", None)
        found += [r for r in inner.routes if hasattr(r, "methods")] if inner is not None else [route] if hasattr(route, "methods") else []
    assert len(found) > 60
    return found


def test_browsers_keep_files_whose_name_changes_with_what_is_in_them_and_nothing_else(site):
    client, assets = site.client(), Path(gradio.__file__).parent / "templates" / "frontend" / "assets"
    names = [path.name for path in assets.iterdir()]
    assert [name for name in names if not re.search(r"-[\w-]{8,9}\.", name)] == [], "files without a hash in their name"
    kept = client.get(f"/assets/{names[0]}")
    assert (kept.status_code, kept.headers["cache-control"]) == (200, "private, max-age=31536000, immutable")
    for path in ("/", "/login", "/assets/none.js", "/static/img/logo.svg", "/gradio_api/info"):
        assert "immutable" not in client.get(path).headers.get("cache-control", ""), path


# ------------------------------------------------------------------------------------------------------- what must go on working

def test_an_upload_is_used_by_its_own_session_and_no_other(site):
    client, stranger = site.client("ada"), site.client("vera")
    walk, names = Walk(client), {}
    for function in walk.functions:
        names.setdefault(function["api_name"], function)
    look = names["seen"]
    values = [file(upload(client)), "quick"]
    assert "64 × 48" in walk.run(look, values, "one").text
    assert "64 × 48" in walk.run(look, values, "one").text, "as often as it likes"
    words = refusal(client)
    assert words in walk.run(look, values, "two").text, "another page of the same browser"
    assert words in Walk(stranger).run(look, values, "three").text
    assert "another browser" in Walk(stranger).run(look, [None, "quick"], "one").text, "another's session is nobody's to use"
    assert stranger.get("/gradio_api/heartbeat/one").status_code == 404
    assert stranger.get("/gradio_api/queue/data?session_hash=one").status_code == 404


def test_a_visitors_results_are_shown_to_their_own_browser_and_a_programs_to_whoever_has_the_address(site):
    client, stranger, shelf = site.client("ada"), site.client("vera"), site.app.state.studio.shelf
    visit = next(value for value in client.cookies.values() if VISIT.fullmatch(value) and value not in stranger.cookies.values())
    shelf.reserve("a visit", Caller("ada" if site.signed else "", visit))
    token = shelf.put(png(), "edited.png", "a visit")
    for address in (f"/pictures/{token}/edited.png", f"/views/{token}/whole.png", f"/views/{token}/{token}/difference.png",
                    f"/views/{token}/{token}/preserving.txt"):
        assert [someone.get(address).status_code for someone in (client, stranger, client)] == [200, 404, 200]
    assert stranger.get(f"/pictures/{token}/edited.png").text == stranger.get("/pictures/x/a.png").text
    shelf.drop_owner("a visit")
    made = re.search(r"/pictures/[\w-]+/edited.png", called(client, "edit", edit_values(file(upload(client)))))[0]
    assert stranger.get(made).status_code == 200


def test_a_program_without_cookies_edits_with_what_it_uploaded_once(site):
    """As curl does: nothing but the answer of the upload ties the two requests together."""
    headers = {"Cookie": f"mre_session={site.client().cookies['mre_session']}"} if site.signed else {}

    def post(path: str, **body) -> httpx.Response:
        return httpx.post(site.url + path, headers=headers, timeout=60, **body)
    sent = post("/gradio_api/upload", files={"files": ("photo.png", png())}).json()[0]
    stranger = site.client("vera")
    assert refusal(stranger) in called(stranger, "edit", edit_values(file(sent))), "whoever keeps cookies is known not to be its sender"
    event = post("/gradio_api/call/edit", json={"data": edit_values(file(sent))}).json()["event_id"]
    told = httpx.get(f"{site.url}/gradio_api/call/edit/{event}", headers=headers, timeout=60).text
    assert "event: complete" in told
    event = post("/gradio_api/call/edit", json={"data": edit_values(file(sent))}).json()["event_id"]
    assert "event: error" in httpx.get(f"{site.url}/gradio_api/call/edit/{event}", headers=headers, timeout=60).text


def test_with_accounts_an_upload_is_its_accounts(site):
    if not site.signed:
        pytest.skip("there are no accounts here")
    client, stranger = site.client("vic"), site.client("vera")
    stranger.cookies.delete("mre_visit")
    stranger.cookies.set("mre_visit", client.cookies["mre_visit"])          # even with the other's browser cookie
    assert refusal(stranger) in called(stranger, "edit", edit_values(file(upload(client))))
    assert httpx.post(f"{site.url}/gradio_api/upload", files={"files": b"x"}).status_code == 401


def test_a_picture_inside_its_address_is_an_upload_like_any_other(site):
    client = site.client()
    inside = {"path": None, "url": "data:image/png;base64," + base64.b64encode(png()).decode(), "meta": META}
    assert "event: complete" in called(client, "edit", edit_values(inside))
    broken = {"url": "data:image/png;base64,!!!"}
    assert "file.png: the file is empty" in called(client, "edit", edit_values(broken))
    assert refusal(client) in called(client, "edit", edit_values({"url": "data:text/html,<b>"}))
    large = {"url": "data:image/png;base64," + "A" * 54_000_000}
    assert "at most 40 MB" in called(client, "edit", edit_values(large))
    assert refusal(client) in called(client, "edit", edit_values(inside | {"path": site.places["picture"]}))


def test_uploads_are_private_to_the_process_and_never_links(site):
    uploads = site.app.state.studio.uploads
    client = site.client()
    lies = file_of(site, upload(client))
    for folder in (uploads.folder.parent, uploads.folder, lies.parent):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700, folder
    assert stat.S_IMODE(lies.stat().st_mode) & 0o077 == 0
    assert uploads.folder.stat().st_uid == os.getuid()


def test_too_much_is_refused_while_it_comes_and_leaves_nothing(site):
    client = site.client("vic")
    most = MOST_BYTES["visitor" if site.signed else "researcher"]
    before = set(site.app.state.studio.uploads.folder.iterdir())
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    with socket.create_connection((httpx.URL(site.url).host, httpx.URL(site.url).port)) as raw:       # told beforehand how much will come
        cookies = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        raw.sendall(f"POST /gradio_api/upload HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookies}\r\nContent-Type: {form['Content-Type']}\r\n"
                    f"Content-Length: {most + 2_000_000}\r\n\r\n".encode())
        told = raw.recv(10_000).decode()
        assert told.startswith("HTTP/1.1 413 ")
        if site.signed:                          # else the limit of all requests is the first
            assert f"at most {most / 1e6:.0f} MB" in told + raw.recv(10_000).decode()
    part = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'

    def chunks():                                # not told: the bytes are counted
        yield part
        for _ in range(45):
            yield bytes(1_000_000)
    if site.signed:
        with suppress(httpx.WriteError):
            assert client.post("/gradio_api/upload", headers=form, content=chunks()).status_code == 413
    faulty = ((b"--x--", form["Content-Type"]), (b"hello", "text/plain"), (bytes(100), "multipart/form-data"),
              (b"--x\r\n\r\nhello", form["Content-Type"]),
              (part.replace(b'; filename="a.png"', b"") + b"hello\r\n--x--", form["Content-Type"]))
    for content, kind in faulty:
        answer = client.post("/gradio_api/upload?upload_id=abc", content=content, headers={"Content-Type": kind})
        assert (answer.status_code, answer.text) == (200, "[]") or answer.status_code == 400, (content, answer.text)
    assert set(site.app.state.studio.uploads.folder.iterdir()) == before
    assert client.post("/gradio_api/run/edit", content=b"x" * 60_000_000).status_code == 413


def file_of(site: Site, path: str) -> Path:
    return site.app.state.studio.uploads.folder / path.removeprefix("uploads/")


def picture_of(site: Site, client: httpx.Client) -> Path:
    """Where a result of somebody's lies."""
    answer = called(client, "edit", edit_values(file(upload(client))))
    token = re.search(r"/pictures/([^/]+)/", answer)[1]
    return site.app.state.studio.shelf.path(token)
