"""Seconds from `python app.py` to an answer, to a usable page in Chromium, to first progress after Run, and to a loaded model.

  python -m tests.bench.startup [--rounds 3] [--model tiny-untrained]
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

import httpx

from mre.imaging import open_image
from mre.recipes import png_bytes
from tests.conftest import ROOT
from tests.ui.serving import browser


def one_round(model: list[str], photo: str) -> dict[str, float]:
    """One start of the program, in a process of its own."""
    times: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as data:
        started = time.perf_counter()
        program = subprocess.Popen([sys.executable, "app.py", "--port", "0", "--data", data, *model], cwd=ROOT, text=True,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env={**os.environ, "HF_HUB_OFFLINE": "1"})
        try:
            url = re.search(r"http://\S+", program.stdout.readline())[0]
            httpx.get(url, timeout=60).raise_for_status()
            times["server answers"] = time.perf_counter() - started
            with browser(shutil.which("chromium")) as chromium:
                page = chromium.new_page()
                page.set_default_timeout(120_000)
                opened = time.perf_counter()
                page.goto(url)
                page.wait_for_selector("#run")
                page.wait_for_selector("#examples .shot")
                times["page usable after opening it"] = time.perf_counter() - opened
                times["page usable after the command"] = times["server answers"] + times["page usable after opening it"]
                page.wait_for_selector("#status .dot.ready")
                times["model ready after the command"] = time.perf_counter() - started
                page.set_input_files("#photo input[type=file]", photo)
                page.wait_for_selector("#seen img")
                page.fill("#instruction textarea, #instruction input", "make it look like sunset")
                pressed = time.perf_counter()
                page.click("#run")
                page.wait_for_selector("#progress .progress")
                times["first progress after Run"] = time.perf_counter() - pressed
                page.wait_for_selector("#look .mre-viewer")
                times["picture shown after Run"] = time.perf_counter() - pressed
        finally:
            program.terminate()
            program.wait(20)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--model", help="the model to start with (default: the application's)")
    args = parser.parse_args()
    with tempfile.NamedTemporaryFile(suffix=".png") as photo:
        photo.write(png_bytes(open_image(ROOT / "mre" / "assets" / "photos" / "coffee.jpg")))
        photo.flush()
        rounds = [one_round(["--model", args.model] if args.model else [], photo.name) for _ in range(args.rounds)]
    for name in rounds[0]:
        values = [times[name] for times in rounds]
        print(f"{name:<34} {statistics.median(values):6.2f} s   ({', '.join(f'{value:.2f}' for value in values)})")


if __name__ == "__main__":
    main()
