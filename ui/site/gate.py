"""What of Gradio's routes is open, how uploads come in and are shown again to those who sent them, and how large a request may be."""

from __future__ import annotations

import asyncio
import re
import secrets
import shutil
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from gradio.route_utils import GradioMultiPartParser, GradioUploadFile, MultiPartException
from gradio.routes import file_upload_statuses
from starlette.requests import ClientDisconnect
from starlette.routing import Mount
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mre.imaging import MAX_BYTES
from ui.site.cookies import set_cookie
from ui.site.uploads import COOKIE, MOST_BYTES, PREFIX, Caller, NotUploaded, Uploads, visit_of

UPLOAD_PATH = "/gradio_api/upload"
MOST_FILES = 100                # of one request
FORM_BYTES = 1_000_000          # around them
SPARE_BYTES = 500_000_000       # that stay free on the disk of uploads
BODY_BYTES = MAX_BYTES * 4 // 3 + 2_000_000     # of any other request: a picture inside an address, and the form around it
COOKIE_DAYS = 30
NEW_VISITS = ("/", "/config", "/config/", UPLOAD_PATH)
SHOWN_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp", ".gif": "image/gif"}

# Gradio 6.31's routes that the studio's page, its programs and agents need. What is not here is closed: reading files by path or address
# (`file=`, `proxy=`), streams, recordings, servers of components, deep links, monitoring, and whatever a later version brings.
OPEN = tuple((methods, re.compile(path)) for methods, path in (
    ("GET HEAD", r"/"), ("GET", r"/config/?"), ("GET HEAD", r"/(static|assets)/.+"), ("GET HEAD", r"/favicon\.ico"),
    ("GET HEAD", r"/robots\.txt"), ("GET HEAD", r"/manifest\.json"), ("GET HEAD", r"/pwa_icon(/\d+)?"),
    ("GET", r"(/gradio_api)?/theme\.css"),
    ("GET", r"/gradio_api/(info/?|openapi\.json|startup-events|app_id/?|queue/status|upload_progress)"),
    ("POST", r"/gradio_api/(run|api)/[^/]+/?"), ("POST", r"/gradio_api/call/(v2/)?[^/]+/?"), ("GET", r"/gradio_api/call/(v2/)?[^/]+/[^/]+"),
    ("POST", r"/gradio_api/queue/join"), ("GET", r"/gradio_api/queue/data"), ("POST", r"/gradio_api/(cancel|reset/?)"),
    ("GET", r"/gradio_api/heartbeat/[^/]+"), ("GET POST DELETE", r"/gradio_api/mcp(/.*)?"), ("OPTIONS", r"/.*")))
ASSETS = "/assets/"             # Gradio's scripts and styles, a hundred of a page: each name holds a hash of what is in the file
KEPT = (b"cache-control", b"private, max-age=31536000, immutable")
SESSION_PATH = re.compile(r"/gradio_api/(?:heartbeat/([^/]+)|queue/data)")


class Gate:
    """Stands before the mounted Gradio application: only `OPEN` passes, and a session's streams are its own browser's."""

    def __init__(self, app: ASGIApp, studio: Any) -> None:
        self.app, self.studio = app, studio

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 4404})
            return
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        passes = any(scope["method"] in methods.split() and pattern.fullmatch(path) for methods, pattern in OPEN)
        if passes and self._is_own(scope, path):
            await self.app(scope, receive, _kept(send) if path.startswith(ASSETS) else send)
        else:
            await PlainTextResponse("Not found", status_code=404)(scope, receive, send)

    def _is_own(self, scope: Scope, path: str) -> bool:
        if (found := SESSION_PATH.fullmatch(path)) is None:
            return True
        session = found[1] or parse_qs(scope["query_string"].decode("latin-1")).get("session_hash", [""])[0]
        caller = self.studio.caller(Request(scope))
        return self.studio.uploads.holds_session(Caller(caller.identity, caller.visit, session or None))


