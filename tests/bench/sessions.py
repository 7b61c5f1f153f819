"""Sessions that open the page, edit one photo and go: whether memory and files come back.

  python -m tests.bench.sessions [--model tiny] [--sessions 500] [--at-once 4]

Each is a browser's session over HTTP, with its own cookie, tab and heartbeat, which ends where the heartbeat's connection does. `--model
fake` mixes colours in no time. A tab that was left is kept for 15 minutes, at most 100 of them; here their time is over at once, and again
as it is. Memory is compared with what the same process had after the first tenth of the sessions.
"""

from __future__ import annotations

import argparse
import gc
import secrets
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil

from mre.editors.kinds import make_editor
from tests.bench.slider import Visitor
from tests.bench.visitors import folder_bytes
from tests.fake_editing import fake_editor
from tests.ui.serving import served
from ui.app import build_app
from ui.edit import left
from ui.site.uploads import own_folder
from ui.studio import Studio, StudioSettings

GONE_SECONDS = 120.0      # within which the server has noticed that the last one has gone


class Session(Visitor):
    """A visitor whose page has a tab's name, and is open while `heartbeat` is."""

    def run_once(self) -> None:
        with closing(self.client), self.client.stream("GET", f"/gradio_api/heartbeat/{self.session}"):
            load = max((one for one in self.walk.functions if "load" in [event for _, event in one["targets"]]),
                       key=lambda one: len(one["inputs"]))
            values: list[Any] = self.values(load, 5.0)
            values[1] = secrets.token_urlsafe(24)            # the tab's name: the place after the visit
            answer = self.walk.run(load, values, self.session)
            answer.raise_for_status()
            self.client.get(self.call(self.run, 5.0, queued=True)).raise_for_status()


def wait_until_gone(studio: Studio) -> None:
    until = time.monotonic() + GONE_SECONDS
    while studio.visits and time.monotonic() < until:
        time.sleep(0.2)
    studio.left.expire()
    gc.collect()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--sessions", type=int, default=500)
    parser.add_argument("--at-once", type=int, default=4)
    args = parser.parse_args()
    editor = fake_editor() if args.model == "fake" else make_editor(args.model)
    editor.prepare()
    process, uploads = psutil.Process(), own_folder()
    with tempfile.TemporaryDirectory() as data:
        app = build_app(StudioSettings(data=Path(data)), {args.model: editor})
        studio: Studio = app.state.studio
        with served(app) as url, ThreadPoolExecutor(args.at_once) as pool:
            def many(first: int, last: int) -> float:
                """Megabytes of the process when these have come and gone."""
                numbers = range(first, last)
                list(pool.map(lambda number: Session(url, number, args.model, (192, 128), edits=False).run_once(), numbers))
                wait_until_gone(studio)
                return process.memory_info().rss / 1e6
            kept, left.KEPT_SECONDS = left.KEPT_SECONDS, 0.0
            before = many(0, args.sessions // 10)
            after = many(args.sessions // 10, args.sessions)
            print(f"{args.sessions} sessions with {args.model}, none kept: {before:.0f} MB after a tenth, {after:.0f} MB at the end "
                  f"({100 * (after / before - 1):+.1f} %); {len(studio.visits)} pages open, {len(list(studio.left))} kept, "
                  f"{len(app.state.page.state_holder.session_data)} sessions of Gradio's, {folder_bytes(uploads) / 1e6:.1f} MB of files")
            left.KEPT_SECONDS = kept
            held = many(0, args.sessions // 2)
            print(f"{args.sessions // 2} more, kept for {kept / 60:.0f} minutes: {held:.0f} MB ({100 * (held / before - 1):+.1f} %); "
                  f"{len(list(studio.left))} kept, {folder_bytes(uploads) / 1e6:.1f} MB of files, each kind held to "
                  f"{studio.shelf.max_bytes / 1e9:.0f} and {studio.uploads.max_bytes / 1e9:.0f} GB")


if __name__ == "__main__":
    main()
