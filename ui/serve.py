"""The web application on a socket, until it is stopped: slow and half-open requests end, and so does the process when it is told to."""

from __future__ import annotations

import faulthandler
import logging
import os
import shutil
import socket
import sys
import threading
import time
from types import FrameType
from typing import TYPE_CHECKING, Any

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from ui.site.uploads import own_folder, sweep_strays

if TYPE_CHECKING:
    from ui.site.sites import Sites
    from ui.studio import Studio, StudioSettings

UNOPENED_SECONDS = 4.0       # the model loads after this even if nobody opens the page
GRACE_SECONDS = 2            # for requests that are being answered when the process is told to end
EXIT_SECONDS = 7.0           # after which it ends whatever it is doing
REQUEST_SECONDS = 20.0       # for a request to come in, and for each part of it at `SLOWEST` bytes a second more
SLOWEST = 8192
UNREAD_SECONDS = 60.0        # a client that takes nothing of its answer for so long is gone
LOOK_SECONDS = 2.0
log = logging.getLogger("mre.studio")


class PatientProtocol(H11Protocol):
    """HTTP whose clients have a limited time to send a request, head and body, and to take its answer. uvicorn alone waits for ever."""

    _since: float | None = None              # when the request that is coming in began; None: nothing is owed
    _received = 0                            # bytes of it
    _unread: float | None = None             # since when the client has taken nothing

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        # asyncio does this only for sockets whose protocol number is given, which those that a program binds itself seldom have; without
        # it the body of each short answer waits for the client's delayed acknowledgement of the head: 40 ms
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._since, self._received = self.loop.time(), 0
        self._look = self.loop.call_later(LOOK_SECONDS, self._check)

    def connection_lost(self, exc: Exception | None) -> None:
        self._look.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._since is None:
            self._since, self._received = self.loop.time(), 0
        self._received += len(data)
        super().data_received(data)
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._since = None               # the request is whole

    def pause_writing(self) -> None:
        self._unread = self.loop.time()
        super().pause_writing()

    def resume_writing(self) -> None:
        self._unread = None
        super().resume_writing()

    def _check(self) -> None:
        now = self.loop.time()
        if self.flow.read_paused:            # it is we who do not take what was sent
            self._since = self._since and now
        if self._unread is not None and now - self._unread > UNREAD_SECONDS:
            self.transport.abort()
        elif self._since is not None and now - self._since > REQUEST_SECONDS + self._received / SLOWEST:
            self._refuse()
        else:
            self._look = self.loop.call_later(LOOK_SECONDS, self._check)

    def _refuse(self) -> None:
        answering = self.cycle is not None and not self.cycle.response_complete
        if self._received and not (answering and self.cycle.response_started):
            if answering:                    # the application reads a body that does not come: it is told that the client has gone
                self.cycle.disconnected = True
                self.cycle.message_event.set()
            try:
                for event in (h11.Response(status_code=408, headers=[(b"connection", b"close"), (b"content-length", b"0")],
                                           reason=b"Request Timeout"), h11.EndOfMessage()):
                    self.transport.write(self.conn.send(event))
            except h11.LocalProtocolError:   # the state does not allow an answer
                pass
        self.transport.close()


class StudioServer(uvicorn.Server):
    """A server that ends within `EXIT_SECONDS` of being told to, whatever its threads and requests are doing."""

    def __init__(self, config: uvicorn.Config, studio: Studio) -> None:
        super().__init__(config)
        self.studio = studio

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """On SIGTERM and Ctrl-C. The second time the process ends at once."""
        if self.should_exit:
            end()
        self.should_exit = True
        faulthandler.dump_traceback_later(EXIT_SECONDS + 2, exit=True)       # if even the interpreter hangs
        threading.Thread(target=self._end_soon, daemon=True).start()

    def _end_soon(self) -> None:
        self.studio.close()
        time.sleep(EXIT_SECONDS)
        log.warning("ended while something was still going on")
        end()


def end() -> None:
    """End this process now, leaving nothing of its visitors."""
    shutil.rmtree(own_folder(), ignore_errors=True)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def configured(app: FastAPI, **options: Any) -> uvicorn.Config:
    """How the application is served. No web sockets: nothing uses them."""
    return uvicorn.Config(app, http=PatientProtocol, ws="none", proxy_headers=False, log_level="warning",
                          timeout_graceful_shutdown=GRACE_SECONDS, **options)


def serve(app: FastAPI, server: socket.socket) -> int:
    """Serve the application on a bound socket and print its address once it answers. Returns the exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    log.setLevel(logging.INFO)
    studio: Studio = app.state.studio
    settings = studio.settings
    runner = StudioServer(configured(app), studio)
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
    url = f"http://{'[' + host + ']' if ':' in host else host}:{settings.port}/"

    def announce() -> None:
        while not runner.started:
            threading.Event().wait(0.05)
        print(f"MRE Studio is at {url}", flush=True)
        studio.warm(after=UNOPENED_SECONDS)
        if settings.share:
            print(f"public address: {_tunnel(settings, app.state.sites)}", flush=True)

    threading.Thread(target=announce, daemon=True).start()
    threading.Thread(target=_keep_tidy, args=(studio,), name="tidy uploads", daemon=True).start()
    runner.run(sockets=[server])
    if runner.should_exit:
        end()                                # the interpreter would wait for whatever its threads are doing
    return 0


def _keep_tidy(studio: Studio, seconds: float = 60.0) -> None:
    """Delete what nobody needs any more, for as long as the server runs: whatever goes wrong with some of it once."""
    while not studio.closing.wait(seconds):
        for tidy in (studio.uploads.expire, studio.left.expire, sweep_strays):
            try:
                tidy()
            except Exception as error:           # a folder that somebody took away, for example
                log.error("could not tidy up: %s", error, exc_info=error)


def _tunnel(settings: StudioSettings, sites: Sites) -> str:
    """A public address for this server, through Gradio's tunnel."""
    import secrets
    from urllib.parse import urlsplit

    from gradio.networking import setup_tunnel
    try:
        address = setup_tunnel(settings.host, settings.port, secrets.token_urlsafe(32), None, None)
        sites.admit(urlsplit(address).hostname or "")
        return address
    except (OSError, RuntimeError, ValueError) as error:
        return f"none, the tunnel could not be opened ({error})"
