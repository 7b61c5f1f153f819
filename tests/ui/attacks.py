"""What somebody might send in place of a file that they uploaded, and a walk that sends it to every input of a running studio."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

META = {"_type": "gradio.FileData"}
_watched: dict[str, list[str]] = {}          # paths of this process -> events that touched them; an audit hook stays for good
_hooked = threading.Event()


@contextmanager
def watching(paths: list[str]) -> Iterator[list[str]]:
    """The names of those of the paths that this process opens, or lists, from now on. Works for relative names and links too. The
    working folder itself is not watched: Python looks there whenever it imports."""
    seen: list[str] = []
    _watched.clear()
    _watched.update({place: seen for path in paths if (place := os.path.abspath(path)) != os.getcwd()})

    def heard(event: str, args: tuple) -> None:
        if _watched and event in ("open", "os.listdir", "os.scandir", "shutil.copyfile", "shutil.move", "os.rename", "os.remove"):
            for value in args[:2]:
                if isinstance(value, str | bytes | os.PathLike) and (log := _watched.get(os.path.abspath(os.fsdecode(value)))) is not None:
                    log.append(f"{event} {os.fsdecode(value)}")
    if not _hooked.is_set():
        _hooked.set()
        sys.addaudithook(heard)
    try:
        yield seen
    finally:
        _watched.clear()


def shapes(place: str) -> dict[str, Any]:
    """The ways to name one place: as a file of Gradio's, with and without its mark, in lists and in dictionaries of any kind."""
    file = {"path": place, "meta": META}
    return {
        "file": file, "no meta": {"path": place}, "wrong meta": {"path": place, "meta": {"_type": "x"}},
        "null meta": {"path": place, "meta": None}, "url": {"path": None, "url": place, "meta": META},
        "both": {**file, "url": place, "orig_name": "a.png", "mime_type": "image/png", "size": 1},
        "stream": {**file, "is_stream": True}, "list": [file], "list without meta": [{"path": place}],
        "gallery": [{"image": file, "caption": None}],
        "nested lists": [[[file]]], "image editor": {"background": file, "layers": [file], "composite": None}, "video": {"video": file},
        "text with files": {"text": "x", "files": [file]}, "property": {"value": file, "__type__": "update"},
        "deep": {"a": {"b": [{"c": {"root": [file]}}]}}, "path in path": {"path": {"path": place, "meta": META}, "meta": META},
        "path list": {"path": [place], "meta": META}, "deeper than any form": _deep(file, 200)}


def _deep(value: Any, levels: int) -> Any:
    for _ in range(levels):
        value = {"x": [value]}
    return value


@dataclass
class Walk:
    """Every function of a running studio, as its own description has them, and what it answered."""

    client: httpx.Client
    config: dict = field(default_factory=dict)
    tries: int = 0

    def __post_init__(self) -> None:
        self.config = self.client.get("/config").json()
        self.components = {part["id"]: part for part in self.config["components"]}

    @property
    def functions(self) -> list[dict]:
        """Public and private ones, all that run on the server."""
        return [function for function in self.config["dependencies"] if function["backend_fn"]]

    def plain_values(self, function: dict) -> list[Any]:
        """What each input holds when the page is opened, or something that will do."""
        return [self._plain(self.components[number]) for number in function["inputs"]]

    @staticmethod
    def _plain(part: dict) -> Any:
        props = part.get("props", {})
        if props.get("value") is not None:
            return props["value"]
        return {"textbox": "x", "number": 1, "slider": 1, "checkbox": False}.get(part["type"])

    def run(self, function: dict, values: list[Any], session: str | None = "walk-session") -> httpx.Response:
        """Call a function at once, past the queue; `session` as Gradio's own script sends it."""
        self.tries += 1
        return self.client.post("/gradio_api/run/predict", json={"data": values, "fn_index": function["id"], "session_hash": session})

    def queued(self, function: dict, values: list[Any], session: str) -> str:
        """Call a function through the queue and return all that its stream said, or the refusal to join."""
        self.tries += 1
        joined = self.client.post("/gradio_api/queue/join", json={"data": values, "fn_index": function["id"], "session_hash": session})
        if joined.status_code != 200:
            return joined.text
        told = ""
        with self.client.stream("GET", "/gradio_api/queue/data", params={"session_hash": session}) as stream:
            for line in stream.iter_lines():
                told += line + "\n"
                if line.startswith("data:") and json.loads(line[5:]).get("msg") in ("process_completed", "close_stream"):
                    break
        return told


def places_of(folder: Path) -> dict[str, str]:
    """Things on the server that nobody uploaded, each of which is really there unless its name says so."""
    picture = folder / "outside.png"
    (folder / "link.png").symlink_to(picture)
    os.mkfifo(folder / "pipe.png")
    return {"picture": str(picture), "missing": str(folder / "missing.png"), "table": str(folder / "outside.csv"), "folder": str(folder),
            "link": str(folder / "link.png"), "pipe": str(folder / "pipe.png"), "device": "/dev/zero", "standard input": "/dev/stdin",
            "relative": os.path.relpath(picture), "dotted": f"{folder}/../{folder.name}/outside.png", "file url": f"file://{picture}",
            "home": "~/outside.png", "empty": "", "nul": "outside.png\0.png", "very long": "a/" * 3000}
