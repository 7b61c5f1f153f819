"""A studio and a visitor's page on it for the tests of the Edit tab; each file has its own, so that workers share them."""

from contextlib import contextmanager

import numpy as np
import pytest
from PIL import Image

from mre.editors.device_queue import DeviceQueue
from mre.editors.kinds import make_editor
from tests.fake_editing import fake_editor
from tests.ui.edit_page import SECONDS
from tests.ui.serving import browser, draw_only, served
from ui.app import build_app
from ui.studio import StudioSettings


@pytest.fixture(scope="module")
def tabs() -> tuple[str, ...]:
    """The tabs that are drawn; a module of tests that look at others too names them."""
    return ("edit",)


@pytest.fixture(scope="module")
def studio(tmp_path_factory, tabs):
    """A studio with a real, untrained model, shown first, and two quick stand-ins."""
    import torch
    torch.set_num_threads(1)
    queue = DeviceQueue()
    editors = {**{name: make_editor(name, queue=queue, device="cpu") for name in ("tiny-untrained", "tiny", "tiny-baseline")},
               "slow": fake_editor("slow", 0.25, queue), "quick": fake_editor("quick", 0.01, queue)}
    editors["tiny-untrained"].pipeline()
    editors["slow"].pipeline()
    editors["quick"].pipeline()
    with pytest.MonkeyPatch.context() as patch:
        draw_only(patch, *tabs)
        return build_app(StudioSettings(data=tmp_path_factory.mktemp("data")), editors)


@pytest.fixture(scope="module")
def address(studio):
    with served(studio) as url:
        yield url


@pytest.fixture(scope="module")
def chrome(chromium):
    with browser(chromium) as running:
        yield running


WIDE = {"viewport": {"width": 1280, "height": 900}, "locale": "en-US", "accept_downloads": True}


@contextmanager
def opened(context, address):
    """A page of somebody whom the studio has never seen; errors of its scripts fail the test."""
    context.clear_cookies()
    tab = context.new_page()
    tab.set_default_timeout(SECONDS)
    errors = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(address)
    tab.wait_for_selector("#run")
    tab.wait_for_selector("#examples .shot")
    yield tab
    tab.evaluate("localStorage.clear()")
    tab.close()
    assert not errors, errors


@pytest.fixture(scope="module")
def context(chrome):
    """What pages have in common in the browser: the studio's scripts are fetched and compiled once."""
    context = chrome.new_context(**WIDE)
    yield context
    context.close()


@pytest.fixture
def page(context, address):
    """A fresh visitor's page, wide and in English."""
    with opened(context, address) as tab:
        yield tab


@pytest.fixture(scope="module")
def shared_page(chrome, address):
    """Another's page for several tests, each of which fills in what it looks at, whatever the others left."""
    context = chrome.new_context(**WIDE)
    with opened(context, address) as tab:
        yield tab
    context.close()


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photos") / "holiday.png"
    pixels = np.random.default_rng(8).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((240, 160), Image.Resampling.BICUBIC).save(path)
    return path
