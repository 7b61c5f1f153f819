"""Other sites' pages reach nothing: through a real TLS proxy, from a sibling host, in a real browser and by raw requests."""

from __future__ import annotations

import http.server
import json
import threading
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient

from mre.errors import SettingsError
from mre.study import studies
from mre.study.accounts import write_account
from mre.study.design import StudyDesign
from tests.study.conftest import draw_edits, serving
from tests.tls_proxy import tls_proxy
from tests.ui.serving import BROWSER_FLAGS
from ui.site.sites import Sites, add_site_checks, host_of

STUDIO, SIBLING = "studio.lab.example", "evil.lab.example"
HEADER = {"X-Study": "1"}
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type,x-study"}


@pytest.fixture(scope="module")
def studio_app(tmp_path_factory):
    """The whole application as behind a TLS proxy, with accounts and a running study."""
    from ui.app import build_app
    from ui.studio import StudioSettings
    folder = tmp_path_factory.mktemp("sites")
    write_account(folder / "accounts.json", "ann", "annotator", "annotate well")
    app = build_app(StudioSettings(data=folder / "data", auth=folder / "accounts.json", allowed_hosts=(STUDIO,),
                                   trusted_proxies=("127.0.0.1",)))
    store = app.state.studio.store
    studies.create_from_edits(store, "s", [draw_edits(folder / "e", 3)], StudyDesign(per_pair=2))
    app.state.study = studies.start(store, "s").public_id
    return app


@pytest.fixture(scope="module")
def address(studio_app):
    with serving(studio_app) as address:
        yield address


@contextmanager
def a_site(page: str):
    """A web server of somebody else's with one page, as its port."""
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, *_args: object) -> None:
            pass
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()


def routes_of(app) -> list[tuple[str, str]]:
    """Every route that we have added, with a path that fits it."""
    ours = [(method, route.path) for route in app.routes if hasattr(route, "methods") for method in route.methods]
    assert {("POST", "/study/api/{action}"), ("GET", "/join"), ("POST", "/login"), ("POST", "/logout")} <= set(ours)
    return [(method, path.replace("{action}", "withdraw").replace("{", "").replace("}", "")) for method, path in ours]


def test_no_route_tells_another_site_anything_or_does_anything_for_it(studio_app, address, tmp_path):
    gradio = [("POST", "/gradio_api/queue/join"), ("POST", "/gradio_api/upload"), ("GET", "/config"), ("GET", "/gradio_api/info"),
              ("POST", "/gradio_api/run/predict"), ("POST", "/gradio_api/mcp/"), ("GET", "/")]
    study, tried = studio_app.state.study, 0
    with tls_proxy({STUDIO: urlsplit(address).port}, tmp_path) as proxy, proxy.client(STUDIO) as client:
        assert client.post("/login", data={"name": "ann", "password": "annotate well"}).status_code == 303
        for method, path in [*routes_of(studio_app), *gradio]:
            for origin in (f"https://{SIBLING}", "https://elsewhere.example", f"http://{STUDIO}", f"https://{STUDIO}:444", "null",
                           "https://[", f"https://{STUDIO}.elsewhere.example", "chrome-extension://abc"):
                for headers in ({"Origin": origin}, {"Origin": origin, "Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"}):
                    answers = [client.request(method, path, headers=headers | HEADER),
                               client.options(path, headers=headers | PREFLIGHT)]
                    assert [answer.status_code for answer in answers] == [403, 403], (method, path, headers)
                    assert not [name for answer in answers for name in answer.headers if name.startswith("access-control")]
                    tried += 1
            loaded = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "image"}
            assert client.request(method, path, headers=loaded).status_code == 403
        mine = HEADER | {"Origin": f"https://{STUDIO}", "Sec-Fetch-Site": "same-origin"}
        assert client.post("/study/api/enter", json={"study": study, "consent": True}, headers=mine).status_code == 200
        own = client.post("/study/api/work", json={"study": study}, headers=mine)
        assert own.status_code == 200
        assert not [name for name in own.headers if name.startswith("access-control")]
    assert tried > 300


