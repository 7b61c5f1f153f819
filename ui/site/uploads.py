"""What visitors send: each file in a folder of its own, under a token that only its sender is told and only its session may use.

Nothing that comes from outside is looked up in the file system: a token is cut out of it, and the token is looked up here.
"""

from __future__ import annotations

import atexit
import base64
import functools
import os
import re
import secrets
import shutil
import tempfile
import threading
import time
import unicodedata
import weakref
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from mre.errors import MreError
from mre.imaging import MAX_BYTES
from ui.site.cookies import cookie

if TYPE_CHECKING:
    from fastapi import Request

COOKIE = "mre_visit"
PREFIX = "uploads/"
MOST_BYTES = {"visitor": MAX_BYTES, "researcher": 2_000_000_000}      # of one request; the paper's study as a ZIP has at most 1.4 GB
ALL_BYTES = 8_000_000_000
KEPT_SECONDS = 2 * 3600         # since it was last used: for those whose tab never said that it closed
MOST_SESSIONS = 10_000
NAME_BYTES = 100
TOKEN = re.compile(rf"(?:https?://[^\s?#]{{1,300}}/gradio_api/file=)?{PREFIX}([A-Za-z0-9_-]{{43}})/[^/]*")
VISIT = re.compile(r"[A-Za-z0-9_-]{32}")
DATA = re.compile(r"data:([\w.+/-]{0,100})[\w.+/=;-]{0,100};base64,")
ENDINGS = {"image/png": ".png", "image/jpeg": ".jpg", "image/webp": ".webp", "image/gif": ".gif", "image/bmp": ".bmp",
           "image/tiff": ".tiff", "text/csv": ".csv", "application/zip": ".zip"}


class NotUploaded(MreError):
    """A file that this session has not uploaded. The message is the same whatever was named, there or not."""


class UploadTooLarge(MreError):
    """More bytes than may be sent at once."""


@dataclass(frozen=True)
class Caller:
    """Who asks: an account, or the session of an invited visitor ("" without accounts), the browser by its cookie, and the page or program
    by its session."""

    identity: str = ""
    visit: str | None = None        # None: keeps no cookies, as many programs do
    session: str | None = None      # Gradio's `session_hash`


@dataclass
class Upload:
    """A file of a session. One that came without a cookie belongs to the first session that uses it."""

    token: str
    file: Path
    size: int
    owner: Caller
    keeps_cookies: bool
    until: float                    # by time.monotonic

    @property
    def address(self) -> str:
        """What its sender names it by."""
        return f"{PREFIX}{self.token}/{self.file.name}"

    def belongs_to(self, caller: Caller) -> bool:
        if caller.identity != self.owner.identity:
            return False
        if caller.visit != self.owner.visit and (caller.visit is not None or self.keeps_cookies):
            return False
        return None in (caller.session, self.owner.session) or caller.session == self.owner.session


