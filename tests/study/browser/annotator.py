"""What an annotator's browser is told to do, and what came of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import sqlalchemy as sa
from fastapi import FastAPI
from playwright.sync_api import Browser, Page, expect

from mre.study import studies
from mre.study.design import StudyDesign
from mre.study.schema import ratings
from mre.study.store import Store
from tests.study.conftest import draw_edits, serving
from ui.study.pages.routes import add_routes

METHODS = ("zeta-checkpoint-7b", "omega-baseline")
NEXT = 'body:not([data-screen="{}"]), #done:not([hidden])'
PATIENCE = 60_000           # milliseconds that a page may take on a busy machine
expect.set_options(timeout=PATIENCE)


@contextmanager
def running(folder: Path, design: StudyDesign, size: tuple[int, int] = (96, 64), name: str = "own",
            edits: Path | None = None) -> Iterator[SimpleNamespace]:
    """A store, a running study of five pairs, of these edits or newly drawn ones, and the address of its pages."""
    store, edits = Store.open(folder / "data"), edits or draw_edits(folder / "edits", 5, METHODS, size=size)
    studies.create_from_edits(store, name, [edits], design)
    study = studies.start(store, name)
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
