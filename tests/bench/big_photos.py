"""Seconds from a click on Run to the picture, for photos as phones take them, and the server's memory.

The photo of a coffee cup is enlarged and given the grain of a sensor. Each size is run in Chromium from a click on Run until both pictures
stand in the viewer; what the page said on the way is printed beside the seconds. `--stages` adds how long each part takes by itself, here.

  python -m tests.bench.big_photos [--megapixels 12 44] [--rounds 3] [--model tiny] [--stages]
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from mre.editors.editor import Editor
from mre.editors.kinds import make_editor
from mre.editors.settings import EditSettings
from mre.imaging import fit_size, map_back, open_image, open_reduced, pixel_digest
from mre.models.known import ASSETS
from tests.conftest import ROOT
from tests.ui.serving import browser
from ui.edit.views import difference_map, measure, view_of

INSTRUCTION = "make it look like sunset"


def photo_file(folder: Path, megapixels: float) -> Path:
    """A JPEG of 4:3 with the grain of a sensor."""
    height = int((megapixels * 1e6 * 3 / 4) ** 0.5)
    size = (height * 4 // 3, height)
    photo = Image.open(ASSETS / "photos" / "coffee.jpg").convert("RGB").resize(size, Image.Resampling.BICUBIC)
    grain = np.random.default_rng(0).normal(0, 4, (256, size[0], 3)).round().astype(np.int16)
    for top in range(0, height, 256):
        strip = np.asarray(photo.crop((0, top, size[0], min(top + 256, height))), np.int16)
        photo.paste(Image.fromarray((strip + grain[:len(strip)]).clip(0, 255).astype(np.uint8)), (0, top))
    path = folder / f"{megapixels:g}-megapixels.jpg"
    photo.save(path, quality=92)
    return path


def clicked(chromium, url: str, photo: Path) -> tuple[float, list[str]]:
    """Seconds from a new visitor's click until both pictures are drawn, and what was said meanwhile."""
    page = chromium.new_page(locale="en-US")
    page.set_default_timeout(120_000)
    page.goto(url)
    page.wait_for_selector("#status .dot.ready")
    page.wait_for_selector("#examples .shot")
    page.set_input_files("#photo input[type=file]", str(photo))
    page.wait_for_selector("#seen img")
    page.fill("#instruction textarea, #instruction input", INSTRUCTION)
    page.wait_for_timeout(500)
    page.evaluate("""() => { window.told = []; new MutationObserver(() => {
        const words = document.querySelector('#progress p')?.textContent, bar = document.querySelector('#progress [role=progressbar]');
        if (words) window.told.push([words, bar ? Number(bar.getAttribute('aria-valuenow')) : null]);
    }).observe(document.querySelector('#progress'), {subtree: true, childList: true, characterData: true}); }""")
    started = time.perf_counter()
    page.click("#run")
    page.wait_for_function("""() => { const images = [...document.querySelectorAll('#look .pane.one img:not(.difference)')];
        return images.length === 2 && images.every((image) => image.complete && image.naturalWidth > 0); }""")
    seconds = time.perf_counter() - started
    told = page.evaluate("window.told")
    page.close()
    assert all(share is None or share < 100 for _, share in told), "a full bar while something still goes on"
    return seconds, list(dict.fromkeys(re.sub(r" · .*", "", words) for words, _ in told))


def stages(photo: Path, editor: Editor) -> None:
    """Each part by itself."""
    def timed(name: str, work: Callable):
        started = time.perf_counter()
        result = work()
        print(f"    {name:34}{time.perf_counter() - started:6.2f} s")
        return result
    whole = timed("read the photo", lambda: open_image(photo))
    timed("read it for a small view", lambda: open_reduced(photo, 256))
    timed("digest for the recipe", lambda: pixel_digest(whole))
    fit = fit_size(whole.size, editor.info.size_rule, editor.info.native_size)
    result = timed("edit (with the next line)", lambda: editor.edit(whole, EditSettings(INSTRUCTION)))
    timed("put the photo's detail back", lambda: map_back(whole, result.made, fit))
    png = timed("PNG with its recipe", result.png)
    timed("view of the photo", lambda: view_of(whole))
    timed("view of the edit", lambda: view_of(result.image))
    timed("share of pixels changed", lambda: measure(whole, result.image))
    timed("map of differences, when looked at", lambda: difference_map(whole, result.image))
    print(f"    {'the PNG':34}{len(png) / 1e6:6.1f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megapixels", type=float, nargs="+", default=[12, 44])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--stages", action="store_true")
    args = parser.parse_args()
    print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with tempfile.TemporaryDirectory() as folder:
        photos = [photo_file(Path(folder), megapixels) for megapixels in args.megapixels]
        program = subprocess.Popen([sys.executable, "app.py", "--port", "0", "--data", f"{folder}/data", "--model", args.model], cwd=ROOT,
                                   text=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, "HF_HUB_OFFLINE": "1"})
        try:
            url = re.search(r"http://\S+", program.stdout.readline())[0]
            with browser(shutil.which("chromium")) as chromium:
                server = psutil.Process(program.pid)
                clicked(chromium, url, ASSETS / "photos" / "coffee.jpg")          # the first edit of a process is slower
                print(f"{'memory before':22}{server.memory_info().rss / 1e6:8.0f} MB")
                for megapixels, photo in zip(args.megapixels, photos, strict=True):
                    rounds = [clicked(chromium, url, photo) for _ in range(args.rounds)]
                    seconds = [each for each, _ in rounds]
                    print(f"{megapixels:g} megapixels{'':9}{statistics.median(seconds):8.2f} s from click to picture   "
                          f"({', '.join(f'{each:.2f}' for each in seconds)}; {photo.stat().st_size / 1e6:.1f} MB)")
                    print(f"    said: {' | '.join(rounds[-1][1])}")
                    print(f"{'most memory so far':22}{_most_memory(server):8.0f} MB", flush=True)
        finally:
            program.terminate()
            program.wait(20)
        if args.stages:
            editor = make_editor(args.model)
            editor.edit(open_image(ASSETS / "photos" / "coffee.jpg"), EditSettings(INSTRUCTION))
            for megapixels, photo in zip(args.megapixels, photos, strict=True):
                print(f"{megapixels:g} megapixels, part by part")
                stages(photo, editor)


def _most_memory(process: psutil.Process) -> float:
    """Peak resident megabytes of a process, where the system tells."""
    status = Path(f"/proc/{process.pid}/status")
    peak = re.search(r"VmHWM:\s+(\d+) kB", status.read_text()) if status.is_file() else None
    return int(peak[1]) * 1024 / 1e6 if peak else process.memory_info().rss / 1e6


if __name__ == "__main__":
    main()
