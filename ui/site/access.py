"""Login, sessions and what each role may reach. Without `--auth` everything is open, as on a laptop; with it, the server refuses.

Refusal happens twice: `Guard` stands before every route, and the page (`ui.site.door`) asks again before it calls a function of a tab
that is for researchers, because Gradio runs any function whose number is known, listed or not.
"""

from __future__ import annotations

import html
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, cast
from urllib.parse import quote

import gradio as gr
from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Match

from mre.errors import MreError
from mre.study import sessions, visit
from mre.study.accounts import Accounts, may, read_invitation
from ui.site.cookies import cookie
from ui.site.login import SESSION_COOKIE, Login
from ui.texts import add_texts, language_of, say

OPEN_PATHS = ("/login", "/logout", "/join", "/study", "/favicon.ico")     # /study asks by itself, call by call
FRESH_SECONDS = 5.0             # so soon, a session that another process has ended is over here too
MOST_FRESH = 10_000
SCOPE = "mre.session"           # where a request carries its session once the guard has looked
add_texts({"acc_signed_in": ("Signed in as {name}", "已登录：{name}"), "acc_sign_out": ("Sign out", "退出登录"),
           "acc_visitor": ("Invited visitor", "受邀访客")})


class Access:
    """Who is asking, and may they. `enabled` is False without an accounts file: then everybody may do everything."""

    def __init__(self, studio) -> None:
        self.studio = studio
        self.enabled = studio.settings.auth is not None
        self._accounts = Accounts(studio.settings.auth) if self.enabled else None
        self.login = Login(self)
        self._fresh: OrderedDict[str, tuple[float, sessions.Session | None]] = OrderedDict()
        self._ended = 0                         # how often sessions were ended here
        self._lock = threading.Lock()
        self._for_researchers: list[BaseRoute] = []

    # --------------------------------------------------------------------------------------------------------- who it is

    def session(self, request: Request) -> dict | None:
        """The session that the request's cookie belongs to: `role`, `name`, and, where it has one, `account` and the `digest` of its token.
        Reads the database unless the guard has done so for this request."""
        if not self.enabled:
            return {"role": "researcher", "name": "researcher"}
        if SCOPE not in request.scope:
            token = cookie(request, SESSION_COOKIE)
            request.scope[SCOPE] = self._described(self._find(sessions.token_digest(token))) if token else None
        return request.scope[SCOPE]

    async def look_up(self, request: Request) -> None:
        """Find the request's session, without holding up others meanwhile."""
        token = cookie(request, SESSION_COOKIE)
        if token and self._remembered(digest := sessions.token_digest(token)) is None:
            await run_in_threadpool(self._find, digest)
        self.session(request)

    def end_session(self, digest: str) -> None:
        """End a session, here and in the database."""
        sessions.end(self.studio.store, digest)
        self._forget()

    @property
    def accounts(self) -> Accounts:
        """Who may sign in, where anybody has to."""
        assert self._accounts is not None, "asked for where there are accounts"
        return self._accounts

    def end_all_sessions(self, account: str) -> None:
        sessions.end_all(self.studio.store, account)
        self._forget()

    def _described(self, found: sessions.Session | None) -> dict | None:
        if found is None:
            return None
        if found.account is None:
            return {"role": "visitor", "name": "visitor", "digest": found.digest}
        role = self.accounts.role(found.account, found.mark or "")
        return {"role": role, "name": found.account, "account": found.account, "digest": found.digest} if role else None

    def _find(self, digest: str) -> sessions.Session | None:
        """The session behind a digest, as the database had it at most `FRESH_SECONDS` ago."""
        if (known := self._remembered(digest)) is not None:
            return known[1]
        ended = self._ended
        found = sessions.find(self.studio.store, digest)
        with self._lock:
            if ended == self._ended:
                self._fresh[digest] = time.monotonic() + FRESH_SECONDS, found
                while len(self._fresh) > MOST_FRESH:
                    self._fresh.popitem(last=False)
        return found

    def _remembered(self, digest: str) -> tuple[float, sessions.Session | None] | None:
        known = self._fresh.get(digest)
        return known if known and known[0] > time.monotonic() else None

    def _forget(self) -> None:
        with self._lock:
            self._ended += 1
            self._fresh.clear()

    def role(self, request: Request | gr.Request | None) -> str | None:
        inner = cast(Request | None, getattr(request, "request", request))
        return (self.session(inner) or {}).get("role") if inner is not None else ("researcher" if not self.enabled else None)

    def name(self, request: Request | gr.Request | None) -> str:
        inner = cast(Request | None, getattr(request, "request", request))
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

    def tie_visit(self, request: Request, visit_token: str) -> None:
        """Let a visit to a study that somebody began by an account end with their session."""
        session = self.session(request)
        if self.enabled and session and session.get("account"):
            sessions.tie_visit(self.studio.store, visit_token, session["digest"])

    def visit_stands(self, visit_token: str) -> bool:
        """Whether a visit to a study goes on: one that began in a session is over when that is."""
        digest = sessions.session_of_visit(self.studio.store, visit_token) if self.enabled else None
        return digest is None or self._described(self._find(digest)) is not None

    # ------------------------------------------------------------------------------------------------------------ guards

    def protect_routes(self, routes: list[BaseRoute], role: str) -> None:
        """Let routes that a tab has added answer those who have its role, unless it is open to visitors."""
        if role != "visitor":
            self._for_researchers += routes

    def shows(self, needed: str, role: str | None) -> bool:
        """Whether a tab that needs a role is shown to somebody who has `role`."""
        return not self.enabled or may(role, needed)

    def show_tabs(self, page: gr.Blocks, tabs: dict[gr.Tab, str]) -> Any:
        """Show each visitor the tabs of their role once the page is there. `tabs`: the role that each needs. Returns the event that does
        so, None where all are shown to everybody."""
        if self.enabled:
            def show(request: gr.Request) -> list:
                return [gr.update(visible=self.shows(needed, self.role(request))) for needed in tabs.values()]
            return page.load(show, None, list(tabs), api_visibility="private", show_progress="hidden")
        return None

    def show_account(self, page: gr.Blocks) -> None:
        """Say in the masthead who is signed in, with the way out."""
        if self.enabled:
            def show(request: gr.Request) -> str:
                asking = request.request
                assert asking is not None, "a page asks"
                session, language = self.session(asking) or {}, language_of(request)
                name = say("acc_signed_in", language, name=session["name"]) if session.get("account") else say("acc_visitor", language)
                return f'<span>{html.escape(name)}</span> <a href="/logout" target="_self">{say("acc_sign_out", language)}</a>'
            page.load(show, None, gr.HTML(elem_classes="account"), api_visibility="private", show_progress="hidden")

    @property
    def gradio_name(self) -> Callable[[Request], str | None] | None:
        """Gradio's own door: a name for those who may use the page, None for the others."""
        return (lambda request: self.name(request) if may(self.role(request), "visitor") else None) if self.enabled else None

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
                asked = f"{path}?{request.url.query}" if request.url.query else path           # a link to a tab or a form leads there
                return RedirectResponse(f"/login?next={quote(asked)}", status_code=303)
            return JSONResponse({"error": "Please sign in."}, status_code=401)
        if wants_page and role == "annotator" and path == "/":
            return RedirectResponse("/study/", status_code=303)
        return JSONResponse({"error": f"This is not for {role}s."}, status_code=403)

    def _is_for_researchers(self, request: Request) -> bool:
        return any(route.matches(request.scope)[0] != Match.NONE for route in self._for_researchers)

    # ------------------------------------------------------------------------------------------------------------ routes

    def add_routes(self, app: FastAPI) -> None:
        """Invitation links; and where there are accounts, login, logout and the guard before everything else."""
        @app.exception_handler(MreError)
        def told(_request: Request, error: MreError) -> Response:
            return JSONResponse({"error": self.studio.trouble(error)}, status_code=503)

        self.login.add_routes(app)
        if self.enabled:
            app.add_middleware(Guard, access=self)


class Guard:
    """Stands before the whole application and refuses what the role may not reach."""

    def __init__(self, app, access: Access) -> None:
        self.app, self.access = app, access

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 4403})
            return
        refused = await self._refusal(Request(scope)) if scope["type"] == "http" else None
        await (refused or self.app)(scope, receive, send)

    async def _refusal(self, request: Request) -> Response | None:
        try:
            await self.access.look_up(request)
            return self.access.refusal(request)
        except MreError as error:
            return JSONResponse({"error": self.access.studio.trouble(error)}, status_code=503)
