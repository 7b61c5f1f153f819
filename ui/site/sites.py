"""Which hosts this server answers to, and which other sites may have to do with it.

A browser sends its cookies wherever a page tells it to, and asks whatever address a name of somebody else's leads to. So each request
is looked at before anything else: does it ask for a host that is ours (else a stranger's name was pointed here, "DNS rebinding"), and if
a page made it, is that page one of ours. Links from elsewhere that open a page of ours are fine; calls, forms and pictures from elsewhere
are not, not even from another host of the same organisation or another port of this machine. Programs say nothing of pages, and are let
through.
"""

from __future__ import annotations

import ipaddress
import logging
import os
import re
import socket
from collections.abc import Iterable, Mapping
from typing import Any, cast

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from mre.errors import SettingsError
from ui.site.headers import SafeHeaders

LOOPBACK = ("localhost", "127.0.0.1", "::1")
EVERYWHERE = ("0.0.0.0", "::")                          # what to listen on when all of this machine's addresses are meant
AUTHORITY = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^\s:/?#@\[\]]+)(?::(\d{1,5}))?")
ORIGIN = re.compile(r"(https?)://([^/?#]+)")
HOST_NAME = re.compile(r"(\*\.)?[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
SITE = re.compile(r"https?://(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*(:\d{1,5})?")
FORWARDED = (b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-forwarded-port", b"x-forwarded-prefix", b"forwarded",
             b"x-gradio-server")
DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}
PRIVATE_NETWORKS = ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "::1", "fc00::/7")
log = logging.getLogger("mre.studio")


class Sites:
    """The hosts that are ours, the proxies whose word counts, and the sites that may show our pages in a frame of theirs."""

    def __init__(self, host: str = "127.0.0.1", allowed_hosts: Iterable[str] = (), trusted_proxies: Iterable[str] = (),
                 frame_ancestors: Iterable[str] = (), environment: Mapping[str, str] = os.environ) -> None:
        """`host` is what the server listens on. On Hugging Face Spaces, which the environment tells, the Space's own address is allowed,
        the Hub may frame the pages, and its proxy's word counts. Raises SettingsError."""
        self.named = {_checked_host(name) for name in allowed_hosts}
        self.frame_ancestors = tuple(_checked_site(site) for site in frame_ancestors)
        self.trusted_proxies = [_checked_proxy(proxy) for proxy in trusted_proxies]
        self.behind_tls: set[str] = set()               # hosts that are only ever reached by https
        if space := environment.get("SPACE_HOST", "").lower():
            self.admit(space)
            self.frame_ancestors += ("https://huggingface.co",)
            self.trusted_proxies += PRIVATE_NETWORKS
        self._own = {*LOOPBACK, host.lower()}
        self._any_address = host in EVERYWHERE
        if self._any_address:
            self._own |= {socket.gethostname().lower(), socket.gethostname().lower() + ".local"}

    def admit(self, host: str) -> None:
        """Answer to one more host, which is known to be reached by https alone: a tunnel's, or a Space's."""
        self.named.add(host)
        self.behind_tls.add(host)

    def answers(self, name: str) -> bool:
        """Whether this host is ours. Addresses in numbers are no names that could be pointed here: where the server listens on all of the
        machine's, each is fine."""
        return name in self._own or self.is_named(name) or (self._any_address and _is_address(name))

    def is_named(self, name: str) -> bool:
        """Whether whoever runs the server has named this host."""
        return name in self.named or any(f"*.{name[place + 1:]}" in self.named for place, char in enumerate(name) if char == ".")


def add_site_checks(app: FastAPI, sites: Sites) -> None:
    """Put the checks before everything that the application has so far; `app.state.sites` takes hosts that become known later."""
    app.state.sites = sites
    app.add_middleware(CORSMiddleware, allow_origins=())        # opens nothing, and where Gradio sees one it brings none of its own
    app.add_middleware(SiteGuard, sites=sites)
    app.add_middleware(SafeHeaders, frame_ancestors=sites.frame_ancestors)