def _kept(send: Send) -> Send:
    """Tells browsers to keep the file and never to ask for it again."""
    async def send_kept(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == 200:
            message["headers"] = [*message.get("headers", ()), KEPT]
        await send(message)
    return send_kept


class VisitCookie:
    """Gives each browser a cookie that says nothing of it, by which its uploads are known to be its own."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] not in NEW_VISITS or visit_of(Request(scope)) is not None:
            await self.app(scope, receive, send)
            return
        scope["new_visit"] = secrets.token_urlsafe(24)

        async def send_with_cookie(message: Message) -> None:
            if message["type"] == "http.response.start":
                answer = Response()
                set_cookie(answer, Request(scope), COOKIE, scope["new_visit"], COOKIE_DAYS * 86400)
                message["headers"] = [*message.get("headers", ()), answer.raw_headers[-1]]
            await send(message)
        await self.app(scope, receive, send_with_cookie)


def _announced(request: Request) -> int:
    size = request.headers.get("content-length", "")
    return int(size) if size.isdecimal() and len(size) < 20 else 0


def shut(app: FastAPI, studio: Any) -> None:
    """Put the gate before the Gradio application that was mounted last."""
    mount = app.routes[-1]
    assert isinstance(mount, Mount), mount
    mount.app = Gate(mount.app, studio)


def add_routes(app: FastAPI, studio: Any) -> None:
    """Uploads, instead of Gradio's: they go in before it is mounted."""
    app.add_middleware(VisitCookie)

    @app.post(UPLOAD_PATH, include_in_schema=False, max_body_size=max(MOST_BYTES.values()) + FORM_BYTES)
    async def upload(request: Request, upload_id: str | None = None) -> Response:
        caller, fresh = studio.caller(request), request.scope.get("new_visit")
        most = MOST_BYTES["researcher" if studio.access.role(request) == "researcher" else "visitor"]
        upload_id = upload_id if upload_id and len(upload_id) <= 64 else None
        if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
            return PlainTextResponse("An upload is multipart/form-data with fields named files.", status_code=400)
        if _announced(request) > most + FORM_BYTES:
            return PlainTextResponse(_too_large(most), status_code=413, headers={"Connection": "close"})
        if await run_in_threadpool(_free, studio.uploads) < _announced(request) + SPARE_BYTES:
            return PlainTextResponse("The disk of this server is nearly full.", status_code=507, headers={"Connection": "close"})
        staged = await run_in_threadpool(studio.uploads.staged)
        try:
            parser = GradioMultiPartParser(request.headers, _counted(request, most), max_files=MOST_FILES, max_fields=MOST_FILES,
                                           upload_dir=staged, upload_id=upload_id, max_file_size=most,
                                           upload_progress=file_upload_statuses if upload_id else None)
            form = await parser.parse()
            files = [part for part in form.getlist("files") if isinstance(part, GradioUploadFile)]
            owner = Caller(caller.identity, caller.visit or fresh)
            kept = [await run_in_threadpool(_keep, studio.uploads, file, owner, fresh is None) for file in files]
            return JSONResponse([upload.address for upload in kept])
        except MultiPartException as error:
            large = "exceeded maximum allowed size" in error.message and "File" in error.message
            return PlainTextResponse(_too_large(most) if large else error.message, status_code=413 if large else 400)
        except ClientDisconnect:
            return Response(status_code=400)
        except (AttributeError, AssertionError, KeyError, ValueError):        # Gradio's parser on a form that is none
            return PlainTextResponse("This form cannot be read.", status_code=400)
        finally:
            if upload_id:
                file_upload_statuses.set_done(upload_id)
                asyncio.get_running_loop().call_later(60, file_upload_statuses.stop_tracking, upload_id)
            await run_in_threadpool(shutil.rmtree, staged, ignore_errors=True)

    @app.api_route("/gradio_api/file={value:path}", methods=["GET", "HEAD"], include_in_schema=False)
    def file(value: str, request: Request) -> Response:
        headers = {"Cache-Control": "private, no-store", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
        try:
            if not value.startswith(PREFIX):
                raise NotUploaded
            found = studio.uploads.find(value, studio.caller(request))
        except NotUploaded:
            return PlainTextResponse("This file was not uploaded here.", status_code=404, headers=headers)
        shown = SHOWN_TYPES.get(found.file.suffix.lower())
        return FileResponse(found.file, media_type=shown or "application/octet-stream", headers=headers, filename=found.file.name,
                            content_disposition_type="inline" if shown else "attachment")


def _keep(uploads: Uploads, file: GradioUploadFile, owner: Caller, keeps_cookies: bool) -> Any:
    file.file.close()
    return uploads.adopt(Path(file.file.name), file.filename or "file", owner, keeps_cookies)


async def _counted(request: Request, most: int) -> AsyncGenerator[bytes, None]:
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > most + FORM_BYTES:
            raise MultiPartException("Files exceeded maximum allowed size")
        yield chunk


def _free(uploads: Uploads) -> int:
    return shutil.disk_usage(uploads.folder).free


def _too_large(most: int) -> str:
    return f"An upload may have at most {most / 1e6:.0f} MB."
