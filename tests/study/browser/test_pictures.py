"""The pictures of a pair in a real browser: zoomed and flipped as one, as large as the window has room, in sight on a phone."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, expect

from mre.study.design import StudyDesign
from tests.study.browser.annotator import NEXT, PATIENCE, begin, final_scores, open_page, running, score

SHOWN = """() => [...document.querySelectorAll(".frame")].map((frame) => Number(
    [...frame.querySelectorAll("img")].find((image) => getComputedStyle(image).visibility === "visible")?.dataset.picture ?? -1))"""
CAPTIONS = """() => [...document.querySelectorAll(".pictures figcaption")].map((caption) => caption.textContent)"""
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
pytestmark = pytest.mark.timeout(400)


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


@pytest.mark.parametrize("size", [(96, 64), (160, 90), (64, 64), (64, 96), (48, 160), (160, 48)])
def test_pictures_fill_the_window_and_nothing_needs_scrolling(chrome, tmp_path, size):
    with running(tmp_path, StudyDesign(per_pair=1), size=size) as site:
        page = open_page(chrome, site.url)
        begin(page)
        for language in ("en", "zh"):
            page.click(f".top .languages [lang={language}]")
            for width, height, part in ((1280, 720, 0.45), (1920, 1080, 0.6), (2560, 1440, 0.65)):
                page.set_viewport_size({"width": width, "height": height})
                found = settled(page)
                what = (language, width, found)
                frames = found["frames"]
                assert len(frames) == 3, what
                assert all(abs(w / h - size[0] / size[1]) < 0.03 * size[0] / size[1] for _x, _y, w, h in frames), what
                assert sum(w * h for _x, _y, w, h in frames) >= part * largest(size, width, height), what
                assert max(w for *_, w, _h in frames) > 1.5 * size[0], what             # larger than their pixels where there is room
                assert found["hidden"] == [], what
        page.click("#submit")                               # a notice takes its place without covering anything
        expect(page.locator("#notice")).to_be_visible()
        for language in ("zh", "en"):
            page.click(f".top .languages [lang={language}]")
            for width, height in ((1280, 720), (2560, 1440)):
                page.set_viewport_size({"width": width, "height": height})
                assert settled(page)["hidden"] == [], (language, width)


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
