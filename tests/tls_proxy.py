"""A TLS-terminating proxy with a certificate of its own making, in front of servers by host name."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import trustme


class TlsProxy:
    """Passes https requests on over plain http: each host name to a port of this machine, with the headers that proxies add."""

    def __init__(self, ports: dict[str, int], folder: Path) -> None:
        self.ports = ports
        authority = trustme.CA()
        self.trust = folder / "authority.pem"
        authority.cert_pem.write_to_path(self.trust)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        authority.issue_cert(*ports, "127.0.0.1").configure_cert(self._context)
        self.port = 0

    def client(self, host: str) -> httpx.Client:
        """Somebody who asks this proxy for a host."""
        return httpx.Client(base_url=f"https://127.0.0.1:{self.port}", verify=ssl.create_default_context(cafile=str(self.trust)),
                            headers={"Host": host}, timeout=30)

    async def serve(self, ready: threading.Event, stop: asyncio.Event) -> None:
        server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0, ssl=self._context)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        async with server:
            await stop.wait()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, KeyError):
            head = await reader.readuntil(b"\r\n\r\n")
            lines = [line for line in head.decode("latin-1").split("\r\n") if line and not line.lower().startswith("connection:")]
            host = next(line.split(":", 1)[1].strip() for line in lines if line.lower().startswith("host:"))
            lines += ["Connection: close", "X-Forwarded-Proto: https", f"X-Forwarded-For: {writer.get_extra_info('peername')[0]}"]
            back, forth = await asyncio.open_connection("127.0.0.1", self.ports[host.split(":")[0]])
            forth.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
            sending = asyncio.create_task(_pour(reader, forth))
            await _pour(back, writer)
            sending.cancel()
            forth.close()
        writer.close()


async def _pour(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    while data := await source.read(65536):
        target.write(data)
        await target.drain()


@contextmanager
def tls_proxy(ports: dict[str, int], folder: Path) -> Iterator[TlsProxy]:
    """A running proxy."""
    proxy, ready, loop, stop = TlsProxy(ports, folder), threading.Event(), asyncio.new_event_loop(), asyncio.Event()
    thread = threading.Thread(target=loop.run_until_complete, args=[proxy.serve(ready, stop)], daemon=True)
    thread.start()
    assert ready.wait(30)
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
