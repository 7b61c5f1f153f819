"""The web application on a socket, until it is stopped."""

from __future__ import annotations

import logging
import socket
import threading

import uvicorn

from ui.app import build_app
from ui.pictures import keep_trimmed, own_upload_folder
from ui.sites import Sites
from ui.studio import StudioSettings

UNOPENED_SECONDS = 4.0       # the model loads after this even if nobody opens the page
log = logging.getLogger("mre.studio")


def serve(settings: StudioSettings, server: socket.socket) -> int:
    """Serve the studio on a bound socket and print its address once it answers. Returns the exit code."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(name)s %(message)s")
    log.setLevel(logging.INFO)
    keep_trimmed(own_upload_folder())
    app = build_app(settings)
    runner = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=2, proxy_headers=False))
    host = "127.0.0.1" if settings.host in ("0.0.0.0", "::") else settings.host
    url = f"http://{'[' + host + ']' if ':' in host else host}:{settings.port}/"

    def announce() -> None:
        while not runner.started:
            threading.Event().wait(0.05)
        print(f"MRE Studio is at {url}", flush=True)
        app.state.studio.warm(after=UNOPENED_SECONDS)
        if settings.share:
            print(f"public address: {_tunnel(settings, app.state.sites)}", flush=True)

    threading.Thread(target=announce, daemon=True).start()
    runner.run(sockets=[server])
    return 0


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
