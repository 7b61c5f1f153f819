"""The annotator's pages in a real browser: by keyboard alone, after a reload, blind, and accessible."""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path
from types import SimpleNamespace

import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from PIL import Image
from playwright.sync_api import Browser, Page, expect, sync_playwright

from mre.study import leases, studies, visit
from mre.study.design import StudyDesign
from mre.study.images import uncompressed
from mre.study.schema import answers, assignments, images, ratings
from mre.study.store import Store
from tests.study.blinding import Recorder, leaks
from tests.study.conftest import draw_edits, serving
from ui import access
from ui.study_pages import routes
from ui.study_pages.routes import add_routes

METHODS = ("zeta-checkpoint-7b", "omega-baseline")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--no-first-run"]
NEXT = 'body:not([data-screen="{}"]), #done:not([hidden])'
PATIENCE = 60_000           # milliseconds that a page may take on a busy machine
pytestmark = pytest.mark.timeout(400)
expect.set_options(timeout=PATIENCE)


@pytest.fixture(scope="module")
def chrome(chromium) -> Browser:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def site(tmp_path):
    """A store, a running study of five pairs, and the address of its pages."""
    store = Store.open(tmp_path / "data")
    edits = draw_edits(tmp_path / "secret-folder", 5, METHODS, size=(96, 64))
    for path in (edits / METHODS[0]).iterdir():             # one method's pictures are smooth, and so much smaller as files
        Image.new("RGB", (96, 64), (90, 120, 150)).save(path)
    studies.create_from_edits(store, "hidden-study-name", [edits], StudyDesign(per_pair=3, repeats=0, checks=40, repeat_gap=2, seed=4))
    study = studies.start(store, "hidden-study-name")
    app = FastAPI()
    add_routes(app, SimpleNamespace(store=store))
    with serving(app) as address:
        yield SimpleNamespace(store=store, study=study, address=address, url=f"{address}/study/s/{study.public_id}", edits=edits)
    store.close()


def open_page(chrome: Browser, url: str, **options) -> Page:
    page = chrome.new_context(locale=options.pop("locale", "en-US"), viewport={"width": 1280, "height": 900}, **options).new_page()
    page.set_default_timeout(PATIENCE)
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.goto(url)
    return page


def begin(page: Page) -> None:
    page.check("#consent-check")
    page.click("#consent-go")
    page.click("#guide-go")
    page.wait_for_selector("#score:not([hidden])")


def score(page: Page, digits: str = "432105") -> None:
    number = page.evaluate("document.body.dataset.screen")
    page.keyboard.type(digits)
    page.keyboard.press("Enter")
    page.wait_for_selector(NEXT.format(number), state="attached")


def final_scores(store: Store) -> list[tuple]:
    with store.read() as connection:
        return [tuple(row) for row in connection.execute(
            sa.select(ratings.c.following, ratings.c.preserving, ratings.c.quality).where(ratings.c.is_final)
            .order_by(ratings.c.assignment_id, ratings.c.shown_as))]


def test_a_whole_visit_by_keyboard_alone(chrome, site):
    page = open_page(chrome, site.url)
    expect(page.locator("#consent-check")).to_be_visible()
    page.keyboard.press("Tab")
    while page.evaluate("document.activeElement.id") != "consent-check":
        page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("#guide:not([hidden])")
    while page.evaluate("document.activeElement.id") != "guide-go":
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("#score:not([hidden])")
    page.keyboard.type("43")
    page.keyboard.press("Enter")
    expect(page.locator("#notice")).to_contain_text("Still to score")
    assert not final_scores(site.store)
    page.keyboard.type("21")
    page.keyboard.press("ArrowRight")                       # arrows choose too: 0 -> 1
    page.keyboard.press("c")
    page.keyboard.type("5 of 5, odd hat")                   # digits in a comment are text
    page.keyboard.press("Escape")
    page.keyboard.type("5")
    number = page.evaluate("document.body.dataset.screen")
    page.keyboard.press("Enter")
    page.wait_for_selector(NEXT.format(number), state="attached")
    assert final_scores(site.store)[0] == (4, 3, 2)
    page.keyboard.press("b")
    expect(page.locator("#notice")).to_contain_text("earlier pair")
    assert page.input_value("#comment") == "5 of 5, odd hat"
    score(page, "000000")
    assert final_scores(site.store)[0] == (0, 0, 0)
    page.keyboard.press("s")
    page.wait_for_selector("#skip-dialog[open]")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Escape")
    for _ in range(12):
        if page.is_visible("#done"):
            break
        score(page)
    assert page.inner_text("#done-code").strip()
    assert not page.faults


def test_reload_and_another_device_go_on_where_the_annotator_was(chrome, site):
    page = open_page(chrome, site.url)
    begin(page)
    score(page)
    instruction = page.inner_text("#instruction")
    with page.expect_response("**/api/draft"):
        page.keyboard.type("52")
    page.reload()
    page.wait_for_selector("#score:not([hidden])")
    assert page.inner_text("#instruction") == instruction
    assert page.is_checked("#s005")
    assert page.is_checked("#s012")
    page.click("#menu-button")
    page.click("#menu-code")
    expect(page.locator("#menu-code-out")).to_contain_text("-")
    code = page.inner_text("#menu-code-out").split()[-1]
    other = open_page(chrome, f"{site.address}/study/", locale="zh-CN")
    other.fill("#code-input", code)
    other.keyboard.press("Enter")
    other.wait_for_selector("#score:not([hidden])")
    assert other.inner_text("#instruction") == instruction
    assert other.is_checked("#s005")