class SiteGuard:
    """Refuses requests for hosts that are not ours, and those that other sites' pages make; takes the word of trusted proxies alone."""

    def __init__(self, app: ASGIApp, sites: Sites) -> None:
        self.app, self.sites = app, sites
        self._proxied = cast(Any, ProxyHeadersMiddleware(cast(Any, self._checked), sites.trusted_proxies))     # typed apart
        self._told: set[str] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        forwarded = [name for name, _ in scope["headers"] if name in FORWARDED]
        proxy = scope["client"][0] if scope.get("client") else ""
        if forwarded:
            trusted = proxy in self._proxied.trusted_hosts
            headers = [(name, value) for name, value in scope["headers"] if name not in FORWARDED]
            if trusted:
                told = {name: value.split(b",")[-1].strip() for name, value in scope["headers"] if name in FORWARDED}
                if asked := told.get(b"x-forwarded-host"):
                    headers = [(name, value) for name, value in headers if name != b"host"] + [(b"host", asked)]
                headers += [(name, told[name]) for name in (b"x-forwarded-proto",) if name in told]
                headers += [(name, value) for name, value in scope["headers"] if name == b"x-forwarded-for"]
            elif len(self._told) < 20 and proxy not in self._told:
                self._told.add(proxy)
                log.info("%s forwards the requests of others, as a proxy does; --trusted-proxy %s makes its word count", proxy, proxy)
            scope = {**scope, "headers": headers}
        await self._proxied(scope, receive, send)

    async def _checked(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        hosts = headers.getlist("host")
        name = host_of(hosts[0]) if len(hosts) == 1 else None
        if name in self.sites.behind_tls:
            scope["scheme"] = "wss" if scope["type"] == "websocket" else "https"
        refused = self._refusal(scope, headers, name)
        if refused is None:
            scope["mre.framed"] = bool(self.sites.frame_ancestors)
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 4403})
        else:
            await refused(scope, receive, send)

    def _refusal(self, scope: Scope, headers: Headers, name: str | None) -> Response | None:
        """The answer to a request that is not for us or not from us, or None."""
        if name is None or not self.sites.answers(name):
            shown = repr(headers.get("host", ""))[:200]
            return PlainTextResponse(f"This server does not answer to the host {shown}. If it is one of its names, start it with "
                                     "--allowed-host.", status_code=421)
        if self._is_from_elsewhere(scope, headers):
            return PlainTextResponse("This server takes no calls from pages of other sites. If this is its own page behind a proxy, let "
                                     "the proxy pass the Host header on, and start the server with --allowed-host.", status_code=403)
        return None

    def _is_from_elsewhere(self, scope: Scope, headers: Headers) -> bool:
        """Whether a page of another site has made this request, other than by a link to a page of ours."""
        origin, site = headers.get("origin"), headers.get("sec-fetch-site")
        own = origin is not None and self._is_own(origin, scope, headers.get("host", ""))
        page_host = host_of(found.group(2)) if (found := ORIGIN.fullmatch(origin or "")) else None
        host_changed = site == "same-origin" and page_host is not None and self.sites.is_named(page_host)       # by a proxy
        if origin not in (None, "null") and not own and not host_changed:
            return True
        if site in ("same-origin", "none"):
            return False
        if site is None:
            return origin is not None and not own
        opens_page = (scope["type"] == "http" and scope["method"] in ("GET", "HEAD") and headers.get("sec-fetch-mode") == "navigate"
                      and headers.get("sec-fetch-dest") in (None, "document", "iframe", "frame"))
        return not opens_page

    def _is_own(self, origin: str, scope: Scope, host: str) -> bool:
        """Whether a page of this origin is one that we have served. Behind a proxy that is not trusted, http may be https."""
        found = ORIGIN.fullmatch(origin)
        if found is None or (scope["scheme"] in ("https", "wss") and found.group(1) != "https"):
            return False
        return _authority(found.group(2), found.group(1)) == _authority(host, found.group(1)) is not None


# ------------------------------------------------------------------------------------------------------------------- hosts

def host_of(authority: str) -> str | None:
    """The host of `host:port`, in lower case and without brackets; None for what is none."""
    found = AUTHORITY.fullmatch(authority)
    return found.group(1).lower().strip("[]").rstrip(".") or None if found else None


def _authority(text: str, scheme: str) -> tuple[str, int] | None:
    found = AUTHORITY.fullmatch(text)
    return (host_of(text) or "", int(found.group(2) or DEFAULT_PORTS[scheme])) if found else None


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _checked_host(text: str) -> str:
    name = text.lower().strip("[]").rstrip(".")
    if not HOST_NAME.fullmatch(name) and not _is_address(name):
        raise SettingsError("--allowed-host must be a name such as studio.example.org or *.example.org, without https:// and port, "
                            f"got {text!r}")
    return name


def _checked_site(text: str) -> str:
    if not SITE.fullmatch(text.lower()):
        raise SettingsError(f"--frame-ancestor must be a site such as https://lab.example.org, got {text!r}")
    return text.lower()


def _checked_proxy(text: str) -> str:
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        raise SettingsError("--trusted-proxy must be an address or network in numbers, such as 10.0.0.2 or 10.0.0.0/8, "
                            f"got {text!r}") from error
    return text
