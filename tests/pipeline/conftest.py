"""A tiny pipeline for all tests of a module, and what its U-Net hears."""

import pytest

from tests.tiny_edits import hearing
from tests.tiny_models import pipeline


@pytest.fixture(scope="module")
def editor():
    return pipeline()


@pytest.fixture
def heard(editor):
    with hearing(editor) as calls:
        yield calls
