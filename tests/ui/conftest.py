"""A studio and a visitor's page on it for the tests of the Edit tab; each file has its own, so that workers share them."""

import numpy as np
import pytest
from PIL import Image

from mre.editors.device_queue import DeviceQueue
from mre.editors.kinds import make_editor
from tests.fake_editing import fake_editor
from tests.ui.edit_page import SECONDS
from tests.ui.serving import browser, served
from ui.app import build_app
from ui.studio import StudioSettings


@pytest.fixture(scope="module")
def studio(tmp_path_factory):
    """A studio with a real, untrained model, shown first, and two quick stand-ins."""
    import torch
    torch.set_num_threads(1)
    queue = DeviceQueue()
    editors = {**{name: make_editor(name, queue=queue, device="cpu") for name in ("tiny-untrained", "tiny", "tiny-baseline")},
               "slow": fake_editor("slow", 0.25, queue), "quick": fake_editor("quick", 0.01, queue)}
    editors["tiny-untrained"].pipeline()
    editors["slow"].pipeline()
    editors["quick"].pipeline()
    app = build_app(StudioSettings(data=tmp_path_factory.mktemp("data")), editors)
    return app


@pytest.fixture(scope="module")
def address(studio):
    with served(studio) as url:
        yield url


@pytest.fixture(scope="module")
def chrome(chromium):
    with browser(chromium) as running:
        yield running


@pytest.fixture
def page(chrome, address):
    """A fresh visitor's page, wide and in English; errors of its scripts fail the test."""
    context = chrome.new_context(viewport={"width": 1280, "height": 900}, locale="en-US", accept_downloads=True)
    tab = context.new_page()
    tab.set_default_timeout(SECONDS)
    errors = []
    tab.on("pageerror", lambda error: errors.append(str(error)))
    tab.goto(address)
    tab.wait_for_selector("#run")
    tab.wait_for_selector("#examples .shot")
    yield tab
    context.close()
    assert not errors, errors


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("photos") / "holiday.png"
    pixels = np.random.default_rng(8).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    Image.fromarray(pixels).resize((240, 160), Image.Resampling.BICUBIC).save(path)
    return path