def test_scores_survive_a_server_that_is_away_and_are_stored_once(chrome, site):
    page = open_page(chrome, site.url)
    begin(page)
    tries = []

    def cut(route) -> None:
        tries.append(route.request.post_data_json["key"])
        if len(tries) == 1:
            route.abort()
        elif len(tries) == 2:
            route.fetch()                                   # reaches the server, but the answer is lost on the way
            route.abort()
        else:
            route.continue_()
    page.route("**/api/submit", cut)
    number = page.evaluate("document.body.dataset.screen")
    page.keyboard.type("123450")
    page.keyboard.press("Enter")
    expect(page.locator("#notice")).to_contain_text("Not saved yet")
    page.wait_for_selector(NEXT.format(number), state="attached")
    assert len(tries) == 3
    assert len(set(tries)) == 1
    assert final_scores(site.store) == [(1, 2, 3), (4, 5, 0)]


def test_the_three_pictures_zoom_as_one_and_flip_to_the_original(chrome, site):
    page = open_page(chrome, site.url)
    begin(page)
    box = page.locator(".frame").nth(1).bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.wheel(0, -600)
    page.wait_for_selector(".frame.zoomed")
    moved = page.eval_on_selector_all(".frame > img", "pictures => pictures.map(picture => picture.style.transform)")
    assert len(set(moved)) == 1
    assert "scale(1)" not in moved[0]
    assert not page.is_visible(".frame .over")
    page.keyboard.down("o")
    assert [over.is_visible() for over in page.locator(".over").all()] == [False, True, True]
    page.keyboard.up("o")
    assert not page.is_visible(".frame .over")
    button = page.locator(".flip").nth(1).bounding_box()
    page.mouse.move(button["x"] + 5, button["y"] + 5)
    page.mouse.down()
    assert [over.is_visible() for over in page.locator(".over").all()] == [False, False, True]
    page.mouse.up()
    page.keyboard.press("r")
    page.wait_for_selector(".frame:not(.zoomed)")


def crawl(chrome: Browser, site) -> list[str]:
    """A full visit, recorded and searched."""
    page = open_page(chrome, "about:blank")
    record = Recorder(page.context)
    page.goto(site.url)
    begin(page)
    record.snapshot(page)
    score(page)
    page.keyboard.press("b")
    expect(page.locator("#notice")).to_contain_text("earlier pair")
    record.snapshot(page)
    page.click("#forward")
    for _ in range(12):
        if page.is_visible("#done"):
            break
        score(page)
        record.snapshot(page)
    with site.store.read() as connection:
        digests = connection.execute(sa.select(images.c.digest)).scalars().all()
    files = [hashlib.sha256(path.read_bytes()).hexdigest() for path in site.edits.rglob("*.png")]
    names = [*METHODS, "item-00", "secret-folder", "hidden-study-name", "edits.csv", "side_order", "shuffle_key", "identical", "is_check"]
    return leaks(record, [*names, *digests, *files])


def test_nothing_that_reaches_the_browser_tells_methods_apart(chrome, site):
    assert crawl(chrome, site) == []


@pytest.mark.parametrize("leak", ["header", "json", "chunk", "length", "token"])
def test_a_leak_planted_on_purpose_is_found(chrome, site, monkeypatch, leak):
    if leak == "header":
        monkeypatch.setattr(routes, "HEADERS", routes.HEADERS | {"X-Source": METHODS[0]})
    elif leak == "json":
        inner = visit._screen
        monkeypatch.setattr(visit, "_screen", lambda connection, number: inner(connection, number) | {"source": "item-003"})
    elif leak == "chunk":
        monkeypatch.setattr(visit, "uncompressed", lambda png: _with_text(uncompressed(png), METHODS[1]))
    elif leak == "length":
        monkeypatch.setattr(visit, "uncompressed", lambda png: png)
    else:
        monkeypatch.setattr(leases.secrets, "token_urlsafe", _telling_tokens())
    assert crawl(chrome, site)


def _with_text(png: bytes, text: str) -> bytes:
    import struct
    import zlib
    body = b"tEXt" + b"model\0" + text.encode()
    return png[:-12] + struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)) + png[-12:]


def _telling_tokens():
    """Tokens that hold a method's name in hex, and differ."""
    import itertools
    numbers = itertools.count()
    return lambda _size: f"{METHODS[0].encode().hex()[:36]}{next(numbers):06d}"


