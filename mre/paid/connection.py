"""Where a judge or an editor on a server is reached and with which key: addresses, keys that show nowhere, the client, and what its errors
mean."""

from __future__ import annotations

import email.utils
import os
import random
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, urlsplit

from mre.errors import ServiceError, SettingsError

OPENAI_URL = "https://api.openai.com/v1"
GAVE_UP_WAITING = (504, 524)    # what a gateway says while the server behind it may still be at work
LONGEST_WAIT = 600.0            # seconds; a server that says to wait longer has said no
_NEVER_MIND = "[key]"


class Fatal(ServiceError):
    """Asking on is useless: a wrong key, an unknown model, no money."""


class TryAgain(Exception):
    """One request failed in a way that may pass; `wait` is what the server asked for, in seconds. `perhaps_paid`: it went out, and nobody
    said what became of it."""

    def __init__(self, reason: str, wait: float | None = None, is_throttled: bool = False, perhaps_paid: bool = False) -> None:
        super().__init__(reason)
        self.wait, self.is_throttled, self.perhaps_paid = wait, is_throttled, perhaps_paid

    def pause(self, attempts: int) -> float:
        """Seconds until the next attempt, after so many: as long as the server asked, or about twice as long each time."""
        return self.wait if self.wait is not None else min(60.0, 2.0 ** (attempts - 1)) * random.uniform(0.5, 1.0)


class Unanswered(Exception):
    """The server refuses this one question (its content, for example) and takes others."""


@dataclass(frozen=True)
class Endpoint:
    """An OpenAI-compatible address with its key. The key is in no repr, and `clean` takes it out of any text."""

    base_url: str = OPENAI_URL
    api_key: str = field(default="", repr=False)
    azure_api_version: str | None = None

    @property
    def host(self) -> str:
        return urlsplit(self.base_url).netloc

    @property
    def is_own_server(self) -> bool:
        return self.base_url.rstrip("/") != OPENAI_URL

    def clean(self, text: str) -> str:
        """`text` without the key, should a server repeat it: whole, or with its middle starred out."""
        if not self.api_key:
            return text
        text = text.replace(self.api_key, _NEVER_MIND)
        if len(self.api_key) >= 12:
            head, tail = re.escape(self.api_key[:4]), re.escape(self.api_key[-4:])
            text = re.sub(rf"{head}[^\s'\"]*\*[^\s'\"]*{tail}", _NEVER_MIND, text)
        return text

    def chat_path(self, model: str) -> str:
        """Where chat completions of a model are asked for, behind the client's address."""
        return "/chat/completions" if self.azure_api_version is None else f"/deployments/{quote(model, safe='')}/chat/completions"

    def http_client(self, timeout: float, connections: int):
        """An asynchronous HTTP client with room for that many connections; it carries no key."""
        import httpx2
        import openai

        return openai.DefaultAsyncHttpxClient(
            timeout=httpx2.Timeout(timeout, connect=min(timeout, 15.0)),
            limits=httpx2.Limits(max_connections=connections + 2, max_keepalive_connections=connections + 2))

    def client(self, timeout: float, connections: int):
        """An asynchronous client of the openai package with room for that many connections. Retrying is ours to do."""
        import openai

        http_client = self.http_client(timeout, connections)
        if self.azure_api_version is not None:
            return openai.AsyncAzureOpenAI(azure_endpoint=self.base_url, api_key=self.api_key, api_version=self.azure_api_version,
                                           max_retries=0, http_client=http_client)
        return openai.AsyncOpenAI(base_url=self.base_url, api_key=self.api_key, max_retries=0, http_client=http_client)


