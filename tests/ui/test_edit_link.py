"""A link to a tab, a preset and a recipe: what it holds, what it takes, and what a page opened by it shows."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
from playwright.sync_api import expect

from mre.editors.settings import EditSettings
from mre.errors import MreError
from mre.rewards import Reward
from tests.ui.edit_page import SECONDS
from ui.edit.link import query_of, settings_from

FULL = EditSettings("make it “späť” & 日落", Reward.of([None, 2.5, 5], ["", "moved & tinted", ""]), seed=7, steps=12, guidance_scale=7.5,
                    image_guidance_scale=1.25, scheduler="ddim", negative_reward=Reward.of([0, 1, 2]), way_back="guided", put_back=True,
                    fast=True)


@pytest.mark.parametrize("settings", [FULL, EditSettings("make it foggy"), EditSettings("x", Reward.of([0, 0, 0]))])
def test_a_link_brings_back_what_the_form_asked_for(settings):
    query = dict(parse_qsl(query_of(settings, "tiny"), strict_parsing=True))
    assert query.pop("model") == "tiny"
    assert settings_from(query) == settings


def test_a_link_holds_what_differs_from_a_new_form_and_nothing_else():
    assert query_of(EditSettings("make it foggy", Reward.of([5, 3, 5])), "tiny") == "instruction=make+it+foggy&model=tiny&preserving=3"
    assert settings_from({"__theme": "dark", "tab": "research", "cmp_run": "x", "photo": "/etc/passwd"}) is None


@pytest.mark.parametrize(("query", "reason"), [
    ({"following": "7"}, "following must be a number between 0 and 5"), ({"quality": "good"}, "quality must be a number"),
    ({"steps": "1e9"}, "steps must be a number between"), ({"seed": "2.5"}, "seed must be a whole number"),
    ({"guidance_scale": "nan"}, "guidance scale must be"), ({"scheduler": "<script>"}, "scheduler must be one of"),
    ({"instruction": "x" * 5000}, "instruction has more than 1000 characters"), ({"put_back": "yes"}, "put_back must be 0 or 1"),
    ({"fast": "2"}, "fast must be 0 or 1"),
    ({"negative_reward": "1,2"}, "scores must be three numbers"), ({"way_back": "up"}, "restore must be"),
    ({"following": "none", "text_following": "too weak"}, "needs a score of following"), ({"instruction": "a\x00b"}, "instruction holds")])
def test_a_link_with_a_wrong_value_is_refused_by_the_field_s_name(query, reason):
    with pytest.raises(MreError, match=reason):
        settings_from(query)


@pytest.fixture(scope="module")
def tabs() -> tuple[str, ...]:
    return "edit", "data"


def test_a_page_opened_by_a_link_shows_its_tab_or_its_form_and_a_copied_link_opens_the_same(chrome, address):
    context = chrome.new_context(viewport={"width": 1280, "height": 900}, locale="en-US", permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.set_default_timeout(SECONDS)
    page.goto(f"{address}/?tab=data&instruction=make+it+%3Cb%3Efoggy&following=2&model=tiny-baseline&quality=none")
    expect(page.locator("#data-set")).to_be_visible()
    page.click("#tab-edit-button")
    expect(page.locator("#instruction textarea, #instruction input")).to_have_value("make it <b>foggy")
    expect(page.locator("#progress")).to_contain_text("filled from the link")
    expect(page).not_to_have_url(re.compile("tab=data"))
    page.click("#copy-link")
    expect(page.locator("#link-shown output")).to_have_text(re.compile(r"http://.*instruction="))
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == page.inner_text("#link-shown output")
    assert parse_qs(urlsplit(copied).query)["instruction"] == ["make it <b>foggy"]
    page.goto(f"{address}/?following=9")
    expect(page.locator("#progress")).to_contain_text("following must be a number between 0 and 5, got '9'")
    context.close()
