"""What many tests need: the shared reference data, and a rule for what may be skipped where."""

from __future__ import annotations

import dataclasses
import functools
import gc
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from mre.editors import weights
from mre.files import png_bytes
from mre.study import images
from tests import processes

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")        # there is a worker for every core already
MEMORY = Path("/dev/shm")
if MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 4e9:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))     # where no commit of a database waits for a disk
gc.disable()                                                        # while modules are imported; see `pytest_collection_finish`
ROOT = Path(__file__).resolve().parent.parent
CHROMIUM = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
SHARED = ROOT.parent / "shared"


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: servers and browsers are waited for."""
    return (os.cpu_count() or 1) + 1


# files that take a worker half a minute or more, most of them by a browser
LONG = ("ui/test_edit_page", "ui/test_edit_history", "ui/test_uploads", "ui/test_edit_live", "training/test_run", "ui/test_compare_tab",
        "models/test_hooks", "study/browser/test_scoring", "ui/test_research_tab", "ui/test_focus", "ui/test_edit_region",
        "study/test_guesser", "ui/test_serve", "ui/test_edit_suggestions", "data/test_scenes_oracle", "ui/test_sites")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The order in which files are handed to workers, which `--no-loadscope-reorder` keeps: long ones one by one among the others, so that
    browsers do not all draw at the same time, and the short ones last, so that no worker is left with a long one when all others have
    ended."""
    paths = dict.fromkeys(item.path for item in items)
    long = [path for name in LONG if (path := ROOT / "tests" / f"{name}.py") in paths]
    others = [path for path in paths if path not in long]
    step = max(1, 3 * len(others) // (4 * len(long) or 1))          # all are begun when three quarters of the others are
    place = {path: number * step - 0.5 for number, path in enumerate(long)} | {path: number for number, path in enumerate(others)}
    items.sort(key=lambda item: place[item.path])


def pytest_collection_finish() -> None:
    """What is imported by now stays to the end: no collection of garbage need look at its millions of objects again."""
    gc.collect()
    gc.freeze()
    gc.enable()
    processes.open_forge()


def pytest_sessionfinish() -> None:
    processes.close_forge()


def need(present: bool, what: str) -> None:
    """Skip with a reason where something is not there; where CI is set, its absence is a failure."""
    if not present:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{what} is not here")


@pytest.fixture(scope="session", autouse=True)
def test_clients_ask_for_this_machine() -> Iterator[None]:
    """FastAPI's test client asks for the host "testserver" by default, to which the studio, as to any strange name, does not answer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TestClient, "__init__", functools.partialmethod(TestClient.__init__, base_url="http://127.0.0.1"))
        yield


@pytest.fixture(scope="session", autouse=True)
def pictures_of_studies_are_encoded_once() -> Iterator[None]:
    """The demo study's are in every new data folder, those that tests draw in many: a second of a CPU each time."""
    encode = functools.lru_cache(maxsize=512)(lambda mode, size, pixels: png_bytes(Image.frombytes(mode, size, pixels)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(images, "png_bytes", lambda image: encode(image.mode, image.size, image.tobytes()))
        yield


@pytest.fixture(scope="session", autouse=True)
def editors_make_the_same_pictures_on_every_chip() -> Iterator[None]:
    """As on one that computes no half precision, whatever this one does; tests of number formats say which there are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "computed_dtypes", lambda device: ("float32",))
        yield


@pytest.fixture(scope="session")
def shared() -> Path:
    """Folder of reference data with known answers, beside the checkout."""
    need(SHARED.is_dir(), f"reference data ({SHARED.name}/ beside the checkout)")
    return SHARED


@pytest.fixture(scope="session")
def smartedit_released(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small SmartEdit model in the released layout."""
    from tests.tiny_smartedit import write_released

    return write_released(tmp_path_factory.mktemp("released"), shared)


@pytest.fixture(scope="session")
def smartedit_converted(smartedit_released: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, as `convert` writes it."""
    from mre.__main__ import main

    out = tmp_path_factory.mktemp("converted") / "smart"
    assert main(["convert", str(smartedit_released), "--out", str(out), "--size", "64"]) == 0
    return out


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many pictures SmartEdit's language model read in each of its calls."""
    from transformers import LlamaModel

    read, forward = [], LlamaModel.forward
    monkeypatch.setattr(LlamaModel, "forward", lambda self, *args, inputs_embeds, **kwargs: (
        read.append(len(inputs_embeds)), forward(self, *args, inputs_embeds=inputs_embeds, **kwargs))[1])
    return read


def trained(config, **changes: object):
    """The `Run` of a TrainConfig, with changes, in this process."""
    from accelerate.state import AcceleratorState

    from mre.training.loop import Run

    AcceleratorState._reset_state(reset_partial_state=True)
    made = Run(dataclasses.replace(config, **changes))
    made.train()
    return made


@pytest.fixture
def train():
    """Runs a TrainConfig, with changes, in this process."""
    from accelerate.state import AcceleratorState

    yield trained
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the system's Chromium, for browser tests: the one without windows, where it is there, does the same for three quarters of
    the CPU."""
    path = next(filter(None, map(shutil.which, CHROMIUM)), None)
    need(path is not None, "a Chromium browser")
    return path
