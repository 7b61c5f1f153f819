"""Routes of the annotator's pages. They translate: JSON to calls of `mre.study.visit`, its errors to status codes."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import JSONResponse, Response

from mre.errors import SettingsError, StudyError
from mre.study import records, recruiting, visit
from mre.study.answers import Answer, Draft
from mre.study.store import StoreUnavailable, UnstorableText
from mre.study.visit import Annotator
from mre.text import fault_of_values
from ui.site.cookies import cookie, forget_cookie, set_cookie
from ui.site.login_limits import Tries, address_of

if TYPE_CHECKING:
    from mre.study.records import Study

STATIC = Path(__file__).parent / "static"
TYPES = {".html": "text/html; charset=utf-8", ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8",
         ".svg": "image/svg+xml"}
POLICY = ("default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; base-uri 'none'; "
          "form-action 'none'")
HEADERS = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
           "Cache-Control": "no-store"}
MAX_BODY = 300_000
THEME_COOKIE, THEMES = "mre_theme", ("light", "dark")       # as assets/first/preferences.js writes it
VISIT_SECONDS = 60 * 24 * 3600
TOLD_RULES = ("rules_after", "max_skip_share", "max_failed_checks", "min_median_seconds", "completion_share", "keep_recruiting_id")


class TooManyTries(StudyError):
    """Too many unknown codes from one address lately."""


STATUS = ((StoreUnavailable, 503, "busy"), (SettingsError, 503, "busy"), (UnstorableText, 400, "bad_call"),
          (TooManyTries, 429, "too_many"), (visit.NotYours, 403, "not_yours"), (visit.AlreadyAnswered, 409, "already_answered"),
          (visit.BadAnswer, 422, "bad_answer"), (StudyError, 409, "not_now"))
log = logging.getLogger("mre.study")


def add_routes(app: FastAPI, studio) -> None:
    """Mount the annotator's pages under /study."""
    pages = StudyPages(studio)

    @app.get("/study")
    @app.get("/study/")
    @app.get("/study/s/{public_id}")
    def page(request: Request, public_id: str = "") -> Response:
        return _static("study.html", theme=request.cookies.get(THEME_COOKIE))

    @app.get("/study/static/{name}")
    def static(name: str) -> Response:
        return _static(name)

    @app.get("/study/p/{public_id}/{token}")
    def picture(public_id: str, token: str, request: Request) -> Response:
        return pages.picture(request, public_id, token)

    @app.post("/study/api/{action}")
    async def api(action: str, request: Request) -> Response:
        return await pages.call(action, request)


