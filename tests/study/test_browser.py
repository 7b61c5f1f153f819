"""The annotator's pages in a real browser: by keyboard alone, after a reload, blind, and accessible."""

from __future__ import annotations

import ast
import hashlib
from contextlib import contextmanager
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
from mre.study.schema import studies as studies_table
from mre.study.store import Store
from tests.study.blinding import Recorder, leaks
from tests.study.conftest import draw_edits, serving
from ui.site import access
from ui.study.pages import routes
from ui.study.pages.routes import add_routes

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


@pytest.fixture(autouse=True)
def no_page_stays_open(chrome):
    yield
    for context in chrome.contexts:
        context.close()


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


@contextmanager
def running(folder: Path, design: StudyDesign, size: tuple[int, int] = (96, 64)):
    """A running study of five pairs of its own design, as `site` is."""
    store = Store.open(folder / "data")
    studies.create_from_edits(store, "own", [draw_edits(folder / "edits", 5, METHODS, size=size)], design)
    study = studies.start(store, "own")
    app = FastAPI()
    add_routes(app, SimpleNamespace(store=store))
    with serving(app) as address:
        yield SimpleNamespace(store=store, study=study, address=address, url=f"{address}/study/s/{study.public_id}")
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


def test_what_is_filled_in_and_not_sent_comes_back_after_a_reload_and_on_another_device(chrome, site):
    page = open_page(chrome, site.url)
    begin(page)
    score(page)
    instruction = page.inner_text("#instruction")
    page.keyboard.type("52")
    page.keyboard.press("c")
    page.keyboard.type("six fingers\non the left hand")
    page.keyboard.press("Escape")
    page.keyboard.press("s")
    with page.expect_response("**/api/draft"):
        page.check("#skip-reasons input[value=unclear]")
    page.reload()
    page.wait_for_selector("#score:not([hidden])")
    assert page.inner_text("#instruction") == instruction
    assert page.is_checked("#s005")
    assert page.is_checked("#s012")
    assert page.input_value("#comment") == "six fingers\non the left hand"
    assert "●" in page.inner_text("#comment-button")
    page.keyboard.press("s")
    assert page.is_checked("#skip-reasons input[value=unclear]")
    assert page.input_value("#skip-comment") == "six fingers\non the left hand"
    page.keyboard.press("Escape")
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
    assert other.input_value("#comment") == "six fingers\non the left hand"
    assert not final_scores(site.store)[2:]                 # nothing of it was sent as an answer


def test_changes_to_an_earlier_pair_come_back_too_and_say_that_they_are_not_sent(chrome, site):
    page = open_page(chrome, site.url)
    begin(page)
    score(page, "111111")
    page.keyboard.press("b")
    expect(page.locator("#notice")).to_contain_text("earlier pair; submit")
    with page.expect_response("**/api/draft"):
        page.keyboard.type("5")
    page.reload()
    page.wait_for_selector("#score:not([hidden])")
    page.keyboard.press("b")
    expect(page.locator("#notice")).to_contain_text("not sent yet")
    assert page.is_checked("#s005")
    assert final_scores(site.store)[0] == (1, 1, 1)
    number = page.evaluate("document.body.dataset.screen")
    page.keyboard.press("Enter")
    page.wait_for_selector(NEXT.format(number), state="attached")
    assert final_scores(site.store)[0] == (5, 1, 1)


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


SHOWN = """() => [...document.querySelectorAll(".frame")].map((frame) => Number(
    [...frame.querySelectorAll("img")].find((image) => getComputedStyle(image).visibility === "visible")?.dataset.picture ?? -1))"""
CAPTIONS = """() => [...document.querySelectorAll(".pictures figcaption")].map((caption) => caption.textContent)"""


