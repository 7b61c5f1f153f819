"""The reward server's web application: GET /health, GET /rewards, POST /compute (Flow-Factory), POST /score (UniRL)."""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Callable, Sequence
from typing import Any

from anyio import CapacityLimiter
from anyio.to_thread import run_sync
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from mre.errors import MreError
from mre.judge.verdicts import Ask, Verdicts
from mre.reward_server.contracts import BadRequest, flow_factory_asks, unirl_requests
from mre.reward_server.numbers import OVERALL, numbers_of, reward_names, reward_of
from mre.reward_server.scorer import Busy, Scorer, TooMany

MAX_BODY = 64_000_000           # bytes of one request
MAX_BODIES = 512_000_000        # of all that are being read or decoded
DECODING = 4                    # requests at a time
LOCAL_HOSTS = ("localhost", "127.0.0.1", "[::1]")


def reward_app(scorer: Scorer, overall: str = "geometric", key: str | None = None, hosts: Sequence[str] | None = LOCAL_HOSTS) -> ASGIApp:
    """The application. `key`: what requests must bring as `Authorization: Bearer KEY`; `hosts`: names that it answers to, None: any."""
    names = reward_names(scorer.judge.perspectives)
    about = {"judge": scorer.judge.name, "judge_version": scorer.judge.version, "range": [0, 1]}
    decoding = CapacityLimiter(DECODING)

    async def health(_request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok", "rewards": {name: ["ready"] for name in names}, **about, "waiting": scorer.waiting,
                             "scored": scorer.scored, "failed": scorer.failed, "batches": scorer.batches})

    async def rewards(_request: Request) -> JSONResponse:
        return JSONResponse({"rewards": names, **about})

    async def compute(request: Request) -> JSONResponse:
        asks = await _parsed(request, flow_factory_asks, decoding)
        found = [numbers_of(verdicts, overall) for verdicts in await _scored(scorer, asks)]
        return JSONResponse({"rewards": [numbers[OVERALL] for numbers in found], "scores": found, **about})

    async def score(request: Request) -> JSONResponse:
        requests = await _parsed(request, lambda body: unirl_requests(body, names), decoding)
        asks = [one.ask for one in requests if one.ask is not None]
        verdicts = iter(await _scored(scorer, asks) if asks else [])
        results: list[dict[str, dict[str, float]]] = []
        errors: list[dict[str, str]] = []
        for one in requests:
            fault, numbers = one.fault, {}
            try:
                numbers = numbers_of(next(verdicts), overall) if one.ask else {}
            except MreError as error:
                fault = str(error)
            results.append({} if fault else {name: reward_of(numbers, name) for name in one.names})
            errors.append(dict.fromkeys(one.names, fault) if fault else {})
        return JSONResponse({"results": results, "errors": errors, **about})

    middleware = [Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts))] if hosts else []
    app = Starlette(routes=[Route("/health", health), Route("/rewards", rewards), Route("/compute", compute, methods=["POST"]),
                            Route("/score", score, methods=["POST"])],
                    middleware=[*middleware, Middleware(Gate, key=key)],
                    exception_handlers={BadRequest: _refused(422), TooMany: _refused(422), Busy: _refused(503), MreError: _refused(502)})
    return app


async def _parsed(request: Request, read: Callable[[Any], Any], limiter: CapacityLimiter) -> Any:
    """The body as the contract reads it, parsed and decoded beside the event loop."""
    body = await request.body()

    def work() -> Any:
        try:
            value = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise BadRequest("the body is not JSON") from error
        return read(value)

    return await run_sync(work, limiter=limiter)


async def _scored(scorer: Scorer, asks: Sequence[Ask]) -> list[Verdicts]:
    return await asyncio.wrap_future(scorer.submit(asks))


def _refused(status: int) -> Callable[[Request, Exception], JSONResponse]:
    def answer(_request: Request, error: Exception) -> JSONResponse:
        return JSONResponse({"detail": str(error)}, status, {"Retry-After": "1"} if status == 503 else None)

    return answer


class Gate:
    """Refuses before a byte of a body is read: without the key, too large, no JSON, or with too many bytes of others in work."""

    def __init__(self, app: ASGIApp, key: str | None = None, most: int = MAX_BODY, together: int = MAX_BODIES) -> None:
        self.app, self.key, self.most, self.together = app, key, most, together
        self.held = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = {name.lower(): value for name, value in scope["headers"]}
        length = headers.get(b"content-length", b"")
        size = int(length) if length.isdigit() else self.most if scope["method"] == "POST" else 0
        if refusal := self._refusal(scope["method"], headers, size):
            status, detail = refusal
            extra = {"Connection": "close"} | ({"Retry-After": "1"} if status == 503 else {})
            await JSONResponse({"detail": detail}, status, extra)(scope, receive, send)
            return
        self.held += size
        try:
            await self.app(scope, self._bounded(receive), send)
        finally:
            self.held -= size

    def _refusal(self, method: str, headers: dict[bytes, bytes], size: int) -> tuple[int, str] | None:
        if self.key is not None and not hmac.compare_digest(headers.get(b"authorization", b""), b"Bearer " + self.key.encode()):
            return 401, "this server wants Authorization: Bearer KEY"
        if size > self.most:
            return 413, f"a body may have at most {self.most:,} bytes"
        if method == "POST" and headers.get(b"content-type", b"").split(b";")[0].strip().lower() != b"application/json":
            return 415, "the body must be application/json"
        if self.held + size > self.together:
            return 503, "too many requests are being read; try again"
        return None

    def _bounded(self, receive: Receive) -> Receive:
        """A body that is longer than it said, or says nothing of its length, ends at the limit."""
        read = 0

        async def bounded() -> Any:
            nonlocal read
            message = await receive()
            read += len(message.get("body", b""))
            if read > self.most:
                raise BadRequest(f"a body may have at most {self.most:,} bytes")
            return message

        return bounded
