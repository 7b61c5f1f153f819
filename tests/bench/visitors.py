"""Many visitors over HTTP: nobody's picture is lost or another's, and neither memory nor the temporary folders grow.

  python -m tests.bench.visitors [--model tiny-untrained] [--edits 500] [--interleaved 200]
"""

from __future__ import annotations

import argparse
import gc
import io
import json
import re
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import psutil
from PIL import Image

from mre.editors.kinds import make_editor
from mre.recipes import read_recipe
from tests.ui.serving import served
from ui.app import build_app
from ui.site.uploads import own_folder
from ui.studio import StudioSettings


def picture(number: int) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize((96, 64), Image.Resampling.BICUBIC).save(file, "PNG")
    return file.getvalue()


def edit(client: httpx.Client, photo: int, instruction: str, seed: int) -> bytes:
    """One edit by the named endpoint. Returns the PNG."""
    path = client.post("/gradio_api/upload", files={"files": ("photo.png", picture(photo))}).json()[0]
    data = [{"path": path, "meta": {"_type": "gradio.FileData"}}, instruction, 5, 5, 5, "", seed, 1, None, None, "default", "", True]
    event = client.post("/gradio_api/call/edit", json={"data": data}).json()["event_id"]
    kind, answer = re.findall(r"event: (\w+)\ndata: (.*)", client.get(f"/gradio_api/call/edit/{event}").text)[-1]
    if kind != "complete":
        raise RuntimeError(answer)
    return client.get(json.loads(answer)[0]["url"]).content


def folder_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--edits", type=int, default=500)
    parser.add_argument("--interleaved", type=int, default=200)
    args = parser.parse_args()
    uploads = own_folder()
    editor = make_editor(args.model)
    editor.pipeline()
    with tempfile.TemporaryDirectory() as data:
        app = build_app(StudioSettings(data=Path(data)), {args.model: editor})
        with served(app) as url, httpx.Client(base_url=url, timeout=300, limits=httpx.Limits(max_connections=60)) as client:
            started = time.perf_counter()
            with ThreadPoolExecutor(20) as pool:
                made = list(pool.map(lambda number: edit(client, number, f"visitor {number}", number), range(20)))
            recipes = [read_recipe(png) for png in made]
            right = [(recipe.instruction, recipe.seed) == (f"visitor {number}", number) for number, recipe in enumerate(recipes)]
            print(f"20 visitors at once: {sum(right)} of 20 got their own picture, in {time.perf_counter() - started:.1f} s")

            def visitor(number: int) -> list[bytes]:
                return [edit(client, number, f"visitor {number} turn {turn}", number) for turn in range(args.interleaved)]
            with ThreadPoolExecutor(2) as pool:
                both = list(pool.map(visitor, (1, 2)))
            digests = [read_recipe(results[0]).made_with["input"] for results in both]
            foreign = sum(read_recipe(png).made_with["input"] != digests[number] or f"visitor {number + 1} turn {turn}".encode() not in png
                          for number, results in enumerate(both) for turn, png in enumerate(results))
            print(f"2 visitors interleaved {args.interleaved} times: {foreign} pictures with anything of the other")

            process, seconds = psutil.Process(), []
            gc.collect()
            memory = process.memory_info().rss
            for number in range(args.edits):
                began = time.perf_counter()
                edit(client, number % 7, "again", number)
                seconds.append(time.perf_counter() - began)
            gc.collect()
            grown = process.memory_info().rss / memory - 1
            print(f"memory after {args.edits} more edits: {100 * grown:+.1f} % (start {memory / 1e6:.0f} MB); "
                  f"edit over HTTP, median {statistics.median(seconds):.2f} s")
            shelf = app.state.studio.shelf
            print(f"temporary files: {folder_bytes(uploads) / 1e6:.1f} MB of uploads and results, {shelf.bytes_used / 1e6:.1f} MB on the "
                  f"shelf; each is held to {shelf.max_bytes / 1e9:.0f} GB")


if __name__ == "__main__":
    main()
