"""The server: slow and half-open requests end, and the process ends when it is told to, whatever it is doing."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from fastapi import FastAPI

from tests.processes import Program
from tests.ui.serving import served
from tests.ui.test_uploads import edit_values, png
from ui import serve

PROGRAM = """
import socket, sys, time
from pathlib import Path
from mre.editors.editor import EditorInfo
from mre.editors.local_editor import LocalEditor
from mre.editors.pipeline_info import FULL_SIZE
from ui import app, serve
from ui.studio import StudioSettings
class Slow(LocalEditor):
    def describe(self):
        return EditorInfo(self.name, title="Slow", capabilities=FULL_SIZE)
    def make(self, seen, settings, on_step, should_stop):
        time.sleep(60)
        return seen
{more}
server = socket.create_server(("127.0.0.1", 0))
settings = StudioSettings(data=Path(sys.argv[1]), port=server.getsockname()[1])
sys.exit(serve.serve(app.build_app(settings, {{"slow": Slow("slow")}}), server))
"""
HANG_LOOP = """
import asyncio
real = serve.StudioServer.startup
async def startup(self, sockets=None):
    await real(self, sockets)
    asyncio.get_running_loop().call_later(2.5, time.sleep, 1000)
serve.StudioServer.startup = startup
"""
LIMIT = 10.0


def started(folder: Path, more: str = "") -> tuple[Program, str]:
    running = Program("-c", PROGRAM.format(more=more), folder / "data", env={**os.environ, "GRADIO_TEMP_DIR": str(folder / "temp")})
    line = running.stdout.readline()
    assert line, running.communicate(10)
    return running, re.search(r"http://\S+", line)[0]


def seconds_to_end(running: Program, sign: int = signal.SIGTERM) -> float:
    running.send_signal(sign)
    began = time.monotonic()
    running.wait(30)
    return time.monotonic() - began


def test_an_idle_server_ends_at_once_and_leaves_no_file(tmp_path):
    running, url = started(tmp_path)
    with httpx.Client(base_url=url, timeout=60) as client:
        client.post("/gradio_api/upload", files={"files": ("a.png", png())})
        assert any((tmp_path / "temp").rglob("a.png"))
    assert seconds_to_end(running) < 6
    assert running.returncode == 0
    assert list((tmp_path / "temp").glob("mre-studio-*")) == []
    assert "Traceback" not in running.communicate()[1]


def test_a_busy_server_ends_in_time_with_an_edit_running_streams_open_and_requests_half_sent(tmp_path):     # takes its seconds
    running, url = started(tmp_path)
    host, port = httpx.URL(url).host, httpx.URL(url).port
    with httpx.Client(base_url=url, timeout=60) as client, closing(socket.create_connection((host, port))) as half, \
            closing(socket.create_connection((host, port))) as body:
        sent = client.post("/gradio_api/upload", files={"files": ("a.png", png())}).json()[0]
        values = edit_values({"path": sent, "meta": {"_type": "gradio.FileData"}})
        event = client.post("/gradio_api/call/edit", json={"data": [*values[:11], "slow", True]}).json()["event_id"]
        half.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        body.sendall(b"POST /gradio_api/upload HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\n"
                     b"Content-Length: 99999\r\n\r\n--x")
        with client.stream("GET", f"/gradio_api/call/edit/{event}"), client.stream("GET", "/gradio_api/heartbeat/abc"):
            time.sleep(1)
            assert seconds_to_end(running) < LIMIT
    assert running.returncode == 0
    assert list((tmp_path / "temp").glob("mre-studio-*")) == []


def test_a_server_whose_loop_hangs_ends_in_time_too(tmp_path):        # waits seven seconds on purpose
    running, url = started(tmp_path, HANG_LOOP)
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            httpx.get(url + "robots.txt", timeout=1.0)
            time.sleep(0.2)
        except httpx.TimeoutException:
            break
    else:
        raise AssertionError("it does not hang")
    assert seconds_to_end(running) < LIMIT


def test_told_twice_the_server_ends_at_once(tmp_path):
    running, _ = started(tmp_path, HANG_LOOP.replace("2.5", "0.0"))
    running.send_signal(signal.SIGINT)
    time.sleep(2.0)                              # two signals in one moment are one; a busy machine delivers the first one late
    began = time.monotonic()
    while running.poll() is None and time.monotonic() - began < 5:
        running.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            running.wait(1)
    assert running.poll() is not None, "it would end by itself only seven seconds after the first"


# ------------------------------------------------------------------------------------------------------------ slow requests

async def echo(scope, receive, send):
    """Reads the body, then answers with its size and a megabyte for whoever wants to read it."""
    if scope["type"] != "http":
        raise RuntimeError
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    for _ in range(20 if scope["path"] == "/large" else 0):
        await send({"type": "http.response.body", "body": bytes(1_000_000), "more_body": True})
    await send({"type": "http.response.body", "body": str(size).encode()})


@pytest.fixture
def hasty(monkeypatch):
    """A server with much less patience than usual; its port."""
    monkeypatch.setattr(serve, "REQUEST_SECONDS", 0.8)
    monkeypatch.setattr(serve, "LOOK_SECONDS", 0.1)
    monkeypatch.setattr(serve, "UNREAD_SECONDS", 0.8)
    with served(echo) as url:
        yield httpx.URL(url).port


def ended(raw: socket.socket, within: float = 6.0) -> bytes:
    """What the server says until it closes the connection."""
    raw.settimeout(within)
    told = b""
    while part := raw.recv(100_000):
        told += part
    return told


@pytest.mark.parametrize("said", [b"", b"GET", b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: ",
                                  b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc",
                                  b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"])
def test_a_request_that_stops_half_way_is_ended(hasty, said):
    with closing(socket.create_connection(("127.0.0.1", hasty))) as raw:
        raw.sendall(said)
        began = time.monotonic()
        told = ended(raw)
        assert 0.5 < time.monotonic() - began < 5
        assert told.startswith(b"HTTP/1.1 408 ") == bool(said)


@pytest.mark.parametrize("head", [b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: ", b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n",
                                  b"GET / HTTP/1.1\r\nHost: x\r\n\r\nPOST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n"])
def test_a_request_that_trickles_is_ended(hasty, head):
    with closing(socket.create_connection(("127.0.0.1", hasty))) as raw:
        raw.sendall(head)
        began = time.monotonic()
        with suppress(ConnectionError):
            while time.monotonic() - began < 6:
                raw.sendall(b"a")
                time.sleep(0.05)
        assert time.monotonic() - began < 5


def test_a_slow_but_steady_upload_and_a_patient_answer_are_served(hasty):
    with closing(socket.create_connection(("127.0.0.1", hasty))) as raw:
        raw.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 400000\r\n\r\n")
        for _ in range(20):                      # two seconds in all: 200 kB a second
            raw.sendall(bytes(20_000))
            time.sleep(0.1)
        assert b"\r\n400000\r\n" in ended(raw)
    with httpx.Client(base_url=f"http://127.0.0.1:{hasty}") as client:
        for pause in (0.0, 1.5, 1.5):            # a connection that is kept open between requests
            time.sleep(pause)
            assert client.get("/").text == "0"


def test_a_client_that_reads_nothing_of_its_answer_is_ended(hasty):
    with closing(socket.socket()) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.connect(("127.0.0.1", hasty))
        raw.sendall(b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n")
        time.sleep(2.5)
        told = 0
        with suppress(ConnectionResetError):
            raw.settimeout(6)
            while part := raw.recv(100_000):
                told += len(part)
        assert told < 20_000_000


def test_short_answers_do_not_wait_for_a_delayed_acknowledgement(tmp_path, monkeypatch):
    """On sockets bound as the program binds its own, and as the tests do."""
    from app import listen
    options = []
    real = serve.PatientProtocol.connection_made

    def made(self, transport):
        real(self, transport)
        options.append(transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
    monkeypatch.setattr(serve.PatientProtocol, "connection_made", made)
    for listener in (listen("127.0.0.1", None), socket.create_server(("127.0.0.1", 0))):
        with served(FastAPI(), listener) as url:
            assert httpx.get(url).status_code == 404
    assert len(options) == 2
    assert all(options)


def test_what_goes_wrong_while_tidying_up_once_keeps_nothing_from_going_later(caplog):
    closing, tidied = threading.Event(), []

    def uploads() -> None:
        raise FileNotFoundError("somebody took the folder away")

    def left() -> None:
        tidied.append("left")
        if len(tidied) == 2:
            closing.set()
    serve._keep_tidy(SimpleNamespace(closing=closing, uploads=SimpleNamespace(expire=uploads), left=SimpleNamespace(expire=left)), 0.001)
    assert tidied == ["left", "left"]
    assert "somebody took the folder away" in caplog.text