def test_a_link_from_elsewhere_opens_a_page(address):
    link = {"Host": STUDIO, "Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document",
            "Accept": "text/html"}
    assert httpx.get(f"{address}/study/", headers=link).status_code == 200
    assert httpx.get(f"{address}/", headers=link).status_code == 303                    # to the login
    assert httpx.post(f"{address}/login", headers=link, data={"name": "ann", "password": "annotate well"}).status_code == 403
    assert httpx.get(f"{address}/study/", headers=link | {"Sec-Fetch-Dest": "embed"}).status_code == 403


def test_a_page_on_a_sibling_host_cannot_withdraw_an_annotator_in_a_real_browser(studio_app, address, tmp_path, chromium):
    from playwright.sync_api import sync_playwright
    study = studio_app.state.study
    attack = f"""<!doctype html><title>sibling</title><body><script>
    const told = [];
    const studio = `https://{STUDIO}:${{location.port}}`;
    const call = (mode, type, headers) => fetch(studio + "/study/api/withdraw", {{method: "POST", mode, credentials: "include",
      headers: {{"Content-Type": type, ...headers}}, body: JSON.stringify({{study: "{study}"}})}}).then(r => r.type, () => "failed");
    const shown = url => new Promise(done => {{ const image = new Image(); image.onload = () => done("shown");
      image.onerror = () => done("failed"); image.src = url; }});
    (async () => {{
      told.push(await call("cors", "application/json", {{"X-Study": "1"}}), await call("no-cors", "text/plain", {{}}));
      told.push(await fetch(studio + "/config", {{credentials: "include"}}).then(r => "read", () => "failed"));
      told.push(await shown(studio + "/study/static/icon.svg"));
      document.title = JSON.stringify(told);
    }})();
    </script><form method="post" enctype="text/plain"><button>go</button></form></body>"""
    with (a_site(attack) as port, tls_proxy({STUDIO: urlsplit(address).port, SIBLING: port}, tmp_path) as proxy,
          sync_playwright() as playwright):
        browser = playwright.chromium.launch(executable_path=chromium, args=[
            *BROWSER_FLAGS, f"--host-resolver-rules=MAP *.lab.example 127.0.0.1:{proxy.port}", "--ignore-certificate-errors"])
        page = browser.new_context(ignore_https_errors=True).new_page()
        home = f"https://{STUDIO}:{proxy.port}"
        page.goto(f"{home}/login")
        page.fill("#name", "ann")
        page.fill("#password", "annotate well")
        page.click("button.main")
        page.wait_for_url("**/study/**")
        calls = f"""async action => {{ const reply = await fetch('/study/api/' + action, {{method: 'POST', headers: {{'Content-Type':
            'application/json', 'X-Study': '1'}}, body: JSON.stringify({{study: '{study}', consent: true}})}}); return reply.status }}"""
        assert page.evaluate(calls, "enter") == 200
        cookies = {cookie["name"]: cookie for cookie in page.context.cookies()}
        assert {"__Host-mre_session", "__Host-mre_device", f"__Host-visit-{study}"} == set(cookies)
        assert all(cookie["secure"] and cookie["httpOnly"] and cookie["sameSite"] == "Lax" for cookie in cookies.values())
        other = page.context.new_page()
        other.goto(f"https://{SIBLING}:{proxy.port}/")
        other.wait_for_function("document.title.startsWith('[')")
        assert json.loads(other.title()) == ["failed"] * 4
        other.evaluate(f"document.forms[0].action = '{home}/logout'; document.forms[0].submit()")
        other.wait_for_load_state()
        other.wait_for_function("document.body.innerText.includes('takes no calls from pages of other sites')")
        assert page.evaluate(calls, "work") == 200          # neither withdrawn nor signed out
        framed = page.context.new_page()
        framed.goto(f"https://{SIBLING}:{proxy.port}/")
        framed.evaluate(f"""document.body.innerHTML = '<iframe src="{home}/study/"></iframe>'""")
        framed.wait_for_timeout(700)
        assert all("/study/" not in frame.url for frame in framed.frames)
        browser.close()


def test_strange_hosts_get_no_answer_and_only_the_page_that_was_asked_for_is_named(address):
    for host, status in ((STUDIO, 200), ("localhost:7860", 200), ("127.0.0.1", 200), ("[::1]:7860", 200), ("LOCALHOST", 200),
                         ("rebound.example", 421), ("10.0.0.7", 421), ("studio.lab.example.evil.example", 421), ("a@localhost", 421),
                         ("localhost:x", 421), ("", 421), (f"{STUDIO}, evil", 421)):
        for path in ("/study/", "/login"):
            assert httpx.get(f"{address}{path}", headers={"Host": host}).status_code == status, host
    told = httpx.get(f"{address}/", headers={"Host": "<script>.example"})
    assert told.headers["content-type"].startswith("text/plain")
    assert "--allowed-host" in told.text


