"""Login, sessions and what each role may reach. Without `--auth` everything is open, as on a laptop; with it, the server refuses.

Refusal happens twice: `Guard` stands before every route, and the functions of tabs that are for researchers ask again when they are
called, because Gradio runs any function whose number is known, listed or not.
"""

from __future__ import annotations

import functools
import html
import inspect
import time
from collections.abc import Callable, Iterable
from urllib.parse import quote, urlsplit

import gradio as gr
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from gradio.context import LocalContext
from starlette.routing import BaseRoute, Match

from mre.study import visit
from mre.study.accounts import Accounts, may, read_invitation, read_session, sign_session

COOKIE = "mre_session"
SESSION_DAYS = 14
TRIES, TRY_SECONDS = 5, 60              # wrong passwords for one name, and how long it then rests
OPEN_PATHS = ("/login", "/logout", "/join", "/study", "/favicon.ico")     # /study asks by itself, call by call
OPEN_TABS = ("ui.edit_tab", "ui.study_tab")                             # all other tabs are for researchers
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sign in</title><link rel="stylesheet" href="/study/static/study.css"></head><body><main><section class="reading">
<h1>Sign in · 登录</h1>{message}
<form method="post" action="/login"><input type="hidden" name="next" value="{next}">
<p><label for="name">Name · 用户名</label><br><input id="name" name="name" autocomplete="username" required autofocus></p>
<p><label for="password">Password · 密码</label><br>
<input id="password" name="password" type="password" autocomplete="current-password" required></p>
<p><button type="submit" class="main">Sign in · 登录</button></p></form></section></main></body></html>"""
POLICY = "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'self'; base-uri 'none'"
PAGE_HEADERS = {"Content-Security-Policy": POLICY, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class Access:
    """Who is asking, and may they. `enabled` is False without an accounts file: then everybody may do everything."""

    def __init__(self, studio) -> None:
        self.studio = studio
        self.enabled = studio.settings.auth is not None
        self.accounts = Accounts(studio.settings.auth) if self.enabled else None
        self._failures: dict[str, list[float]] = {}
        self._for_researchers: list[BaseRoute] = []

    # --------------------------------------------------------------------------------------------------------- who it is

    def session(self, request: Request) -> dict | None:
        """The session that the request's cookie carries: `role`, and `name` of an account."""
        if not self.enabled:
            return {"role": "researcher", "name": "researcher"}
        found = read_session(self.studio.store.secret, request.cookies.get(COOKIE), SESSION_DAYS)
        if found is None:
            return None
        if "mark" in found:
            role = self.accounts.role(str(found.get("name")), str(found["mark"]))
            return {"role": role, "name": found["name"]} if role else None
        return {"role": "visitor", "name": "visitor"} if found.get("role") == "visitor" else None

    def role(self, request: Request | gr.Request | None) -> str | None:
        inner = getattr(request, "request", request)
        return (self.session(inner) or {}).get("role") if inner is not None else ("researcher" if not self.enabled else None)

    def name(self, request: Request | gr.Request | None) -> str:
        inner = getattr(request, "request", request)
        return (self.session(inner) or {}).get("name", "nobody") if inner is not None else "researcher"

    def annotator_identity(self, request: Request, study: str, invitation: object, outside: str | None) -> str | None:
        """What an annotator is known by, of those who may take part in `study`: an account, a personal invitation, or an `outside` id
        (None: nobody known). Raises visit.NotYours for those who may not."""
        session = self.session(request) if self.enabled else None
        if session and may(session["role"], "annotator"):
            return f"account/{session['name']}"
        found = read_invitation(self.studio.store.secret, invitation)
        if found and found.role == "annotator" and found.study == study and found.id:
            return f"invitation/{found.id}"
        if not self.enabled or (found and found.role == "annotator" and found.study == study):
            return outside
        raise visit.NotYours("Taking part needs an invitation link, or an account: sign in at /login.")

    # ------------------------------------------------------------------------------------------------------------ guards

    def protect(self, page: gr.Blocks, before: Iterable[int], tab) -> None:
        """Let the functions that a tab has added to the page run for researchers alone, unless the tab is open to visitors."""
        if not self.enabled or tab.__name__ in OPEN_TABS:
            return
        for number in set(page.fns) - set(before):
            if page.fns[number].fn is not None:
                page.fns[number].fn = self._checked(page.fns[number].fn)

    def protect_routes(self, routes: list[BaseRoute], tab) -> None:
        """Let routes that a tab has added answer researchers alone, unless the tab is open to visitors."""
        if tab.__name__ not in OPEN_TABS:
            self._for_researchers += routes

    def shows(self, tab, role: str | None) -> bool:
        return not self.enabled or may(role, "visitor" if tab.__name__ in OPEN_TABS else "researcher")

    def show_tabs(self, page: gr.Blocks, tabs: dict) -> None:
        """Show each visitor the tabs of their role once the page is there."""
        if self.enabled:
            def show(request: gr.Request) -> list:
                return [gr.update(visible=self.shows(tab, self.role(request))) for tab in tabs]
            page.load(show, None, list(tabs.values()), api_visibility="private", show_progress="hidden")

    @property
    def gradio_name(self) -> Callable[[Request], str | None] | None:
        """Gradio's own door: a name for those who may use the page, None for the others."""
        return (lambda request: self.name(request) if may(self.role(request), "visitor") else None) if self.enabled else None

    def _checked(self, function: Callable) -> Callable:
        """The function, refusing everybody but researchers when it is called."""
        def check() -> None:
            if self.role(LocalContext.request.get(None)) != "researcher":
                raise gr.Error("This is for researchers; please sign in with a researcher's account.", print_exception=False)

        if inspect.isasyncgenfunction(function):
            @functools.wraps(function)
            async def checked(*args, **kwargs):
                check()
                async for value in function(*args, **kwargs):
                    yield value
        elif inspect.iscoroutinefunction(function):
            @functools.wraps(function)
            async def checked(*args, **kwargs):
                check()
                return await function(*args, **kwargs)
        elif inspect.isgeneratorfunction(function):
            @functools.wraps(function)
            def checked(*args, **kwargs):
                check()
                yield from function(*args, **kwargs)
        else:
            @functools.wraps(function)
            def checked(*args, **kwargs):
                check()
                return function(*args, **kwargs)
        return checked

    def refusal(self, request: Request) -> Response | None:
        """The answer to a request that is not allowed, or None."""
        path = request.url.path
        if path in OPEN_PATHS or path.startswith("/study/"):
            return None
        role = self.role(request)
        needed = "researcher" if self._is_for_researchers(request) else "visitor"
        if may(role, needed):
            return None
        wants_page = request.method == "GET" and "text/html" in request.headers.get("accept", "")
        if role is None:
            if wants_page:
                return RedirectResponse(f"/login?next={quote(path)}", status_code=303)
            return JSONResponse({"error": "Please sign in."}, status_code=401)
        if wants_page and role == "annotator" and path == "/":
            return RedirectResponse("/study/", status_code=303)
        return JSONResponse({"error": f"This is not for {role}s."}, status_code=403)

    def _is_for_researchers(self, request: Request) -> bool:
        return any(route.matches(request.scope)[0] != Match.NONE for route in self._for_researchers)

    # ------------------------------------------------------------------------------------------------------------- login

    def add_routes(self, app: FastAPI) -> None:
        """Invitation links; and where there are accounts, login, logout and the guard before everything else."""
        @app.get("/join")
        def join(request: Request, invitation: str = "") -> Response:
            found = read_invitation(self.studio.store.secret, invitation)
            if found is None:
                return _page("/", "This invitation is not known or too old. · 邀请无效或已过期。", status=403)
            if found.role == "annotator":
                return RedirectResponse(f"/study/s/{quote(found.study)}?{request.url.query}", status_code=303)
            return self._signed_in("/", {"role": "visitor"}, request.url.scheme)

        if not self.enabled:
            return
        app.add_middleware(Guard, access=self)

        @app.get("/login")
        def login_page(next: str = "/") -> Response:
            return _page(next)

        @app.post("/login")
        async def login(request: Request) -> Response:
            form = await request.form(max_files=0, max_fields=5)
            return await run_in_threadpool(self._login, form, request.url.scheme)      # hashing takes its time

        @app.get("/logout")
        def logout() -> Response:
            answer = RedirectResponse("/login", status_code=303)
            answer.delete_cookie(COOKIE)
            return answer

    def _login(self, form, scheme: str) -> Response:
        name, password = str(form.get("name", ""))[:100], str(form.get("password", ""))[:1000]
        target = str(form.get("next", "/"))
        recent = [moment for moment in self._failures.get(name, []) if moment > time.monotonic() - TRY_SECONDS]
        if len(recent) >= TRIES:
            return _page(target, "Too many tries; please wait a minute. · 尝试次数过多，请稍候。", status=429)
        role = self.accounts.check(name, password)
        if role is None:
            if len(self._failures) > 10_000:
                self._failures.clear()
            self._failures[name] = [*recent, time.monotonic()]
            return _page(target, "Name or password is wrong. · 用户名或密码错误。", status=401)
        self._failures.pop(name, None)
        home = "/study/" if role == "annotator" and target == "/" else target
        return self._signed_in(home, {"name": name, "mark": self.accounts.mark(name)}, scheme)

    def _signed_in(self, target: str, payload: dict, scheme: str) -> Response:
        answer = RedirectResponse(_own_path(target), status_code=303)
        answer.set_cookie(COOKIE, sign_session(self.studio.store.secret, payload), max_age=SESSION_DAYS * 86400, httponly=True,
                          samesite="lax", secure=scheme == "https")
        return answer


class Guard:
    """Stands before the whole application and refuses what the role may not reach."""

    def __init__(self, app, access: Access) -> None:
        self.app, self.access = app, access

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 4403})
            return
        refused = self.access.refusal(Request(scope)) if scope["type"] == "http" else None
        await (refused or self.app)(scope, receive, send)


def _page(target: str, message: str = "", status: int = 200) -> Response:
    shown = f'<p class="notice warn" role="alert">{html.escape(message)}</p>' if message else ""
    page = PAGE.format(message=shown, next=html.escape(_own_path(target), quote=True))
    return HTMLResponse(page, status_code=status, headers=PAGE_HEADERS)


def _own_path(target: str) -> str:
    """A path on this site; anything that would lead elsewhere becomes the front page."""
    parts = urlsplit(target)
    plain = target.startswith("/") and not target.startswith(("//", "/\\")) and not parts.scheme and not parts.netloc
    return target if plain and target.isprintable() else "/"
