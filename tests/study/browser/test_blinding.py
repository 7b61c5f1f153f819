"""Nothing that reaches an annotator's browser tells methods apart, and a leak would be found."""

from __future__ import annotations

import hashlib
import itertools
import struct
import zlib

import pytest
import sqlalchemy as sa
from playwright.sync_api import Browser, expect

from mre.study import leases, visit
from mre.study.images import uncompressed
from mre.study.schema import images
from tests.study.blinding import Recorder, leaks
from tests.study.browser.annotator import METHODS, begin, open_page, score
from ui.study.pages import routes

pytestmark = pytest.mark.timeout(400)


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
    body = b"tEXt" + b"model\0" + text.encode()
    return png[:-12] + struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body)) + png[-12:]


def _telling_tokens():
    """Tokens that hold a method's name in hex, and differ."""
    numbers = itertools.count()
    return lambda _size: f"{METHODS[0].encode().hex()[:36]}{next(numbers):06d}"
