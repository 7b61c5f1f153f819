"""Roles: what a role may not do is refused by raw HTTP too, through Gradio's own routes as well."""

from __future__ import annotations

import asyncio
import json
import secrets

import gradio as gr
import httpx
import pytest
from fastapi import Request
from fastapi.testclient import TestClient
from gradio.state_holder import SessionState

from mre.errors import SettingsError
from mre.study import studies
from mre.study.accounts import Accounts, invite, read_accounts, write_account
from mre.study.design import StudyDesign
from tests.study.conftest import draw_edits, serving

PASSWORDS = {"ada": ("researcher", "correct horse"), "vic": ("visitor", "battery staple"), "ann": ("annotator", "annotate well")}


@pytest.fixture(scope="module")
def studio_app(tmp_path_factory):
    """The whole application with accounts, and a running study."""
    from ui.app import build_app
    from ui.studio import StudioSettings
    folder = tmp_path_factory.mktemp("access")
    for name, (role, password) in PASSWORDS.items():
        write_account(folder / "accounts.json", name, role, password)
    app = build_app(StudioSettings(data=folder / "data", auth=folder / "accounts.json"))
    store = app.state.studio.store
    studies.create_from_edits(store, "hidden-name", [draw_edits(folder / "e", 3)], StudyDesign(per_pair=2))
    app.state.study = studies.start(store, "hidden-name")
    return app


@pytest.fixture
def browser(studio_app):
    """A function: a browser signed in as somebody, or as nobody."""
    def sign_in(name: str | None = None) -> TestClient:
        client = TestClient(studio_app, follow_redirects=False)
        if name:
            reply = client.post("/login", data={"name": name, "password": PASSWORDS[name][1]})
            assert reply.status_code == 303, reply.text
        return client
    return sign_in


def research_event(app) -> int:
    """Number of the function behind the Research tab's list of studies, which its page never shows to others."""
    return next(number for number, fn in app.state.page.fns.items() if fn.name == "lists")


def run_event(client: httpx.Client, number: int, data: list) -> tuple[int, dict]:
    """Call a function of the page as Gradio's own script does: join the queue, then read the stream of results."""
    call = {"data": data, "fn_index": number, "session_hash": secrets.token_hex(5), "event_data": None}
    reply = client.post("/gradio_api/queue/join", json=call)
    if reply.status_code != 200:
        return reply.status_code, {}
    with client.stream("GET", "/gradio_api/queue/data", params={"session_hash": call["session_hash"]}) as stream:
        for line in stream.iter_lines():
            told = json.loads(line[5:]) if line.startswith("data:") else {}
            if told.get("msg") in ("process_completed", "close_stream"):
                return reply.status_code, told
    raise AssertionError("the stream ended without a result")


def test_without_an_account_everything_but_the_door_is_refused(browser):
    nobody = browser()
    for path in ("/config", "/gradio_api/info", "/research/export/hidden-name.csv", "/gradio_api/file=/etc/passwd"):
        assert nobody.get(path).status_code == 401, path
    assert nobody.post("/gradio_api/upload", files={"files": b"x"}).status_code == 401
    page = nobody.get("/", headers={"Accept": "text/html"})
    assert (page.status_code, page.headers["location"]) == (303, "/login?next=/")
    assert nobody.get("/login").status_code == 200
    shared = nobody.get("/?tab=compare&cmp_study=a%26b", headers={"Accept": "text/html"})
    assert '<input type="hidden" name="next" value="/?tab=compare&amp;cmp_study=a%26b">' in nobody.get(shared.headers["location"]).text


def test_a_researchers_function_refuses_visitors_even_through_the_queue(studio_app, browser):
    number = research_event(studio_app)
    with serving(studio_app) as address:
        def call(name: str | None) -> tuple[int, dict]:
            with httpx.Client(base_url=address, timeout=30) as client:
                if name:
                    client.post("/login", data={"name": name, "password": PASSWORDS[name][1]})
                return run_event(client, number, [None])

        status, told = call("vic")
        assert (status, told["success"]) == (200, False)
        assert "for researchers" in json.dumps(told)
        assert call("ann")[0] == 403
        assert call(None)[0] == 401
        status, told = call("ada")
        assert (status, told["success"]) == (200, True)
        assert "Pairs complete" in json.dumps(told)