@pytest.mark.parametrize("width", [1280, 390])
def test_every_page_passes_an_accessibility_check(chrome, site, width):
    from axe_playwright_python.sync_playwright import Axe

    page = open_page(chrome, f"{site.address}/study/", bypass_csp=True)
    page.set_viewport_size({"width": width, "height": 844})
    page.wait_for_selector("#list:not([hidden])")
    faults = []

    def check(what: str) -> None:
        found = Axe().run(page).response["violations"]
        faults.extend(f"{what}: {entry['id']}: {node['html'][:90]}" for entry in found for node in entry["nodes"])
        faults.extend(f"{what}: {small} is smaller than 44 pixels" for small in page.evaluate(SMALL_TARGETS))
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{what} scrolls sideways"

    check("list")
    page.click("#list-items a")
    page.wait_for_selector("#consent:not([hidden])")
    check("consent")
    page.check("#consent-check")
    page.click("#consent-go")
    page.wait_for_selector("#guide:not([hidden])")
    check("guide")
    page.click("#guide-go")
    page.wait_for_selector("#score:not([hidden])")
    page.keyboard.type("12")
    check("score")
    page.keyboard.press("s")
    check("skip")
    page.keyboard.press("Escape")
    page.click("#menu-button")
    check("menu")
    page.keyboard.press("Escape")
    page.click("#submit")
    check("missing scores")
    assert not faults


SMALL_TARGETS = """() => [...document.querySelectorAll("button, summary, .choices label, a.button, label.check")]
    .filter((node) => node.offsetParent !== null && Math.min(node.getBoundingClientRect().height,
        node.getBoundingClientRect().width) < 43.5)
    .map((node) => node.outerHTML.slice(0, 80))"""


def test_every_text_is_there_in_both_languages(chrome, site):
    page = open_page(chrome, f"{site.address}/study/")
    texts = page.evaluate("import('/study/static/texts.js').then((module) => module.TEXTS)")

    def shape(value):
        return {key: shape(inner) for key, inner in value.items()} if isinstance(value, dict) else (
            [shape(inner) for inner in value] if isinstance(value, list) else bool(value))
    assert shape(texts["en"]) == shape(texts["zh"])
    used = page.evaluate("[...document.querySelectorAll('[data-text]')].map((node) => node.dataset.text)")
    assert set(used) <= set(texts["en"])


def fixed_sentences() -> set[str]:
    """What the server may say to annotators in full sentences without values."""
    found = set()
    for module in (visit, routes, access):
        for node in ast.walk(ast.parse(Path(module.__file__).read_text(encoding="utf-8"))):
            name = getattr(getattr(node, "func", None), "attr", getattr(getattr(node, "func", None), "id", ""))
            if name in ("NotYours", "AlreadyAnswered", "StudyError") or (name == "_refusal" and getattr(node.args[0], "value", 0) == 503):
                found |= {part.value for part in ast.walk(node) if isinstance(part, ast.Constant) and str(part.value).endswith(".")}
    return found


def test_what_the_server_says_to_annotators_is_there_in_chinese(chrome, site):
    page = open_page(chrome, f"{site.address}/study/s/nothing", locale="zh-CN")
    expect(page.locator("#problem-text")).to_have_text("此链接没有对应的研究。")
    known = page.evaluate("import('/study/static/texts.js').then((module) => module.SERVER_SAYS.zh)")
    shown_elsewhere = {"The study is busy; please try again."}          # of a picture, which the page asks for again by itself
    assert set(known) == fixed_sentences() - shown_elsewhere


@pytest.mark.parametrize("size", [(48, 160), (160, 48), (64, 64)])
def test_pictures_keep_their_shape_and_a_screen_fits_a_laptop(chrome, tmp_path, size):
    store = Store.open(tmp_path / "data")
    studies.create_from_edits(store, "shapes", [draw_edits(tmp_path / "e", 2, METHODS, size=size)], StudyDesign(per_pair=1))
    study = studies.start(store, "shapes")
    app = FastAPI()
    add_routes(app, SimpleNamespace(store=store))
    with serving(app) as address:
        page = open_page(chrome, f"{address}/study/s/{study.public_id}")
        begin(page)
        for width, height in ((1280, 900), (390, 844), (820, 1180)):
            page.set_viewport_size({"width": width, "height": height})
            boxes = [frame.bounding_box() for frame in page.locator(".frame > img").all()]
            assert all(abs(box["width"] / box["height"] - size[0] / size[1]) < 0.05 * size[0] / size[1] for box in boxes), (width, boxes)
        page.set_viewport_size({"width": 1280, "height": 900})
        assert page.evaluate("document.documentElement.scrollHeight <= innerHeight")
    store.close()


def test_a_second_tab_that_answered_first_is_told_kindly(chrome, site):
    page = open_page(chrome, site.url)
    begin(page)
    other = page.context.new_page()
    other.goto(site.url)
    other.click("#guide-go")            # consent is given already; the guide opens in every new tab
    other.wait_for_selector("#score:not([hidden])")
    score(page)
    score(other, "555555")
    expect(other.locator("#notice")).to_contain_text("answered already")
    with site.store.read() as connection:
        assert connection.execute(sa.select(sa.func.count()).select_from(answers)).scalar_one() == 1
        held = connection.execute(sa.select(sa.func.count()).where(assignments.c.state == "leased")).scalar_one()
    assert held == 2
