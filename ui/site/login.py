"""Signing in and out, and invitation links."""

from __future__ import annotations

import asyncio
import html
import math
from typing import TYPE_CHECKING
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from mre.study import sessions
from mre.study.accounts import DEVICE_DAYS, known_device, read_invitation, remember_device
from ui.site.cookies import cookie, forget_cookie, set_cookie
from ui.site.login_limits import FairPool, Key, TooManyWaiting, Tries, address_of

if TYPE_CHECKING:
    from ui.site.access import Access

SESSION_COOKIE, DEVICE_COOKIE = "mre_session", "mre_device"
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><link rel="stylesheet" href="/study/static/study.css"></head><body><main><section class="reading">
<h1>{title}</h1>{message}{body}</section></main></body></html>"""
SIGN_IN = """<form method="post" action="/login"><input type="hidden" name="next" value="{next}">
<p><label for="name">Name · 用户名</label><br><input id="name" name="name" autocomplete="username" required autofocus></p>
<p><label for="password">Password · 密码</label><br>
<input id="password" name="password" type="password" autocomplete="current-password" required></p>
<p><button type="submit" class="main">Sign in · 登录</button></p></form>"""
SIGN_OUT = """<p>Signed in as <b>{name}</b>. · 已登录：<b>{name}</b>。</p><form method="post" action="/logout">
<p><button type="submit" class="main">Sign out · 退出登录</button></p>
<p><button type="submit" name="everywhere" value="1">Sign out on all devices · 在所有设备上退出</button></p></form>
<p><a href="/">Back · 返回</a></p>"""
POLICY = "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'"
MOST_BYTES = 20_000
HEADERS = {"Content-Security-Policy": POLICY, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class Login:
    """The routes by which sessions begin and end."""

    def __init__(self, access: Access) -> None:
        self.access = access
        self.tries = Tries()
        self.passwords = FairPool()

    @property
    def store(self):
        return self.access.studio.store

    def add_routes(self, app: FastAPI) -> None:
        app.add_api_route("/join", self.join, methods=["GET"], response_model=None)
        if self.access.enabled:
            app.add_api_route("/login", self.login_page, methods=["GET"], response_model=None)
            app.add_api_route("/login", self.login, methods=["POST"], response_model=None)
            app.add_api_route("/logout", self.logout_page, methods=["GET"], response_model=None)
            app.add_api_route("/logout", self.logout, methods=["POST"], response_model=None)

    def join(self, request: Request, invitation: str = "") -> Response:
        """Follow an invitation link. One for visitors begins a session where there is none yet; it takes nobody's place."""
        found = read_invitation(self.store.secret, invitation)
        if found is None:
            return _sign_in_page("/", "This invitation is not known or too old. · 邀请无效或已过期。", status=403)
        if found.role == "annotator":
            return RedirectResponse(f"/study/s/{quote(found.study)}?{request.url.query}", status_code=303)
        answer = RedirectResponse("/", status_code=303)
        if self.access.enabled and self.access.session(request) is None:
            if wait := self.tries.take(("invitation", address_of(request))):
                return _sign_in_page("/", "Too many tries; please wait a minute. · 尝试次数过多，请稍候。", status=429, wait=wait)
            set_cookie(answer, request, SESSION_COOKIE, sessions.begin(self.store), sessions.SESSION_DAYS * 86400)
        return answer

    def login_page(self, next: str = "/") -> Response:
        return _sign_in_page(next)

    async def login(self, request: Request) -> Response:
        """Begin a session with a name and password. A try takes its place among those allowed before the password is looked at."""
        if (form := await _form(request)) is None:
            return _sign_in_page("/", "This is too long. · 内容过长。", status=413)
        name, password = str(form.get("name", ""))[:100], str(form.get("password", ""))[:1000]
        target, address = str(form.get("next", "/")), address_of(request)
        secret = await run_in_threadpool(lambda: self.store.secret)
        device = known_device(secret, cookie(request, DEVICE_COOKIE), name)
        keys: tuple[Key, ...] = ((("device", (device, name)),) if device else
                                 (("address", address), ("account and address", (name, address)), ("account", name)))
        if wait := self.tries.take(*keys):
            return _sign_in_page(target, "Too many tries; please wait a minute. · 尝试次数过多，请稍候。", status=429, wait=wait)
        try:
            role = await asyncio.wrap_future(self.passwords.submit(
                device or address, lambda: self.access.accounts.check(name, password), first=bool(device)))
        except TooManyWaiting:
            self.tries.take_back(*keys)
            return _sign_in_page(target, "Many are signing in just now; please try again. · 当前登录人数过多，请重试。", status=503, wait=5)
        if role is None:
            return _sign_in_page(target, "Name or password is wrong. · 用户名或密码错误。", status=401)
        self.tries.take_back(*keys)
        self.tries.forget(("account and address", (name, address)))
        home = "/study/" if role == "annotator" and target == "/" else target
        return await run_in_threadpool(self._signed_in, request, name, home, secret)

    def _signed_in(self, request: Request, name: str, target: str, secret: str) -> Response:
        if before := cookie(request, SESSION_COOKIE):
            self.access.end_session(sessions.token_digest(before))
        token = sessions.begin(self.store, name, self.access.accounts.mark(name))
        answer = RedirectResponse(_own_path(target), status_code=303)
        set_cookie(answer, request, SESSION_COOKIE, token, sessions.SESSION_DAYS * 86400)
        set_cookie(answer, request, DEVICE_COOKIE, remember_device(secret, cookie(request, DEVICE_COOKIE), name), DEVICE_DAYS * 86400)
        return answer

    def logout_page(self, request: Request) -> Response:
        if (found := self.access.session(request)) is None:
            return RedirectResponse("/login", status_code=303)
        return _page("Sign out · 退出登录", SIGN_OUT.format(name=html.escape(found["name"])))

    async def logout(self, request: Request) -> Response:
        """End the session on the server; all of the account's with `everywhere`."""
        everywhere = bool((await _form(request) or {}).get("everywhere"))
        answer = RedirectResponse("/login", status_code=303)
        if token := cookie(request, SESSION_COOKIE):
            await run_in_threadpool(self._end, request, token, everywhere)
            forget_cookie(answer, request, SESSION_COOKIE)
        return answer

    def _end(self, request: Request, token: str, everywhere: bool) -> None:
        found = self.access.session(request)
        if everywhere and found and found.get("account"):
            self.access.end_all_sessions(found["name"])
        self.access.end_session(sessions.token_digest(token))


def _sign_in_page(target: str, message: str = "", status: int = 200, wait: float = 0) -> Response:
    return _page("Sign in · 登录", SIGN_IN.format(next=html.escape(_own_path(target), quote=True)), message, status, wait)


def _page(title: str, body: str, message: str = "", status: int = 200, wait: float = 0) -> Response:
    shown = f'<p class="notice warn" role="alert">{html.escape(message)}</p>' if message else ""
    return HTMLResponse(PAGE.format(title=title, message=shown, body=body), status_code=status,
                        headers=HEADERS | ({"Retry-After": str(math.ceil(wait))} if wait else {}))


async def _form(request: Request):
    """The form that was sent; None when it is too long, or does not say how long it is."""
    length = request.headers.get("content-length", "")
    return await request.form(max_files=0, max_fields=5) if length.isdecimal() and int(length) <= MOST_BYTES else None



def _own_path(target: str) -> str:
    """A path on this site; anything that would lead elsewhere becomes the front page."""
    return target if target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable() else "/"
