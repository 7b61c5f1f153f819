"""Cookies that only this server reads: not scripts, not other sites' pages, and over https not another host of the same organisation."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import Response

PREFIX = "__Host-"              # browsers take such a cookie only from this very host, over https


def cookie(request: Request, name: str) -> str | None:
    """The cookie of this name."""
    return request.cookies.get(_full_name(request, name))


def set_cookie(answer: Response, request: Request, name: str, value: str, seconds: int) -> None:
    """Let the browser keep a value. Where other sites may show our pages in a frame, it goes along there too, apart for each such site."""
    secure = request.url.scheme == "https"
    framed = secure and request.scope.get("mre.framed", False)
    answer.set_cookie(_full_name(request, name), value, max_age=seconds, path="/", httponly=True, secure=secure,
                      samesite="none" if framed else "lax")
    if framed:
        key, written = answer.raw_headers[-1]
        answer.raw_headers[-1] = (key, written + b"; Partitioned")


def forget_cookie(answer: Response, request: Request, name: str) -> None:
    set_cookie(answer, request, name, "", 0)


def _full_name(request: Request, name: str) -> str:
    return PREFIX + name if request.url.scheme == "https" else name