def test_every_function_of_the_research_tabs_refuses_visitors(studio_app, browser):
    """Called as Gradio's routes call: through the page, which asks before it runs anything."""
    page = studio_app.state.page
    request = Request({"type": "http", "method": "POST", "path": "/", "query_string": b"", "scheme": "http", "server": ("testserver", 80),
                       "headers": [(b"cookie", cookies_of(browser("vic")).encode())]})
    inside = [fn for fn in page.fns.values()
              if fn.fn is not None and getattr(fn.fn, "__module__", "").startswith(("ui.research", "ui.compare", "ui.data"))]
    assert len(inside) > 10
    for fn in inside:
        for known in (fn, fn._id):
            with pytest.raises(gr.Error, match="for researchers"):
                asyncio.run(page.process_api(known, [None] * len(fn.inputs), request=gr.Request(request), state=SessionState(page)))


def test_events_of_research_and_data_pass_every_value_by_name(studio_app):
    """A field that is added or moved must not shift the others."""
    inside = [fn for fn in studio_app.state.page.fns.values()
              if fn.fn is not None and getattr(fn.fn, "__module__", "").startswith(("ui.research", "ui.data"))]
    assert len(inside) > 10
    assert [fn.name for fn in inside if len(fn.input_keyword_names) != len(fn.inputs)] == []


def cookies_of(client: TestClient) -> str:
    return "; ".join(f"{name}={value}" for name, value in client.cookies.items())


def test_exports_are_for_researchers(browser):
    assert browser("vic").get("/research/export/hidden-name.csv").status_code == 403
    assert browser("ann").get("/research/table/hidden-name.md").status_code == 403
    assert browser("ada").get("/research/export/hidden-name.csv").status_code == 200


@pytest.mark.parametrize("path", ["/research/participants/hidden-name.csv", "/research/payments/csv/hidden-name.csv"])
def test_lists_of_people_are_for_researchers(browser, path):
    assert browser().get(path).status_code == 401
    assert browser("vic").get(path).status_code == 403
    assert browser("ann").get(path).status_code == 403
    assert browser("ada").get(path).status_code == 200


def test_annotators_score_and_reach_nothing_else(studio_app, browser):
    client = browser("ann")
    study = studio_app.state.study.public_id
    assert client.get("/config").status_code == 403
    front = client.get("/", headers={"Accept": "text/html"})
    assert (front.status_code, front.headers["location"]) == (303, "/study/")
    entered = client.post("/study/api/enter", json={"study": study, "consent": True}, headers={"X-Study": "1"})
    assert entered.status_code == 200
    again = browser("ann").post("/study/api/enter", json={"study": study, "consent": True}, headers={"X-Study": "1"})
    assert again.json()["me"]["label"] == entered.json()["me"]["label"]         # the same annotator on another device


def test_taking_part_needs_an_account_or_an_invitation(studio_app, browser):
    study, secret = studio_app.state.study.public_id, studio_app.state.studio.store.secret
    body = {"study": study, "consent": True}
    header = {"X-Study": "1"}
    assert browser().post("/study/api/enter", json=body, headers=header).status_code == 403
    assert browser("vic").post("/study/api/enter", json=body, headers=header).status_code == 403
    link = invite(secret, "annotator", study)
    labels = {browser().post("/study/api/enter", json=body | {"invitation": link}, headers=header).json()["me"]["label"] for _ in range(2)}
    assert len(labels) == 1
    for wrong in (link[:-2] + "aa", invite(secret, "annotator", "another-study"), invite("other secret", "annotator", study), 5, None,
                  invite(secret, "visitor")):
        assert browser().post("/study/api/enter", json=body | {"invitation": wrong}, headers=header).status_code == 403
    joined = browser().get("/join", params={"invitation": link})
    assert joined.headers["location"].startswith(f"/study/s/{study}?invitation=")