def test_what_a_server_listens_on_decides_which_hosts_it_answers_to():
    laptop, everywhere, named = Sites(), Sites("0.0.0.0"), Sites("192.0.2.5", ["*.lab.example"])
    assert [laptop.answers(name) for name in ("localhost", "127.0.0.1", "::1", "192.0.2.5", "lab.example")] == [True] * 3 + [False] * 2
    assert [everywhere.answers(name) for name in ("192.0.2.5", "2001:db8::1", "lab.example")] == [True, True, False]
    assert [named.answers(name) for name in ("192.0.2.5", "a.lab.example", "a.b.lab.example", "lab.example", "evil-lab.example")] == [
        True, True, True, False, False]
    for wrong in ({"allowed_hosts": ["https://lab.example"]}, {"allowed_hosts": ["*"]}, {"trusted_proxies": ["nginx"]},
                  {"frame_ancestors": ["lab.example"]}, {"frame_ancestors": ["https://a.example; script-src *"]}):
        with pytest.raises(SettingsError):
            Sites(**wrong)
    assert [host_of(text) for text in ("A.Example:80", "[::1]:7860", "::1", "a b", "")] == ["a.example", "::1", None, None, None]


def echo(sites: Sites) -> TestClient:
    """An application that says as whom it was asked, behind the checks."""
    app = FastAPI()

    @app.get("/")
    def who(request: Request) -> dict:
        return {"client": request.client.host, "scheme": request.url.scheme, "host": request.headers["host"],
                "forwarded": [name for name in request.headers if name.startswith("x-")]}
    add_site_checks(app, sites)
    return TestClient(app, client=("198.51.100.9", 1))


def test_what_proxies_say_counts_only_from_those_that_are_trusted():
    said = {"X-Forwarded-For": "203.0.113.1, 203.0.113.2", "X-Forwarded-Proto": "https", "X-Forwarded-Host": STUDIO, "X-Gradio-Server": "x"}
    stranger = echo(Sites(allowed_hosts=[STUDIO])).get("/", headers=said).json()
    assert stranger == {"client": "198.51.100.9", "scheme": "http", "host": "127.0.0.1", "forwarded": []}
    trusted = echo(Sites(allowed_hosts=[STUDIO], trusted_proxies=["198.51.100.0/24"])).get("/", headers=said).json()
    assert trusted["client"] == "203.0.113.2"            # the last: earlier ones are whatever the client said
    assert (trusted["scheme"], trusted["host"]) == ("https", STUDIO)
    assert echo(Sites(trusted_proxies=["198.51.100.9"])).get("/", headers=said).status_code == 421


def test_on_a_space_its_own_address_is_known_and_the_hub_may_frame_it():
    space = Sites("0.0.0.0", environment={"SPACE_HOST": "ada-studio.hf.space"})
    reply = echo(space).get("/", headers={"Host": "ada-studio.hf.space", "Origin": "https://ada-studio.hf.space"})
    assert reply.json()["scheme"] == "https"
    assert "frame-ancestors 'self' https://huggingface.co" in reply.headers["content-security-policy"]
    assert "x-frame-options" not in reply.headers
    assert echo(space).get("/", headers={"Host": "other.hf.space"}).status_code == 421
    tunnel = Sites()
    assert echo(tunnel).get("/", headers={"Host": "abc.gradio.live"}).status_code == 421
    tunnel.admit("abc.gradio.live")
    assert echo(tunnel).get("/", headers={"Host": "abc.gradio.live"}).json()["scheme"] == "https"


def test_pages_say_who_may_frame_them(address):
    for path in ("/study/", "/login", "/study/static/study.css", "/none"):
        reply = httpx.get(f"{address}{path}")
        policy = reply.headers["content-security-policy"]
        assert policy.count("frame-ancestors") == 1, path
        assert policy.endswith("frame-ancestors 'self'")
        assert reply.headers["x-frame-options"] == "SAMEORIGIN"
        assert reply.headers["cross-origin-resource-policy"] == "same-origin"
