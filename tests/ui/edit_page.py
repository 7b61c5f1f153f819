"""What a visitor of the Edit tab does, by a browser's page; the tests' fixtures are in `conftest`."""

from __future__ import annotations

import hashlib

from playwright.sync_api import expect

from mre.models.known import KNOWN

SECONDS = 45_000     # how long the browser waits for what must come, ms
expect.set_options(timeout=SECONDS)
CONTROLS = ("steps", "guidance-scale", "image-guidance-scale", "seed", "random-seed", "scheduler", "negative-reward", "previews", "rewards",
            "reward-texts", "fast")


def choose(page, model: str) -> None:
    if not page.is_visible("#reuse"):                    # the other settings
        page.click("#more button.label-wrap, #more > button")
    page.click("#model input")
    page.click(f"[role=option][aria-label='{model}']")
    page.wait_for_function("m => [m, TITLES[m]].includes(document.querySelector('#status b')?.textContent.toLowerCase())"
                           .replace("TITLES", str({name: about.title.lower() for name, about in KNOWN.items()})), arg=model.lower())


def fill(page, photo, instruction: str = "make it look like sunset") -> None:
    page.set_input_files("#photo input[type=file]", str(photo))
    page.wait_for_selector("#seen >> text=240 × 160")
    page.fill("#instruction textarea, #instruction input", instruction)


def run(page) -> None:
    """Run and wait until the history, which has to be in sight, shows the new edit: it is drawn when the run is over."""
    newest = "document.querySelector('#history .shot img')?.src"
    before = page.evaluate(newest)
    page.click("#run")
    page.wait_for_function(f"before => {newest} && {newest} !== before", arg=before)
    page.wait_for_selector("#look .mre-viewer")


def download(page, selector: str) -> bytes:
    with page.expect_download() as arriving:
        page.click(selector)
    return open(arriving.value.path(), "rb").read()


def digest(data: bytes) -> str:
    """What stands for a picture's bytes in an assertion: pytest takes minutes to compare long ones for its message."""
    return hashlib.sha256(data).hexdigest()


def tool(page, name: str) -> None:
    page.click(f"#edit-tools button[role=tab]:has-text('{name}')")


def controls(page) -> set[str]:
    return {name for name in CONTROLS if page.locator(f"#{name}").is_visible()}