class StudyPages:
    """Answers the annotator's browser."""

    def __init__(self, studio) -> None:
        self.studio = studio
        self.tries = Tries()
        self.actions: dict[str, Callable[[Request, dict], dict | Response]] = {
            "hello": self._hello, "enter": self._enter, "code": self._code, "language": self._language, "work": self._work,
            "submit": self._submit, "draft": self._draft, "earlier": self._earlier, "leave": self._leave, "withdraw": self._withdraw}

    @property
    def store(self):
        return self.studio.store

    async def call(self, action: str, request: Request) -> Response:
        """One call of the page's script. It carries a header that other sites' forms cannot send."""
        if action not in self.actions:
            return _refusal(404, "not_found", "There is no such call.")
        if request.headers.get("x-study") != "1" or "application/json" not in request.headers.get("content-type", ""):
            return _refusal(400, "bad_call", "Calls are JSON with the header X-Study: 1.")
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > MAX_BODY:
                return _refusal(413, "too_long", f"This is too long: at most {MAX_BODY // 1000} kB can be sent at once.")
        try:
            given = json.loads(body or b"{}")
        except (ValueError, RecursionError):
            given = None
        if not isinstance(given, dict):
            return _refusal(400, "bad_call", "The body must be a JSON object.")
        if fault := fault_of_values({name: value for name, value in given.items() if name != "comment"}):     # comments are cleaned
            return _refusal(400, "bad_call", f"Text that holds {fault} cannot be stored.")
        return await run_in_threadpool(self._answered, action, request, given)

    def _answered(self, action: str, request: Request, given: dict) -> Response:
        try:
            result = self.actions[action](request, given)
        except (StudyError, SettingsError) as error:
            status, code = next((status, code) for kind, status, code in STATUS if isinstance(error, kind))
            if status == 503:
                log.warning("%s: %s", action, error)
                return _refusal(503, code, "The study cannot save just now. Your scores stay on this page and are sent again.")
            return _refusal(status, code, str(error))
        return result if isinstance(result, Response) else _json(result)

    # ------------------------------------------------------------------------------------------------------- who is there

    def _visitor(self, request: Request, public_id: object) -> Annotator | None:
        token = cookie(request, _cookie(public_id)) or request.cookies.get(_cookie(public_id))      # as former versions named it
        found = visit.visitor(self.store, token)
        if found is None or found.study.public_id != public_id or found.withdrawn:
            return None
        access = getattr(self.studio, "access", None)
        return found if access is None or access.visit_stands(token) else None

    def _known(self, request: Request, given: dict) -> Annotator:
        found = self._visitor(request, given.get("study"))
        if found is None:
            raise visit.NotYours("Your visit has ended here. Please open your link to the study again.")
        return found

    def _identity(self, request: Request, given: dict) -> str | None:
        """What the annotator is known by from outside: an account, an invitation or a recruiting service's id; None: nobody known.

        Raises NotYours where this studio lets in only people with an account or an invitation.
        """
        access = getattr(self.studio, "access", None)
        outside = recruiting.identity(_ids(given))
        if access is None:
            return outside
        return access.annotator_identity(request, str(given.get("study")), given.get("invitation"), outside)

    def _hello(self, request: Request, given: dict) -> dict:
        """What the first page needs: the study's title and state and whether the visitor is known; without a study, those that run."""
        public_id = given.get("study")
        if not public_id:
            self._identity(request, given)
            running = [study for study in records.all_studies(self.store) if study.state == "running" and not study.simulated]
            return {"studies": [{"study": study.public_id, "title": study.design.title} for study in running]}
        study = next((study for study in records.all_studies(self.store) if study.public_id == public_id), None)
        if study is None or study.state == "draft" or study.simulated:
            raise visit.NotYours("There is no study behind this link.")
        known = self._visitor(request, public_id)
        if known is None:
            self._identity(request, given)
        return {"study": _for_annotators(study), "state": study.state, "me": _me(known)}

    def _enter(self, request: Request, given: dict) -> Response:
        """Begin a visit: by personal code, or with consent given on the page."""
        if given.get("code"):
            tried = ("personal code", address_of(request))
            if self.tries.take(tried):
                raise TooManyTries("Too many tries; please wait a minute.")
            token, annotator = visit.enter_by_code(self.store, str(given["code"])[:40])
            self.tries.take_back(tried)
        else:
            if given.get("consent") is not True:
                raise visit.NotYours("Please read and accept the consent text first.")
            identity = self._identity(request, given)
            token, annotator = visit.enter(self.store, str(given.get("study")), str(given.get("language")), identity,
                                           recruiting.given_ids(_ids(given)))
            visit.consent(self.store, annotator)
            annotator = visit.visitor(self.store, token)
            assert annotator is not None, "has just entered"
            if access := getattr(self.studio, "access", None):
                access.tie_visit(request, token)
        answer = _json({"study": _for_annotators(annotator.study), "state": annotator.study.state, "me": _me(annotator)})
        set_cookie(answer, request, _cookie(annotator.study.public_id), token, VISIT_SECONDS)
        return answer

    def _code(self, request: Request, given: dict) -> dict:
        return {"code": visit.personal_code(self.store, self._known(request, given))}

    def _language(self, request: Request, given: dict) -> dict:
        visit.set_language(self.store, self._known(request, given), str(given.get("language")))
        return {}

    # ------------------------------------------------------------------------------------------------------------ screens

    def _work(self, request: Request, given: dict) -> dict:
        return visit.work(self.store, self._known(request, given))

    def _submit(self, request: Request, given: dict) -> dict:
        annotator = self._known(request, given)
        fields: dict[str, Any] = {"key": given.get("key"), "revision": given.get("revision"), "scores": given.get("scores") or (),
                                  "skip_reason": given.get("skip_reason"), "comment": given.get("comment", ""),
                                  "active_ms": given.get("active_ms"), "viewport": given.get("viewport", "")}
        return visit.answer(self.store, annotator, _text(given, "screen"), Answer(**fields))

    def _draft(self, request: Request, given: dict) -> dict:
        annotator = self._known(request, given)
        fields: dict[str, Any] = {"scores": given.get("scores"), "comment": given.get("comment", ""),
                                  "skip_reason": given.get("skip_reason")}
        visit.save_draft(self.store, annotator, _text(given, "screen"), Draft(**fields), _whole(given, "revision"))
        return {}

    def _earlier(self, request: Request, given: dict) -> dict:
        before = _text(given, "before") if given.get("before") is not None else None
        return {"screen": visit.earlier(self.store, self._known(request, given), before)}

    def _leave(self, request: Request, given: dict) -> dict:
        visit.leave(self.store, self._known(request, given))
        return {}

    def _withdraw(self, request: Request, given: dict) -> Response:
        annotator = self._known(request, given)
        visit.withdraw(self.store, annotator)
        answer = _json({})
        forget_cookie(answer, request, _cookie(annotator.study.public_id))
        answer.delete_cookie(_cookie(annotator.study.public_id), path="/study")         # as former versions set it
        return answer

    def picture(self, request: Request, public_id: str, token: str) -> Response:
        """One picture: the same headers for all, and nothing that could be compared with a file elsewhere."""
        try:
            annotator = self._visitor(request, public_id)
            if annotator is None:
                raise visit.NotYours("This picture is not yours, or no longer shown.")
            png = visit.picture(self.store, annotator, token)
        except StoreUnavailable:
            return _refusal(503, "busy", "The study is busy; please try again.")
        except StudyError as error:
            return _refusal(403, "not_yours", str(error))
        return Response(png, media_type="image/png", headers=HEADERS)


