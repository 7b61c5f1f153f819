"""What browsers may do with the pages: pictures come from here only, whatever text somebody managed to put into a page, and no other site
shows a page in a frame of its own unless it is one of `frame_ancestors`."""

from __future__ import annotations

from collections.abc import Iterable

from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = "img-src 'self' data: blob:; media-src 'self' data: blob:; object-src 'none'; base-uri 'self'; form-action 'self'"
HEADERS = ((b"content-security-policy", POLICY.encode()), (b"x-content-type-options", b"nosniff"), (b"referrer-policy", b"same-origin"),
           (b"cross-origin-resource-policy", b"same-origin"), (b"cross-origin-opener-policy", b"same-origin"),
           (b"permissions-policy", b"geolocation=(), payment=(), usb=()"))


class SafeHeaders:
    """Adds the headers to every answer that does not bring its own, with who may frame it, and lets no other site's page read any."""

    def __init__(self, app: ASGIApp, frame_ancestors: Iterable[str] = ()) -> None:
        self.app = app
        others = tuple(frame_ancestors)
        self._ancestors = " ".join(("; frame-ancestors 'self'", *others)).encode()
        self._headers = HEADERS if others else (*HEADERS, (b"x-frame-options", b"SAMEORIGIN"))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = [(name.lower(), value) for name, value in message.get("headers", ())]
                there = {name for name, _ in given}
                headers = [*given, *(header for header in self._headers if header[0] not in there)]
                message["headers"] = [(name, value + self._ancestors) if name == b"content-security-policy" else (name, value)
                                      for name, value in headers if not name.startswith(b"access-control-")]
            await send(message)
        await self.app(scope, receive, send_with_headers if scope["type"] == "http" else send)