def test_a_visitors_invitation_opens_the_editor_and_nothing_more(studio_app, browser):
    client = browser()
    link = invite(studio_app.state.studio.store.secret, "visitor")
    assert client.get("/join", params={"invitation": link}).status_code == 303
    assert client.get("/config").status_code == 200
    assert client.get("/research/export/hidden-name.csv").status_code == 403
    assert browser().get("/join", params={"invitation": "made-up"}).status_code == 403


def test_pages_meant_for_researchers_are_not_in_a_visitors_first_view(browser):
    config = browser("vic").get("/config").json()
    tabs = [part["props"] for part in config["components"] if part["type"] == "tabitem"]
    hidden = [tab for tab in tabs if tab.get("visible") is False]
    assert len(hidden) >= 3
    assert "hidden-name" not in json.dumps(config)


def test_wrong_passwords_are_slowed_down_and_tell_nothing(browser):
    client = browser()
    told = {client.post("/login", data={"name": name, "password": "wrong"}).text.split("<form")[0] for name in ("ada", "nobody-here")}
    assert len(told) == 1
    codes = [client.post("/login", data={"name": "guess", "password": f"try-{turn}"}).status_code for turn in range(7)]
    assert codes == [401] * 5 + [429] * 2


def test_login_never_leads_to_another_site(browser):
    for target in ("//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)"):
        reply = browser().post("/login", data={"name": "ada", "password": PASSWORDS["ada"][1], "next": target})
        assert reply.headers["location"] == "/"


def test_a_changed_password_ends_old_sessions_and_files_hold_only_hashes(tmp_path):
    path = tmp_path / "accounts.json"
    write_account(path, "eve", "researcher", "first password")
    accounts = Accounts(path)
    mark = accounts.mark("eve")
    assert accounts.role("eve", mark) == "researcher"
    write_account(path, "eve", "visitor", "second password")
    assert accounts.role("eve", mark) is None
    assert accounts.check("eve", "first password") is None
    assert accounts.check("eve", "second password") == "visitor"
    assert "password" not in path.read_text().replace('"password"', "")
    assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(SettingsError, match="8 to 200"):
        write_account(path, "bob", "visitor", "short")
    (tmp_path / "odd.json").write_text('{"accounts": {"x": {"role": "king", "password": "scrypt:"}}}')
    with pytest.raises(SettingsError, match="'x'"):
        read_accounts(tmp_path / "odd.json")


def test_without_auth_all_tabs_are_open_and_the_page_says_so(tmp_path):
    from ui.app import build_app
    from ui.studio import StudioSettings
    config = TestClient(build_app(StudioSettings(data=tmp_path))).get("/config").text
    assert "started without `--auth`" in config


def test_invitation_links_work_in_an_open_studio_too(tmp_path):
    from ui.app import build_app
    from ui.studio import StudioSettings
    app = build_app(StudioSettings(data=tmp_path / "data"))
    store = app.state.studio.store
    studies.create_from_edits(store, "open", [draw_edits(tmp_path / "e", 3)], StudyDesign(per_pair=2))
    study = studies.start(store, "open")

    def label_of(invitation: str) -> str:
        client = TestClient(app)
        joined = client.get("/join", params={"invitation": invitation}, follow_redirects=False)
        assert joined.status_code == 303, joined.text
        path, _, query = joined.headers["location"].partition("?")
        assert path == f"/study/s/{study.public_id}"
        call = {"study": study.public_id, "consent": True, "invitation": httpx.QueryParams(query)["invitation"]}
        return client.post("/study/api/enter", json=call, headers={"X-Study": "1"}).json()["me"]["label"]

    personal = invite(store.secret, "annotator", study.public_id)
    for_many = invite(store.secret, "annotator", study.public_id, personal=False)
    assert label_of(personal) == label_of(personal)
    assert len({label_of(personal), label_of(for_many), label_of(for_many)}) == 3
    assert TestClient(app).get("/join", params={"invitation": "forged"}).status_code == 403