def test_the_three_pictures_zoom_as_one_and_flip_in_place(chrome, site):
    page = open_page(chrome, site.url)
    begin(page)
    box = page.locator(".frame").nth(1).bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.wheel(0, -600)
    page.wait_for_selector(".frame.zoomed")
    moved = page.eval_on_selector_all(".frame > img", "pictures => pictures.map(picture => picture.style.transform)")
    assert len(moved) == 7                                  # the original, and in each edit's frame all three
    assert len(set(moved)) == 1
    assert "scale(1)" not in moved[0]
    assert page.evaluate(SHOWN) == [0, 1, 2]
    for key, button, shown in (("o", "#hold-original", [0, 0, 0]), ("f", "#hold-flip", [0, 2, 1])):
        page.keyboard.down(key)
        assert page.evaluate(SHOWN) == shown
        assert page.evaluate(CAPTIONS) == [("Original image", "Edited Image 1", "Edited Image 2")[place] for place in shown]
        page.keyboard.up(key)
        assert page.evaluate(SHOWN) == [0, 1, 2]
        box = page.locator(button).bounding_box()
        page.mouse.move(box["x"] + 5, box["y"] + 5)
        page.mouse.down()
        assert page.evaluate(SHOWN) == shown
        page.mouse.up()
        assert page.evaluate(SHOWN) == [0, 1, 2]
        page.focus(button)
        page.keyboard.down("Space")
        assert page.evaluate(SHOWN) == shown
        page.keyboard.up("Space")
    assert page.evaluate(CAPTIONS) == ["Original image", "Edited Image 1", "Edited Image 2"]
    assert page.eval_on_selector(".frame > img", "picture => picture.style.transform") == moved[0]      # the zoom has stayed
    page.keyboard.press("r")
    page.wait_for_selector(".frame:not(.zoomed)")
    assert not page.faults


def test_zoom_begins_anew_with_each_pair_unless_the_annotator_keeps_it(chrome, site):
    page = open_page(chrome, site.url)
    begin(page)
    level = page.locator("#zoom-level")
    page.keyboard.press("+")
    expect(level).to_have_text("150 %")
    score(page)
    expect(level).to_have_text("100 %")
    page.keyboard.press("z")
    assert page.get_attribute("#zoom-keep", "aria-pressed") == "true"
    page.keyboard.press("+")
    page.keyboard.press("+")
    page.keyboard.press("Shift+ArrowRight")
    where = page.eval_on_selector(".frame > img", "picture => picture.style.transform")
    score(page)
    expect(level).to_have_text("225 %")
    assert page.eval_on_selector(".frame > img", "picture => picture.style.transform") == where
    page.reload()                                           # the wish is kept; the zoom itself begins anew
    page.wait_for_selector("#score:not([hidden])")
    assert page.get_attribute("#zoom-keep", "aria-pressed") == "true"
    page.keyboard.press("x")                                # 1:1 of a picture that is smaller than its frame
    width = page.eval_on_selector(".frame > img", "picture => picture.getBoundingClientRect().width * devicePixelRatio")
    assert width == pytest.approx(96, abs=1)


def test_large_shows_one_picture_at_a_time_and_digits_go_on_to_the_other_edit(chrome, site):
    page = open_page(chrome, site.url)
    begin(page)
    small = page.locator(".frame").first.bounding_box()["width"]
    page.keyboard.press("l")
    assert page.get_attribute("#score", "data-pictures") == "one"
    assert page.locator(".frame").first.bounding_box()["width"] > 1.5 * small
    page.keyboard.type("432")
    assert page.evaluate(SHOWN) == [-1, -1, 2]              # the third digit was for Edited Image 1; the fourth is for 2
    page.keyboard.press("f")
    assert page.evaluate(SHOWN) == [-1, 1, -1]
    page.keyboard.down("o")
    assert page.evaluate(SHOWN) == [-1, 0, -1]
    page.keyboard.up("o")
    page.click("#tabs .tab:first-child")
    assert page.evaluate(SHOWN) == [0, -1, -1]
    expect(page.locator("#live")).to_have_text("Original image")
    page.click("#tabs .tab:nth-child(3)")
    assert page.evaluate("document.activeElement.textContent") == "Image 2"
    page.keyboard.type("105")
    number = page.evaluate("document.body.dataset.screen")
    page.keyboard.press("Enter")
    page.wait_for_selector(NEXT.format(number), state="attached")
    assert final_scores(site.store) == [(4, 3, 2), (1, 0, 5)]
    page.reload()
    page.wait_for_selector("#score:not([hidden])")
    assert page.get_attribute("#score", "data-pictures") == "one"       # the wish is kept
    assert not page.faults


