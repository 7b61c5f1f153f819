"""The studio on a free port in a thread, and a browser on it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
import uvicorn
from fastapi import FastAPI

from ui import app as application
from ui.serve import configured

BROWSER_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update", "--disable-sync",
                 "--no-first-run", "--renderer-process-limit=1"]       # the last: none is started beforehand for a page that never comes


def draw_only(patch: pytest.MonkeyPatch, *drawn: str) -> None:
    """Leave all tabs but these (`edit`, `study`, `research`, `compare`, `data`) empty: a browser takes twice as long for the whole page."""
    patch.setattr(application, "TABS", tuple(
        tab if tab.build.__module__.split(".")[1] in drawn else replace(tab, build=lambda studio: None) for tab in application.TABS))


@contextmanager
def served(app: FastAPI, listener: socket.socket | None = None) -> Iterator[str]:
    """The address of the app while it is served, on the given socket or one of its own."""
    listener = listener or socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(configured(app))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server did not start; an app can be served only once"
        time.sleep(0.02)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()


@contextmanager
def browser(executable: str) -> Iterator:
    """Chromium, headless."""
    from playwright.sync_api import sync_playwright
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=executable, args=BROWSER_FLAGS)
        try:
            yield chromium
        finally:
            chromium.close()
