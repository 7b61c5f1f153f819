"""Records everything that reaches an annotator's browser, and searches it for what could tell methods apart."""

from __future__ import annotations

import base64
import io
import json
import urllib.parse
from collections import defaultdict

from PIL import Image
from playwright.sync_api import BrowserContext, Page, Response


class Recorder:
    """Every URL, header, body, storage entry, DOM and console line of a browser context."""

    def __init__(self, context: BrowserContext) -> None:
        self.context = context
        self.parts: list[tuple[str, bytes]] = []
        self.pictures: list[tuple[str, dict[str, str], bytes]] = []
        self.screens: list[dict] = []
        context.on("response", self._response)
        context.on("console", lambda message: self.parts.append(("console", message.text.encode())))

    def _response(self, response: Response) -> None:
        headers = {name.lower(): value for name, value in response.all_headers().items()}
        body = response.body()
        self.parts += [("URL", response.url.encode()), ("header", json.dumps(headers).encode()), (f"body of {response.url}", body),
                       ("request header", json.dumps(response.request.all_headers()).encode())]
        if "/study/p/" in response.url:
            self.pictures.append((response.url.rsplit("/", 1)[1], headers, body))
        elif headers.get("content-type", "").startswith("application/json"):
            told = json.loads(body)
            self.screens += [told[key] for key in ("current", "upcoming") if told.get(key)]

    def snapshot(self, page: Page) -> None:
        """Storage and document as they are now."""
        storage = page.evaluate("""async () => JSON.stringify([Object.entries(localStorage), Object.entries(sessionStorage),
            (await indexedDB.databases()).map((base) => base.name), self.caches ? await caches.keys() : []])""")
        self.parts += [("storage", storage.encode()), ("cookies", json.dumps(self.context.cookies()).encode()),
                       ("DOM", page.content().encode())]


def leaks(record: Recorder, secrets: list[str]) -> list[str]:
    """Everything found that a method, file or order could be told from; empty when there is nothing."""
    found = []
    for secret in secrets:
        raw = secret.encode()
        forms = {"plain": raw, "in base64": base64.b64encode(raw).rstrip(b"=")[:-1], "in hex": raw.hex().encode(),
                 "in a URL": urllib.parse.quote(secret).encode()}
        for where, content in record.parts:
            found += [f"{secret!r} {form} in {where[:60]}" for form, text in forms.items() if text.lower() in content.lower()]
    return found + _picture_leaks(record)


def _picture_leaks(record: Recorder) -> list[str]:
    found = []
    by_token = {token: (headers, body) for token, headers, body in record.pictures}
    for shown in {screen["screen"]: screen for screen in record.screens}.values():
        seen = [by_token[token] for token in shown["pictures"] if token in by_token]
        shapes: dict[str, set] = defaultdict(set)
        for headers, body in seen:
            image = Image.open(io.BytesIO(body))
            image.load()
            shapes["pixel sizes"].add(image.size)
            shapes["formats"].add((image.format, image.mode))
            shapes["lengths"].add(len(body))
            shapes["headers"].add(json.dumps({name: value for name, value in headers.items() if name != "date"}, sort_keys=True))
            if image.info:
                found.append(f"a picture carries {sorted(image.info)}")
        found += [f"pictures of one screen differ in {what}" for what, values in shapes.items() if len(values) > 1]
    if not record.pictures:
        found.append("no picture was seen")
    return found