def test_a_change_of_language_leaves_row_scores_and_focus_where_they_were(chrome, site):
    page = open_page(chrome, site.url)
    begin(page)
    page.keyboard.type("43")
    page.keyboard.press("Enter")
    expect(page.locator("#notice")).to_contain_text("Still to score")
    page.click(".top .languages [lang=zh]")
    expect(page.locator("#notice")).to_contain_text("尚未打分")
    assert page.evaluate("document.activeElement.lang") == "zh"
    assert page.locator("fieldset.lacking").count() == 4
    page.keyboard.type("2105")                              # at once, without a click on a row
    assert [page.is_checked(f"#s{edit}{place}{given}") for edit, place, given in
            ((0, 0, 4), (0, 1, 3), (0, 2, 2), (1, 0, 1), (1, 1, 0), (1, 2, 5))] == [True] * 6
    expect(page.locator("#notice")).to_be_hidden()
    number = page.evaluate("document.body.dataset.screen")
    page.keyboard.press("Enter")
    page.wait_for_selector(NEXT.format(number), state="attached")
    assert final_scores(site.store) == [(4, 3, 2), (1, 0, 5)]
    assert not page.faults


def test_marks_of_missing_scores_do_not_follow_to_another_pair(chrome, site):
    page = open_page(chrome, site.url)
    begin(page)
    score(page)
    page.keyboard.press("Enter")
    assert page.locator("fieldset.lacking").count() == 6
    page.keyboard.press("b")
    expect(page.locator("#notice")).to_contain_text("earlier pair")
    assert page.locator("fieldset.lacking").count() == 0
    assert page.locator("fieldset.scored").count() == 6
    page.click("#forward")
    expect(page.locator("#notice")).to_be_hidden()
    assert page.locator("fieldset.lacking").count() == 0


def test_enter_twice_on_withdraw_does_nothing_and_withdrawing_takes_a_second_step(chrome, site):
    page = open_page(chrome, site.url)
    begin(page)
    score(page)
    page.click("#menu-button")
    page.focus("#menu-withdraw")
    page.keyboard.press("Enter")
    page.wait_for_selector("#withdraw-dialog[open]")
    assert page.evaluate("document.activeElement.id") == "withdraw-no"
    expect(page.locator("#withdraw-text")).to_contain_text("1 pairs")
    page.keyboard.press("Enter")
    page.wait_for_selector("#withdraw-dialog:not([open])", state="attached")
    assert page.evaluate("document.activeElement.id") == "menu-button"
    assert len(final_scores(site.store)) == 2
    page.keyboard.type("5")                                 # and scoring goes on
    assert page.is_checked("#s005")
    page.click("#menu-button")
    page.click("#menu-withdraw")
    assert page.is_disabled("#withdraw-yes")
    page.check("#withdraw-check")
    page.click("#withdraw-yes")
    expect(page.locator("#done-text")).to_contain_text("You have withdrawn")
    assert not final_scores(site.store)


def test_the_guide_closes_by_escape_and_question_mark_and_gives_the_focus_back(chrome, site):
    page = open_page(chrome, site.url)
    begin(page)
    page.keyboard.type("43")
    before = page.evaluate("document.activeElement.id")
    for close in ("Escape", "?"):
        page.keyboard.press("?")
        page.wait_for_selector("#guide:not([hidden])")
        page.keyboard.press(close)
        page.wait_for_selector("#score:not([hidden])")
        assert page.evaluate("document.activeElement.id") == before
    page.click("#help-button")
    page.wait_for_selector("#guide:not([hidden])")
    page.keyboard.press("Escape")
    page.wait_for_selector("#score:not([hidden])")
    assert page.evaluate("document.activeElement.id") == "help-button"
    page.keyboard.type("2")
    assert page.is_checked("#s022")


def test_a_break_is_suggested_kindly_and_takes_no_time(chrome, tmp_path):
    with running(tmp_path, StudyDesign(per_pair=1, repeats=0, checks=0, break_every=2)) as site:
        page = open_page(chrome, site.url)
        begin(page)
        score(page)
        expect(page.locator("#notice")).to_be_hidden()
        score(page)
        expect(page.locator("#notice")).to_contain_text("2 pairs scored")
        page.keyboard.type("4")                             # it stands in nobody's way
        assert page.is_checked("#s004")
        page.click("#notice button:nth-of-type(2)")
        expect(page.locator("#notice")).to_be_hidden()
        score(page, "32105")
        score(page)
        page.click("#notice button:nth-of-type(1)")
        page.wait_for_selector("#pause:not([hidden])")
        assert not page.is_visible("#pictures")
        page.wait_for_timeout(1500)
        page.keyboard.press("Enter")                        # the focus is on the way back
        page.wait_for_selector("#score:not([hidden])")
        expect(page.locator("#notice")).to_be_hidden()
        with page.expect_request("**/api/submit") as sent:
            page.keyboard.type("000000")
            page.keyboard.press("Enter")
        assert sent.value.post_data_json["active_ms"] < 1500
        assert not page.faults


