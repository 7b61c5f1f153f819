"""OpenAI's images API, which vLLM-Omni and others speak too: an edit is one request, POST ADDRESS/images/edits.

What comes back is untrusted: so many bytes and no more, a picture and nothing that leads elsewhere.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import time
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from PIL import Image

from mre.errors import EditRefused, EditStopped, ImageError, ModelError, PerhapsPaid, ServiceError
from mre.imaging import open_image
from mre.paid.connection import LONGEST_WAIT, Endpoint, TryAgain, Unanswered, meaning_of

if TYPE_CHECKING:
    from mre.editors.images_price import Charge
    from mre.paid.budget import Budget
    from mre.paid.cache import AnswerCache

PATH = "/images/edits"
MAX_ANSWER_BYTES = 60_000_000       # base64 of the largest picture that is read, and a little
ATTEMPTS = 4                        # of one edit, for throttling, server errors and lost connections
SECONDS = 300.0                     # for one attempt; a large edit takes two minutes of these servers
LOOK = 0.1                          # seconds between two looks at whether to stop
_REFUSALS = ("content_policy_violation", "moderation_blocked")


@dataclass(frozen=True)
class Edited:
    """A picture that was made, as the file that came, and what the server says was used for it."""

    image: Image.Image
    file: bytes
    input_tokens: int
    output_tokens: int
    seconds: float


@dataclass(frozen=True)
class Request:
    """One edit, as it is sent. `key` names it, so that a server that knows such keys does not make it twice."""

    model: str
    fields: Mapping[str, str]
    files: Mapping[str, tuple[str, bytes, str]]         # field -> name, bytes, type
    key: str


class Unheard(PerhapsPaid):
    """One that went out now, not in a run before."""


@dataclass(frozen=True)
class Terms:
    """On which a server is asked: what it costs, how much of that there may be, and whether it may be twice."""

    budget: Budget
    charge: Charge
    under_way: AnswerCache | None = None        # where requests are noted while they are under way
    may_repeat: bool = False                    # send again what was perhaps paid: by someone's wish, or because it costs nothing more


def ask(endpoint: Endpoint, request: Request, terms: Terms, should_stop: Callable[[], bool]) -> Edited:
    """Send the request until it is answered. Raises EditRefused where this edit will not be made, PerhapsPaid where a request went out,
    now or in a run before, and nobody knows what became of it, ModelError where asking on is useless, EditStopped."""
    before = terms.under_way.asked_at(request.key) if terms.under_way is not None else None
    if before is not None and not terms.may_repeat:
        raise PerhapsPaid(f"perhaps paid: {endpoint.host} was asked for this edit at {before}, and no answer was kept; --ask-again asks "
                          "again")
    return asyncio.run(_watched(_until_answered(endpoint, request, terms), should_stop))


async def _watched(work: Coroutine[Any, Any, Edited], should_stop: Callable[[], bool]) -> Edited:
    task = asyncio.ensure_future(work)              # asyncio.run cancels it when this ends before
    while not task.done():
        if should_stop():
            raise EditStopped("stopped; the server may finish the edit and charge for it")
        await asyncio.wait({task}, timeout=LOOK)
    return task.result()


async def _until_answered(endpoint: Endpoint, request: Request, terms: Terms) -> Edited:
    budget, charge, noted = terms.budget, terms.charge, terms.under_way
    async with endpoint.http_client(SECONDS, 1) as client:
        attempts, before = 0, ""
        while True:
            if (ticket := budget.reserve(*charge.most)) is None:
                raise ModelError(f"{before}{budget.reason()}; run the same command again to go on")
            used = charge.most                  # until the server has said what became of it
            if noted is not None:
                noted.begin(request.key)
            try:
                edited = await asyncio.wait_for(_once(client, endpoint, request), SECONDS)
                used = charge.used(edited)
                return edited
            except Exception as error:
                attempts += 1
                trouble = _meaning(error, endpoint, request.model)
                if not (isinstance(trouble, TryAgain) and trouble.perhaps_paid):
                    used = (0, 0)
                    if noted is not None:
                        noted.came_to_nothing(request.key)
                elif not terms.may_repeat:
                    then = "--ask-again asks again" if noted is not None else "edit again to ask again"
                    raise Unheard(f"perhaps paid: no answer from {endpoint.host}, which was sent the edit: {trouble}; {then}") from error
                if not isinstance(trouble, TryAgain):
                    raise trouble from error
                if attempts >= ATTEMPTS or (trouble.wait or 0) > LONGEST_WAIT:
                    tries = f"{attempts} attempt{'s' if attempts > 1 else ''}"
                    raise ModelError(f"no answer from {endpoint.host} after {tries}: {trouble}") from error
                before = f"no answer from {endpoint.host}: {trouble}; "
            finally:
                budget.settle(ticket, *used)
            await asyncio.sleep(trouble.pause(attempts))


def _meaning(error: Exception, endpoint: Endpoint, model: str) -> Exception:
    """TryAgain, EditRefused, ModelError, or a fault of the code itself as it is."""
    if isinstance(error, asyncio.TimeoutError | TimeoutError):
        return TryAgain(f"timed out after {SECONDS:g} s", perhaps_paid=True)
    meaning = error if isinstance(error, TryAgain | Unanswered) else meaning_of(error, endpoint, model)
    if isinstance(meaning, Unanswered):
        return EditRefused(f"{endpoint.host} {meaning}")
    return ModelError(str(meaning)) if isinstance(meaning, ServiceError) else meaning


async def _once(client: Any, endpoint: Endpoint, request: Request) -> Edited:
    """One attempt. Raises errors of openai, as its client would, and Unanswered."""
    import httpx2
    import openai

    headers = {"Authorization": f"Bearer {endpoint.api_key}", "Idempotency-Key": request.key[:48], "Accept-Encoding": "identity"}
    started = time.perf_counter()
    try:
        async with client.stream("POST", endpoint.base_url + PATH, data=dict(request.fields), files=dict(request.files), headers=headers,
                                 follow_redirects=False) as response:
            body = await _bounded(response)
    except httpx2.TimeoutException as error:
        raise openai.APITimeoutError(request=error.request) from error
    except httpx2.TransportError as error:
        raise openai.APIConnectionError(request=error.request) from error
    if 300 <= response.status_code < 400:
        raise Unanswered("answered with another address; nothing is sent or fetched elsewhere")
    if response.status_code >= 400:
        said = _json(body)
        told = said.get("error", said) if isinstance(said, dict) else said
        plain = told.get("detail") if isinstance(told, dict) else told
        raise openai.APIStatusError(str(plain or body[:300].decode("utf-8", "replace")), response=response, body=told)
    return _edited(body, endpoint, time.perf_counter() - started)


async def _bounded(response: Any) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > MAX_ANSWER_BYTES:
            raise Unanswered(f"answered with more than {MAX_ANSWER_BYTES / 1e6:.0f} MB")
    return bytes(body)


def _json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _edited(body: bytes, endpoint: Endpoint, seconds: float) -> Edited:
    """The picture in an answer of status 200. Raises Unanswered for an answer without one, TryAgain for what is no answer."""
    answer = _json(body)
    if not isinstance(answer, dict):
        raise TryAgain("malformed response: no JSON object")
    if error := answer.get("error"):
        code, said = (error.get("code"), error.get("message")) if isinstance(error, dict) else (None, error)
        verb = "refused the edit" if code in _REFUSALS else "answered with an error"
        raise Unanswered(f"{verb}: {endpoint.clean(' '.join(str(said or code or error).split()))[:300]}")
    data = answer.get("data")
    first = data[0] if isinstance(data, list) and data else None
    if not isinstance(first, dict):
        raise Unanswered("answered without a picture")
    encoded, address = first.get("b64_json"), first.get("url")
    if not encoded and isinstance(address, str):
        if not address.startswith("data:"):
            raise Unanswered("answered with an address in place of a picture; nothing is fetched from elsewhere")
        encoded = address.partition(",")[2]
    if not isinstance(encoded, str) or not encoded:
        raise Unanswered("answered without a picture")
    try:
        file = base64.b64decode(encoded, validate=True)
        image = open_image(file, name="the picture")
    except (binascii.Error, ValueError) as error:
        raise Unanswered("answered with what is no picture: not base64") from error
    except ImageError as error:
        raise Unanswered(f"answered with what is no picture: {error}") from error
    return Edited(image, file, *_tokens(answer.get("usage")), seconds)


def _tokens(usage: Any) -> tuple[int, int]:
    def count(name: str) -> int:
        value = usage.get(name) if isinstance(usage, dict) else 0
        return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**40 else 0
    return count("input_tokens"), count("output_tokens")
