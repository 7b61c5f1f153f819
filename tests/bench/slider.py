"""Sliders that move the picture: from the moved score to the new picture's address, for one visitor and for 20 who drag at once.

  python -m tests.bench.slider [--model tiny] [--visitors 20] [--moves 12] [--width 768] [--height 512]

Each visitor is a session over HTTP that asks as the page does: one edit in flight, which is told of newer scores while it waits, and after
it the newest score. The last line tells whether everybody's last score is what they were shown.
"""

from __future__ import annotations

import argparse
import io
import math
import re
import secrets
import statistics
import tempfile
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
from PIL import Image

from mre.editors.kinds import make_editor
from mre.recipes import read_recipe
from tests.ui.attacks import Walk
from tests.ui.serving import served
from ui.app import build_app
from ui.edit import tab
from ui.studio import StudioSettings

INSTRUCTION = "make it look like sunset"


def photo(number: int, size: tuple[int, int]) -> bytes:
    """Another one for each visitor."""
    small = np.random.default_rng(number).integers(0, 256, (8, 12, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return file.getvalue()


class Visitor:
    """A session of the page, which has edited its photo once unless that is to come later."""

    def __init__(self, url: str, number: int, model: str, size: tuple[int, int], edits: bool = True) -> None:
        self.client = httpx.Client(base_url=url, timeout=300)
        self.walk, self.session, self.model = Walk(self.client), secrets.token_hex(8), model
        path = self.client.post("/gradio_api/upload", files={"files": ("photo.jpg", photo(number, size))}).json()[0]
        self.file = {"path": path, "meta": {"_type": "gradio.FileData"}}
        self.names = {part["id"]: part["props"].get("elem_id") for part in self.walk.config["components"]}
        self.run, self.live = (self._function(trigger) for trigger in (("run", "click"), ("score-following", "change")))
        self.newer = self._function(("score-following", "change"), with_photo=False)
        self.shown = self.call(self.run, 5.0, queued=True) if edits else ""

    def _function(self, trigger: tuple[str, str], with_photo: bool = True) -> dict:
        """The function of the server that answers an event of an element, and takes the photo, or only scores."""
        return next(one for one in self.walk.functions if trigger in [(self.names.get(part), event) for part, event in one["targets"]]
                    and ("photo" in map(self.names.get, one["inputs"])) == with_photo)

    def values(self, function: dict, score: float) -> list:
        """What the page sends to a function."""
        told = {"photo": self.file, "instruction": INSTRUCTION, "model": self.model, "score-quality": score, "score-following": 5,
                "score-preserving": 5, "at-once": True, "no-wish": [], "steps": 0, "guidance-scale": 0,
                "image-guidance-scale": 0, "seed": 42, "scheduler": "default", "negative-reward": "off", "way-back": "auto",
                "put-back": False, "mask": None, "random-seed": False,
                "text-following": "", "text-preserving": "", "text-quality": "", "previews": False}
        return [told.get(str(self.names.get(part))) for part in function["inputs"]]

    def call(self, function: dict, score: float, queued: bool = False) -> str:
        """Address of the picture that is shown then."""
        values = self.values(function, score)
        ask = self.walk.queued if queued else self.walk.run
        answer = ask(function, values, self.session)
        text = answer if isinstance(answer, str) else answer.text
        found = re.findall(r'href=\\*"(/pictures/[\w-]+/[^"\\?]+\.png)\\*" download', text)
        if not found:
            raise RuntimeError(text[:500])
        return found[-1]

    def timed(self, score: float) -> float:
        """Seconds from a moved score to the new picture in the browser's hands."""
        started = time.perf_counter()
        self.client.get(self.call(self.live, score))
        return time.perf_counter() - started

    def _follow(self, score: float) -> tuple[str, float, float]:
        """The picture that is shown for a score or for a newer one, after how many seconds, and the score that it was made with."""
        started = time.perf_counter()
        shown = self.call(self.live, score)
        took = time.perf_counter() - started
        return shown, took, read_recipe(self.client.get(shown).content).reward.quality or 0.0

    def drag(self, moves: int, seconds: float) -> tuple[list[float], float, bool]:
        """Move a score back and forth for so many seconds: how long each edit took, how long after the last move it was shown, and
        whether it is the right one."""
        begun, times = time.perf_counter(), []
        path = [round(5 * (move + 1) / (moves + 1), 2) for move in range(moves)]      # no two alike: else nothing is to be done
        moved, asked = -1, -1.0
        in_flight: Future | None = None
        with ThreadPoolExecutor(2) as pool:
            while moved < moves - 1 or in_flight is not None or asked != path[-1]:
                if in_flight is not None and in_flight.done():
                    self.shown, took, asked = in_flight.result()
                    times.append(took)
                    in_flight = None
                newest = min(int((time.perf_counter() - begun) / seconds * moves), moves - 1)
                if newest > moved:
                    moved = newest
                    pool.submit(self.walk.run, self.newer, self.values(self.newer, path[moved]), self.session)
                if in_flight is None and asked != path[moved]:
                    in_flight = pool.submit(self._follow, path[moved])
                time.sleep(0.01)
        late = time.perf_counter() - begun - seconds * (moves - 1) / moves
        recipe = read_recipe(self.client.get(self.shown).content)
        return times, late, recipe.reward.quality == path[-1] and recipe.instruction == INSTRUCTION


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--visitors", type=int, default=20)
    parser.add_argument("--moves", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=6.0, help="that each of the many drags")
    parser.add_argument("--width", type=int, default=768)
    parser.add_argument("--height", type=int, default=512)
    args = parser.parse_args()
    tab.LIVE_SECONDS = math.inf          # what a busy machine makes slow is measured too
    editor = make_editor(args.model)
    editor.prepare()
    with tempfile.TemporaryDirectory() as data:
        app = build_app(StudioSettings(data=Path(data)), {args.model: editor})
        with served(app) as url:
            size = args.width, args.height
            one = Visitor(url, 0, args.model, size)
            times = sorted(one.timed(score) for _ in range(args.moves) for score in (0, 2, 4))
            print(f"one visitor, {size[0]} x {size[1]}, {args.model}: median {statistics.median(times):.2f} s, "
                  f"p95 {times[int(0.95 * len(times))]:.2f} s of {len(times)} moves")
            many = [Visitor(url, 1 + number, args.model, size) for number in range(args.visitors)]
            with ThreadPoolExecutor(args.visitors) as pool:
                dragged = list(pool.map(lambda visitor: visitor.drag(args.moves, args.seconds), many))
            late = sorted(after for _, after, _ in dragged)
            right = sum(shown for _, _, shown in dragged)
            print(f"{args.visitors} visitors dragging for {args.seconds:g} s at once: the last value of {right} is shown, "
                  f"median {statistics.median(late):.1f} s and at most {late[-1]:.1f} s after it was set")


if __name__ == "__main__":
    main()
