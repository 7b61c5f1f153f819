"""python -m tests.study.server DATA PORT [DATABASE_URL]: the annotator's pages in a process of their own, for tests that kill it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import uvicorn
from fastapi import FastAPI

from mre.study.store import Store
from ui.study.pages.routes import add_routes

if __name__ == "__main__":
    data, port, *database = sys.argv[1:]
    app = FastAPI()
    add_routes(app, SimpleNamespace(store=Store.open(Path(data), database[0] if database else None)))
    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="error")