def test_an_answer_that_comes_too_late_is_told_kindly_and_the_next_pair_is_there(chrome, site):
    page = open_page(chrome, site.url, locale="zh-CN")
    begin(page)
    _token, other = visit.enter(site.store, site.study.public_id)
    with site.store.write() as connection:
        site.store.lock(connection, studies_table, site.study.id)
        connection.execute(assignments.update().where(assignments.c.state == "leased").values(lease_expires_at=1))
        leases.take_expired(connection, site.study, other.id, site.store.clock())
    page.keyboard.type("432105")
    page.keyboard.press("Enter")
    expect(page.locator("#notice")).to_contain_text("您的分数已另行保存")
    assert page.is_visible("#score")
    assert page.locator("fieldset.scored").count() == 0


@pytest.mark.parametrize("language", ["en", "zh"])
def test_pictures_fill_the_window_and_nothing_needs_scrolling(chrome, tmp_path, language):
    for size in ((96, 64), (160, 90), (64, 64), (64, 96), (48, 160), (160, 48)):
        with running(tmp_path / f"{size[0]}x{size[1]}", StudyDesign(per_pair=1, languages=(language,)), size=size) as site:
            page = open_page(chrome, site.url)
            begin(page)
            for width, height, part in ((1280, 720, 0.45), (1920, 1080, 0.6), (2560, 1440, 0.65)):
                page.set_viewport_size({"width": width, "height": height})
                found = settled(page)
                what = (size, width, found)
                frames = found["frames"]
                assert len(frames) == 3, what
                assert all(abs(w / h - size[0] / size[1]) < 0.03 * size[0] / size[1] for _x, _y, w, h in frames), what
                assert sum(w * h for _x, _y, w, h in frames) >= part * largest(size, width, height), what
                assert max(w for *_, w, _h in frames) > 1.5 * size[0], what             # larger than their pixels where there is room
                assert found["hidden"] == [], what
            page.keyboard.press("Enter")                        # a notice takes its place without covering anything
            expect(page.locator("#notice")).to_be_visible()
            for width, height in ((1280, 720), (1920, 1080), (2560, 1440)):
                page.set_viewport_size({"width": width, "height": height})
                assert settled(page)["hidden"] == [], (size, width)
            page.context.close()


@pytest.mark.parametrize("shape", [(96, 64), (64, 64), (64, 96)])
def test_on_a_phone_one_large_picture_stays_in_sight_while_scoring_by_touch(chrome, tmp_path, shape):
    with running(tmp_path, StudyDesign(per_pair=1, repeats=0, checks=0), size=shape) as site:
        page = chrome.new_context(locale="en-US", viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True,
                                  device_scale_factor=3).new_page()
        page.set_default_timeout(PATIENCE)
        page.goto(site.url)
        page.tap("#consent-check")
        page.tap("#consent-go")
        page.tap("#guide-go")
        page.wait_for_selector("#score:not([hidden])")
        found = settled(page)
        assert found["hidden"] == [], found
        (x, y, width, height), = found["frames"]
        assert width > 0.9 * 390 or height > 0.45 * 844, found
        assert page.evaluate(SHOWN) == [-1, 1, -1]
        swipe(page, x + width * 0.8, y + height / 2, -width * 0.6)
        assert page.evaluate(SHOWN) == [-1, -1, 2]
        page.tap("#flip")
        assert page.evaluate(SHOWN) == [-1, 1, -1]
        swipe(page, x + width * 0.2, y + height / 2, width * 0.6)
        assert page.evaluate(SHOWN) == [0, -1, -1]
        page.tap("#tools-button")
        page.tap("#zoom-in")
        page.wait_for_selector(".frame.zoomed")
        assert settled(page)["hidden"] == []
        page.tap("#zoom-fit")
        for place in range(3):
            page.tap(f"label[for=s0{place}4]")
        page.tap("#submit")                                 # "Next: Image 2"
        assert page.evaluate(SHOWN) == [-1, -1, 2]
        expect(page.locator("#notice")).to_be_hidden()
        for place in range(3):
            page.tap(f"label[for=s1{place}1]")
        number = page.evaluate("document.body.dataset.screen")
        page.tap("#submit")
        page.wait_for_selector(NEXT.format(number), state="attached")
        assert final_scores(site.store) == [(4, 4, 4), (1, 1, 1)]
        page.set_viewport_size({"width": 844, "height": 390})
        assert settled(page)["hidden"] == []
        page.context.close()