class Uploads:
    """Files of all sessions. An owner may fill a quarter of the space; the oldest give way first."""

    def __init__(self, max_bytes: int = ALL_BYTES) -> None:
        self.max_bytes = max_bytes
        self.folder = Path(tempfile.mkdtemp(prefix="uploads-", dir=own_folder()))
        self._uploads: OrderedDict[str, Upload] = OrderedDict()         # least recently used first
        self._sessions: OrderedDict[str, Caller] = OrderedDict()
        self._lock = threading.Lock()
        weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)

    # ------------------------------------------------------------------------------------------------------------ coming in

    def put(self, data: bytes, name: str, caller: Caller) -> Upload:
        """Keep bytes for their sender."""
        staged = self.staged()
        try:
            (staged / "data").write_bytes(data)
            return self.adopt(staged / "data", name, caller)
        finally:
            shutil.rmtree(staged, ignore_errors=True)

    def staged(self) -> Path:
        """A new folder for files that are still coming in."""
        return Path(tempfile.mkdtemp(prefix="coming-", dir=self.folder))

    def adopt(self, file: Path, name: str, caller: Caller, keeps_cookies: bool = True) -> Upload:
        """Keep a file that lies in a folder of `staged`, under a safe form of its name."""
        token = secrets.token_urlsafe(32)
        place = self.folder / token / safe_name(name)
        place.parent.mkdir(mode=0o700)
        file.rename(place)
        known = keeps_cookies and caller.visit is not None
        upload = Upload(token, place, place.stat().st_size, caller, known, time.monotonic() + KEPT_SECONDS)
        with self._lock:
            self._uploads[token] = upload
            self._make_room(upload)
        return upload

    def take_data(self, address: str, name: str | None, caller: Caller) -> Upload:
        """Keep the bytes that a `data:` address carries. Raises NotUploaded for one that carries none, UploadTooLarge."""
        if (head := DATA.match(address)) is None:
            raise NotUploaded
        if len(address) - head.end() > MAX_BYTES * 4 // 3 + 4:
            raise UploadTooLarge(f"a file inside an address may have at most {MAX_BYTES / 1e6:.0f} MB")
        try:
            data = base64.b64decode(address[head.end():], validate=True)
        except ValueError:
            data = b""                           # whoever reads it refuses an empty file by its name
        return self.put(data, name or "file" + ENDINGS.get(head[1].lower(), ".png"), caller)

    # --------------------------------------------------------------------------------------------------------------- in use

    def find(self, value: Any, caller: Caller) -> Upload:
        """The upload that a value from outside names, for its owner only; it is the session's from now on. Raises NotUploaded."""
        named = TOKEN.fullmatch(value) if isinstance(value, str) and len(value) < 1000 else None
        with self._lock:
            upload = self._uploads.get(named[1]) if named else None
            if upload is None or not upload.belongs_to(caller) or upload.until < time.monotonic() or not upload.file.is_file():
                raise NotUploaded
            owner = upload.owner
            upload.owner = Caller(owner.identity, owner.visit, owner.session or caller.session)
            upload.keeps_cookies = upload.keeps_cookies or caller.visit is not None
            upload.until = time.monotonic() + KEPT_SECONDS
            self._uploads.move_to_end(upload.token)
        return upload

    def at(self, path: str) -> Upload | None:
        """The upload that lies at a path of ours."""
        parts = PurePosixPath(Path(path).as_posix()).parts
        with self._lock:
            upload = self._uploads.get(parts[-2]) if len(parts) > 1 else None
        return upload if upload and str(upload.file) == path else None

    def holds_session(self, caller: Caller) -> bool:
        """Whether a session is the caller's: its first one's, or nobody's yet."""
        if caller.session is None:
            return True
        with self._lock:
            first = self._sessions.setdefault(caller.session, caller)
            self._sessions.move_to_end(caller.session)
            while len(self._sessions) > MOST_SESSIONS:
                self._sessions.popitem(last=False)
        return (first.identity, first.visit) == (caller.identity, caller.visit)

    # ---------------------------------------------------------------------------------------------------------------- going

    def forget(self, path: str | None) -> None:
        """Delete an upload by where it lies; anything else is left alone."""
        if path and (upload := self.at(str(path))):
            with self._lock:
                self._remove(upload)

    def pass_on(self, session: str | None, caller: Caller) -> None:
        """What a session has used is from now on that of another session of the same browser, whose page takes the other's place."""
        with self._lock:
            self._sessions.pop(session or "", None)
            for upload in self._uploads.values():
                owner = upload.owner
                if session is not None and (owner.identity, owner.visit, owner.session) == (caller.identity, caller.visit, session):
                    upload.owner = caller

    def drop_session(self, session: str | None) -> None:
        """Delete all that a session has used, and forget whose it was."""
        with self._lock:
            self._sessions.pop(session or "", None)
            for upload in [upload for upload in self._uploads.values() if session is not None and upload.owner.session == session]:
                self._remove(upload)

    def expire(self) -> None:
        """Delete what has not been used for long, and folders of files that never came in whole."""
        with self._lock:
            for upload in [upload for upload in self._uploads.values() if upload.until < time.monotonic()]:
                self._remove(upload)
        for folder in self.folder.glob("coming-*"):
            with suppress(OSError):
                if time.time() - folder.stat().st_mtime > KEPT_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)

    @property
    def bytes_used(self) -> int:
        with self._lock:
            return sum(upload.size for upload in self._uploads.values())

    def _make_room(self, new: Upload) -> None:
        """Delete the oldest, first of the same owner; the new one itself stays. Programs without cookies count as one owner."""
        def account(upload: Upload) -> tuple:
            return (upload.owner.identity, upload.owner.visit if upload.keeps_cookies else None)
        own = [upload for upload in self._uploads.values() if account(upload) == account(new)]
        for uploads, most in ((own, self.max_bytes // 4), (list(self._uploads.values()), self.max_bytes)):
            total = sum(upload.size for upload in uploads if upload.token in self._uploads)
            for upload in uploads:
                if total <= most:
                    break
                if upload is not new and upload.token in self._uploads:
                    total -= upload.size
                    self._remove(upload)

    def _remove(self, upload: Upload) -> None:
        if self._uploads.pop(upload.token, None):
            shutil.rmtree(upload.file.parent, ignore_errors=True)


def safe_name(name: str) -> str:
    """A visitor's file name without anything that a file system, a terminal or a page could take for something else."""
    name = re.split(r"[/\\]", name)[-1]
    name = "".join(" " if unicodedata.category(sign)[0] in "CZ" else sign for sign in name if sign not in '<>:"|?*')
    stem, dot, ending = name.strip(" .").rpartition(".")
    if not dot:
        stem, ending = ending, ""
    ending = ending[:16].strip() if ending.isascii() else ""
    stem = stem.encode()[:NAME_BYTES].decode(errors="ignore")           # in one step: a name may be as long as a request
    stem = stem.strip(" .").lstrip("-~") or "file"
    return f"{stem}.{ending}" if ending else stem


def visit_of(request: Request) -> str | None:
    """The browser's cookie, if it has one of ours."""
    value = cookie(request, COOKIE)
    return value if value and VISIT.fullmatch(value) else None


def file_address(upload: Upload) -> str:
    """Where its owner's browser finds an upload, below the page's root."""
    return f"/gradio_api/file={quote(upload.address)}"


# --------------------------------------------------------------------------------------------------------------- the folder

@functools.cache
def own_folder() -> Path:
    """A folder for this process alone, for all that visitors send and get; gone when the process ends, and those that killed processes
    left are gone when the next one starts. It lies in GRADIO_TEMP_DIR, or where the system keeps temporary files. From now on Gradio
    takes it for its own."""
    base = Path(os.environ.get("GRADIO_TEMP_DIR") or tempfile.gettempdir())
    base.mkdir(parents=True, exist_ok=True)
    _sweep(base)
    folder = Path(tempfile.mkdtemp(prefix="mre-studio-", dir=base)).resolve()      # for its owner's eyes only
    _hold(folder)
    os.environ["GRADIO_TEMP_DIR"] = str(folder)
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def sweep_strays(seconds: float = 600.0) -> None:
    """Delete what Gradio leaves at the top of its folder: an empty file for each file input that it reads."""
    for path in own_folder().iterdir():
        with suppress(OSError):
            if path.is_file() and path.name != LOCK and time.time() - path.stat().st_mtime > seconds:
                path.unlink()


LOCK = "in-use"
_held: list[Any] = []               # open for as long as the process lives


def _hold(folder: Path) -> None:
    """Mark a folder as in use. The system takes the mark away with the process, however it ends."""
    with suppress(ImportError):
        import fcntl
        file = (folder / "lock").open("w")
        fcntl.flock(file, fcntl.LOCK_EX)
        (folder / "lock").rename(folder / LOCK)         # whoever finds it finds it locked
        _held.append(file)


def _sweep(base: Path) -> None:
    """Delete folders of processes that are gone."""
    with suppress(ImportError):
        import fcntl
        for lock in base.glob(f"mre-studio-*/{LOCK}"):
            with suppress(OSError):
                if lock.parent.is_symlink() or lock.parent.stat().st_uid != os.getuid():
                    continue
                with lock.open("a") as file:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(lock.parent, ignore_errors=True)