def find_endpoint(base_url: str | None = None, key_file: str | Path | None = None, azure: bool = False,
                  api_version: str | None = None, who: str = "the judge", address: str = "--base-url") -> Endpoint:
    """The address from the flag or the environment, the key from a file or the environment; a key is never a flag.

    who, address: what messages call whoever asks, and the place where an address is given.

    OPENAI_API_KEY, OPENAI_BASE_URL; for Azure AZURE_OPENAI_API_KEY, AZURE_OPENAI_ENDPOINT, OPENAI_API_VERSION.
    A server of one's own needs no key. Raises ServiceError when a key is needed and there is none.
    """
    url_name, key_name = ("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY") if azure else ("OPENAI_BASE_URL", "OPENAI_API_KEY")
    url = base_url or os.environ.get(url_name) or (None if azure else OPENAI_URL)
    if url is None:
        raise ServiceError("the judge on Azure needs its address: set AZURE_OPENAI_ENDPOINT or give --base-url")
    try:
        parts = urlsplit(url)
        _ = parts.port                      # raises for one that is none
    except ValueError:
        raise SettingsError(f"{address} must be an http or https address with a host, and a port is a number") from None     # not repeated
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError(f"{address} must be an http or https address with a host, got {parts.scheme}://{parts.hostname or ''}")
    if parts.username or parts.password or parts.query:
        raise SettingsError(f"{address} must not carry a user, password or query: keys go into the environment or a file")
    try:
        key = Path(key_file).read_text(encoding="utf-8").strip() if key_file else os.environ.get(key_name, "").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ServiceError(f"key file {key_file}: cannot be read ({type(error).__name__})") from error
    if any(ord(character) <= 32 or ord(character) > 126 for character in key):
        raise ServiceError("the key holds blanks or characters that no key has")
    is_own_server = url.rstrip("/") != OPENAI_URL
    if not key and (azure or not is_own_server):
        raise ServiceError(f"no key for {who}: set {key_name}, or give --key-file FILE; for a server of your own, {address}")
    if not azure:
        return Endpoint(url.rstrip("/"), key or "none")
    version = api_version or os.environ.get("OPENAI_API_VERSION")
    if not version:
        raise ServiceError("the judge on Azure needs OPENAI_API_VERSION or --api-version, such as 2024-10-21")
    return Endpoint(url.rstrip("/"), key, version)


def meaning_of(error: Exception, endpoint: Endpoint, model: str) -> Exception:
    """What to do about a client's error: Fatal, TryAgain or Unanswered. A fault in the code itself comes back as it is."""
    import httpx2
    import openai

    went_out = not isinstance(error.__cause__, httpx2.ConnectError | httpx2.ConnectTimeout | httpx2.PoolTimeout)
    if isinstance(error, openai.APITimeoutError):
        return TryAgain("timed out", perhaps_paid=went_out)
    if isinstance(error, openai.APIStatusError):
        return _meaning_of_status(error, endpoint, model)
    if isinstance(error, openai.APIConnectionError):
        cause = endpoint.clean(str(error.__cause__ or error)) or type(error.__cause__).__name__
        return TryAgain(f"connection failed: {cause}", perhaps_paid=went_out)
    if isinstance(error, openai.OpenAIError | ValueError):      # a body that is no JSON, or no completion
        return TryAgain(f"malformed response: {endpoint.clean(' '.join(str(error).split()))[:200]}")
    return error


def _meaning_of_status(error, endpoint: Endpoint, model: str) -> Exception:
    status, said = error.status_code, endpoint.clean(_what_it_said(error))
    if status in (401, 403):
        return Fatal(f"{endpoint.host} refused the key ({status}): {said}")
    if status == 404:
        return Fatal(f"{endpoint.host} knows no model {model!r} ({status}): {said}")
    if status == 429:
        if error.code == "insufficient_quota":
            return Fatal(f"{endpoint.host} says the account's quota is used up (429): {said}")
        return TryAgain(f"rate limit (429): {said}", _asked_wait(error.response.headers), is_throttled=True)
    if status in (408, 409) or status >= 500:
        return TryAgain(f"server error ({status}): {said}", _asked_wait(error.response.headers), perhaps_paid=status in GAVE_UP_WAITING)
    return Unanswered(f"refused ({status}): {said}")


def _what_it_said(error) -> str:
    body = error.body if isinstance(error.body, dict) else {}
    return " ".join(str(body.get("message") or error.message).split())[:300]


def _asked_wait(headers) -> float | None:
    """Seconds from Retry-After-Ms or Retry-After, as a number or a date; None when neither can be read."""
    for name, divisor in (("retry-after-ms", 1000), ("retry-after", 1)):
        try:
            wait = float(headers.get(name, "")) / divisor
        except ValueError:
            continue
        if 0 <= wait < float("inf"):
            return wait
    date = email.utils.parsedate_tz(headers.get("retry-after") or "")
    return max(0.0, email.utils.mktime_tz(date) - time.time()) if date else None