def test_a_study_without_flipping_never_shows_a_picture_in_anothers_place(chrome, tmp_path):
    with running(tmp_path, StudyDesign(per_pair=1, allow_flip=False)) as site:
        page = open_page(chrome, site.url)
        begin(page)
        for key in "ofl":
            page.keyboard.down(key)
            assert page.evaluate(SHOWN) == [0, 1, 2], key
            page.keyboard.up(key)
        assert not any(page.is_visible(button) for button in ("#hold-original", "#hold-flip", "#large", "#flip"))
        page.set_viewport_size({"width": 390, "height": 844})
        found = settled(page)
        assert page.evaluate(SHOWN) == [0, 1, 2]
        assert len(found["frames"]) == 3
        page.locator("label[for=s125]").scroll_into_view_if_needed()
        assert all(y >= 0 and y + height <= 844 for _x, y, _w, height in settled(page)["frames"])      # still in sight
        page.click("label[for=s125]")
        assert page.is_checked("#s125")


SETTLED = """() => new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(() => {
  const seen = (node) => { const box = node.getBoundingClientRect();
    const top = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
    return box.width > 0 && box.height >= 20 && box.x >= 0 && box.y >= 0 && box.right <= innerWidth && box.bottom <= innerHeight
      && node.contains(top); };
  const wanted = [...document.querySelectorAll("#grid label, #panel button, #tabs button, .frame, .pictures figcaption")].filter((node) =>
    node.offsetParent !== null && getComputedStyle(node).visibility === "visible");
  resolve({
    frames: wanted.filter((node) => node.matches(".frame")).map((node) => node.getBoundingClientRect())
      .map((box) => [box.x, box.y, box.width, box.height]),
    hidden: wanted.filter((node) => !seen(node)).map((node) => node.id || node.htmlFor || node.className || node.textContent),
    labels: wanted.filter((node) => node.matches("#grid label")).length });
})))"""


def largest(size: tuple[int, int], width: int, height: int) -> float:
    """Area of three pictures of this shape in a window that shows nothing else: side by side, in a column, or in a square."""
    ratio = size[0] / size[1]
    widths = [min(width / columns, height / rows * ratio) for columns, rows in ((3, 1), (1, 3), (2, 2))]
    return 3 * max(wide * wide / ratio for wide in widths)


def settled(page: Page) -> dict:
    """Where the pictures on display are (x, y, width, height), and what of pictures, scores and buttons is covered or out of sight."""
    page.wait_for_timeout(100)
    found = page.evaluate(SETTLED)
    assert found["labels"] in (18, 36), found
    return found


def swipe(page: Page, x: float, y: float, dx: float) -> None:
    """One finger from (x, y) sideways by dx pixels."""
    session = page.context.new_cdp_session(page)
    session.send("Input.synthesizeScrollGesture", {"x": x, "y": y, "xDistance": dx, "yDistance": 0, "speed": 2000, "preventFling": True,
                                                   "gestureSourceType": "touch"})
    session.detach()


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


@pytest.mark.parametrize(("width", "theme"), [(1280, "light"), (390, "dark")])
def test_every_page_passes_an_accessibility_check_in_both_themes(chrome, site, width, theme):
    from axe_playwright_python.sync_playwright import Axe

    page = open_page(chrome, f"{site.address}/study/", bypass_csp=True, color_scheme=theme)
    page.set_viewport_size({"width": width, "height": 844})
    page.wait_for_selector("#list:not([hidden])")
    lightness = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number).reduce((a, b) => a + b) / 765")
    assert (lightness < 0.2) == (theme == "dark")
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
