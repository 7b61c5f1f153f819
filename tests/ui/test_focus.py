"""The keyboard's place is to be seen: on every control of the Edit page something changes when it has the focus."""

import base64
import io
import os

import numpy as np
import pytest
from PIL import Image

from mre.editors.device_queue import DeviceQueue
from mre.models.known import ASSETS
from tests.fake_editing import fake_editor
from tests.ui.serving import browser, draw_only, served
from ui.app import build_app
from ui.studio import StudioSettings

SECONDS = 45_000
CHANGED_PIXELS = 100         # by more than 40 levels: a ring of two pixels around the smallest button has twice as many
MARGIN = 8
PLACE = """() => { const e = document.activeElement; if (!e || e === document.body) return null;
    const box = e.getBoundingClientRect();
    const text = e.getAttribute('aria-label') || e.textContent.trim().slice(0, 30);
    return {name: `${e.tagName} ${e.type || ''} ${e.closest('[id]')?.id} ${text}`,
            kind: `${e.tagName} ${e.type || ''} ${e.getAttribute('class')} in ${e.parentElement.getAttribute('class')}`,
            box: [box.x, box.y, box.width, box.height], scrolled: [scrollX, scrollY]}; }"""
STILL = """* { transition: none !important; animation: none !important; scroll-behavior: auto !important;
    caret-color: transparent !important; }"""


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        draw_only(patch, "edit")
        app = build_app(StudioSettings(data=tmp_path_factory.mktemp("data")), {"quick": fake_editor("quick", 0.01, DeviceQueue())})
    with served(app) as url:
        yield url


@pytest.fixture(scope="module")
def chrome(chromium):
    with browser(chromium) as running:
        yield running


def test_every_control_that_the_keyboard_reaches_shows_it_in_both_themes(chrome, address):
    """Each in light; in dark one of each kind, whose ring is the same rule's, and each with MRE_WHOLE_WALK=1."""
    context = chrome.new_context(viewport={"width": 1280, "height": 900}, locale="en-US", color_scheme="light")
    page = context.new_page()
    page.set_default_timeout(SECONDS)
    page.goto(address)
    page.wait_for_selector("#examples .shot")
    page.add_style_tag(content=STILL)
    page.set_input_files("#photo input[type=file]", ASSETS / "photos" / "cat.jpg")
    page.wait_for_selector("#seen img")
    page.fill("#instruction textarea, #instruction input", "make it blue")
    page.click("#more button")
    page.click("#reward-texts button")
    page.click("#run")
    page.wait_for_selector("#look .mre-viewer")
    page.wait_for_selector("#history .shot")
    page.click("#edit-tools button[role=tab]:has-text('Sweep')")
    page.wait_for_selector("#sweep-run")
    page.wait_for_timeout(500)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function("is => document.body.classList.contains('dark') === is", arg=scheme == "dark")
        reached, unseen = walked(page, each=scheme == "light" or "MRE_WHOLE_WALK" in os.environ)
        assert unseen == [], scheme
        assert page.locator("[role=option]:visible").count() == 0, "a list that opened under the key has closed behind it"
        for name in ("range slider for Following", "range slider for Preserving", "range slider for Quality", "Position of the divider",
                     "INPUT number seed", "TEXTAREA textarea instruction", "sweep-run"):
            assert any(name in one for one in reached), f"{name} is not among {reached}"
    context.close()


def walked(page, each: bool) -> tuple[list[str], list[str]]:
    """All that the Tab key reaches, and what of it (of `each`, or of the first of each kind) looks the same with and without the focus."""
    camera = page.context.new_cdp_session(page)          # past what a library does around each picture, twice its cost
    page.evaluate("() => { document.activeElement.blur(); window.scrollTo(0, 0); document.body.tabIndex = -1; document.body.focus(); }")
    reached, unseen, kinds = [], [], set()
    for _ in range(200):
        page.keyboard.press("Tab")
        if (place := page.evaluate(PLACE)) is None:
            break
        reached.append(place["name"])
        if place["kind"] in kinds and not each:
            continue
        kinds.add(place["kind"])
        focused = seen(camera, place)
        page.evaluate("() => { window.last = document.activeElement; window.last.blur(); }")
        plain = seen(camera, place)
        page.evaluate("() => window.last.focus({preventScroll: true})")
        if (np.abs(focused - plain).max(axis=2) > 40).sum() < CHANGED_PIXELS:
            unseen.append(place["name"])
    camera.detach()
    return reached, unseen


def seen(camera, place: dict) -> np.ndarray:
    """The pixels of a control and MARGIN around it, as far as they are in the window."""
    (x, y, width, height), (scroll_x, scroll_y) = place["box"], place["scrolled"]
    left, top = max(0, x - MARGIN), max(0, y - MARGIN)
    clip = {"x": left + scroll_x, "y": top + scroll_y, "scale": 1,
            "width": min(width + 2 * MARGIN, 1280 - left), "height": min(height + 2 * MARGIN, 900 - top)}
    shot = camera.send("Page.captureScreenshot", {"clip": clip, "optimizeForSpeed": True})["data"]
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(shot))).convert("RGB"), int)