# ---------------------------------------------------------------------------------------------------------------- replies

def _for_annotators(study: Study) -> dict:
    """What an annotator may know of a study: neither its name nor its design."""
    design = study.design
    return {"id": study.public_id, "title": design.title, "languages": list(design.languages), "consent": design.consent,
            "instructions": design.instructions, "min_seconds": design.min_seconds, "allow_flip": design.allow_flip,
            "allow_phone": design.allow_phone,
            "break_every": design.break_every, "rules": {name: getattr(design, name) for name in TOLD_RULES}}


def _me(annotator: Annotator | None) -> dict | None:
    return None if annotator is None else {"label": annotator.label, "language": annotator.language, "consented": annotator.consented}


def _cookie(public_id: object) -> str:
    return f"visit-{public_id}"


def _ids(given: dict) -> dict:
    """The parameters of the study's address by which recruiting services name their people."""
    return given["ids"] if isinstance(given.get("ids"), dict) else {}


def _text(given: dict, name: str) -> str:
    value = given.get(name)
    if not isinstance(value, str) or len(value) > 100:
        raise visit.BadAnswer(f"{name} must be a short text")
    return value


def _whole(given: dict, name: str) -> int:
    value = given.get(name, 0)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
        raise visit.BadAnswer(f"{name} must be a whole number from 0")
    return value


def _json(content: dict) -> Response:
    return JSONResponse(content, headers=HEADERS)


def _refusal(status: int, code: str, message: str) -> Response:
    return JSONResponse({"error": message, "code": code}, status_code=status, headers=HEADERS)


def _static(name: str, theme: str | None = None) -> Response:
    """A file of the pages; `theme`: the one that the studio's switch was set to, which else the browser chooses."""
    path = STATIC / name
    if path.suffix not in TYPES or path.parent != STATIC or not path.is_file():
        return _refusal(404, "not_found", "There is no such page.")
    data = path.read_bytes()
    if theme in THEMES:
        data = data.replace(b"<html ", f'<html data-theme="{theme}" '.encode(), 1)
    return Response(data, media_type=TYPES[path.suffix], headers=HEADERS)
