"""A server that answers as the hub does: lists repositories, serves their files, and refuses in the hub's own way."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from huggingface_hub import constants
from huggingface_hub.hf_api import api

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REFUSALS = {            # status, headers: as the hub sends them
    "gated": (403, {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access to this model is restricted."}),
    "absent": (401, {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Invalid username or password."}),
    "bad token": (401, {"X-Error-Message": "Invalid credentials in Authorization header"}),
    "disabled": (403, {"X-Error-Message": "Access to this resource is disabled."}),
    "busy": (429, {}),
    "broken": (500, {}),
}


@contextmanager
def hub_for(monkeypatch: Any, cache: Path) -> Iterator[FakeHub]:
    """A hub that this process asks, with a cache of its own."""
    with FakeHub().serving() as hub:
        monkeypatch.setattr(constants, "ENDPOINT", hub.address)
        monkeypatch.setattr(api, "endpoint", hub.address)           # of the functions that diffusers calls
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.address + "/{repo_id}/resolve/{revision}/{filename}")
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
        yield hub


@dataclass
class FakeHub:
    """Repositories by their ids: a folder of files, or the name of a refusal."""

    repositories: dict[str, Path | str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)          # paths, in order
    address: str = ""

    @contextmanager
    def serving(self) -> Iterator[FakeHub]:
        server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def _handler(self) -> type:
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                path = self.path.split("?")[0].strip("/")
                hub.asked.append(path)
                owner, name, *rest = path.removeprefix("api/models/").split("/")
                here = hub.repositories.get(f"{owner}/{name}", "absent")
                if isinstance(here, str):
                    return self._answer(*REFUSALS[here], b"{}")
                if path.startswith("api/"):
                    if rest and rest[1] not in ("main", COMMIT):
                        return self._answer(404, {"X-Error-Code": "RevisionNotFound"}, b"{}")
                    return self._answer(200, {}, json.dumps(self._listing(here, bool(rest) and rest[0] == "tree")).encode())
                content = (here / "/".join(rest[2:])).read_bytes()
                self._answer(200, {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": COMMIT}, content)

            do_HEAD = do_GET

            def _listing(self, folder: Path, tree: bool) -> object:
                files = sorted(path for path in folder.rglob("*") if path.is_file())
                if not tree:
                    return {"id": "someone/weights", "sha": COMMIT,
                            "siblings": [{"rfilename": str(path.relative_to(folder)), "size": path.stat().st_size} for path in files]}
                return [{"type": "file", "path": str(path.relative_to(folder)), "size": path.stat().st_size,
                         "oid": hashlib.sha1(path.read_bytes()).hexdigest()} for path in files]

            def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(content)), "Content-Type": "application/json"}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            def log_message(self, *args: object) -> None:
                pass

        return Handler
