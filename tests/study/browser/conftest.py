"""One browser for all tests of the annotator's pages that a worker runs one after the other, and a study for each test."""

from __future__ import annotations

import pytest
from PIL import Image

from mre.study.design import StudyDesign
from tests.study.browser.annotator import METHODS, running
from tests.study.conftest import draw_edits
from tests.ui.serving import browser


@pytest.fixture(scope="package")
def chrome(chromium):
    with browser(chromium) as launched:
        yield launched


@pytest.fixture(autouse=True)
def no_page_stays_open(chrome):
    yield
    for context in chrome.contexts:
        context.close()


@pytest.fixture
def site(tmp_path):
    """A running study that checks attention; what its browser must not learn has telling names, and one method's files are smaller."""
    edits = draw_edits(tmp_path / "secret-folder", 5, METHODS, size=(96, 64))
    for path in (edits / METHODS[0]).iterdir():
        Image.new("RGB", (96, 64), (90, 120, 150)).save(path)
    design = StudyDesign(per_pair=3, repeats=0, checks=40, repeat_gap=2, seed=4)
    with running(tmp_path, design, name="hidden-study-name", edits=edits) as found:
        yield found
