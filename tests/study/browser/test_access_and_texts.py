"""The annotator's pages are accessible in both themes, and say everything in both languages."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from playwright.sync_api import expect

from mre.study import visit
from tests.study.browser.annotator import open_page
from ui.site import access
from ui.study.pages import routes

SMALL_TARGETS = """() => [...document.querySelectorAll("button, summary, .choices label, a.button, label.check")]
    .filter((node) => node.offsetParent !== null && Math.min(node.getBoundingClientRect().height,
        node.getBoundingClientRect().width) < 43.5)
    .map((node) => node.outerHTML.slice(0, 80))"""
pytestmark = pytest.mark.timeout(400)


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
