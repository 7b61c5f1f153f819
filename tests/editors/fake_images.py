"""A server that speaks OpenAI's images API over HTTP, with every trouble a real one gives. It inverts pictures."""

from __future__ import annotations

import base64
import io
import json
import threading
from email.parser import BytesParser
from email.policy import HTTP
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image, ImageOps

KEY = "sk-fake-images-0123456789-secret"


class FakeImages:
    """`with FakeImages(script=["429", None]) as server: ... server.url`. `script`: troubles of the first requests, in order of arrival."""

    def __init__(self, script: list[str | None] | None = None, always: str | None = None, key: str | None = KEY,
                 refuses: str = "", retry_after: str = "0.01", knows_keys: bool = False) -> None:
        self.script, self.always, self.key, self.refuses, self.retry_after = script or [], always, key, refuses, retry_after
        self.requests = 0
        self.made: dict[str, str] | None = {} if knows_keys else None      # edits by their key: each is made and paid for once
        self.asked: list[dict[str, Any]] = []           # fields, and files as bytes
        self.headers: list[dict[str, str]] = []
        self.paid: list[str] = []                       # instructions of edits that were sent whole
        self.elsewhere = 0                              # requests for any other address
        self.free = threading.Event()                   # lets those go on that answer never

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/v1"

    def __enter__(self) -> FakeImages:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                fake.answer(self)

            def do_GET(self) -> None:
                fake.elsewhere += 1
                self.send_error(404)

            def log_message(self, *_: object) -> None:
                pass
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.free.set()
        self.server.shutdown()
        self.server.server_close()

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("content-length", 0)))
        if handler.path != "/v1/images/edits":
            self.elsewhere += 1
            return self.send(handler, 404, {"error": {"message": "no such address"}})
        self.requests += 1
        trouble = self.script[self.requests - 1] if self.requests <= len(self.script) else self.always
        given = handler.headers.get("authorization", "").removeprefix("Bearer ")
        if self.key is not None and given != self.key:
            return self.send(handler, 401, {"error": {"message": f"Incorrect API key provided: {given}", "code": "invalid_api_key"}})
        fields = parts_of(handler.headers["content-type"], body)
        self.asked.append(fields)
        self.headers.append({name.lower(): value for name, value in handler.headers.items()})
        if self.refuses and self.refuses in fields["prompt"]:
            trouble = "policy"
        key = handler.headers.get("idempotency-key", "")
        if trouble is None and self.made is not None and key in self.made:
            return self.send(handler, 200, {"created": 1, "data": [{"b64_json": self.made[key]}]})
        photo = Image.open(io.BytesIO(fields["image"]))
        made = ImageOps.invert(photo.convert("RGB"))
        match trouble:
            case "policy":
                return self.send(handler, 400, {"error": {"message": "Your request was rejected by the safety system.",
                                                          "code": "moderation_blocked"}})
            case "error-inside":
                return self.send(handler, 200, {"error": {"message": f"worker died, key {self.key}", "code": "internal"}})
            case "policy-inside":
                return self.send(handler, 200, {"error": {"message": "not that", "code": "content_policy_violation"}})
            case "no-picture":
                return self.send(handler, 200, {"created": 1, "data": []})
            case "null":
                return self.send(handler, 200, {"data": [{"b64_json": None}]})
            case "address":
                return self.send(handler, 200, {"data": [{"url": f"http://127.0.0.1:{self.server.server_port}/picture.png"}]})
            case "file-address":
                return self.send(handler, 200, {"data": [{"url": "file:///etc/passwd"}]})
            case "data-address":
                return self.send(handler, 200, {"data": [{"url": "data:image/png;base64," + encoded(made)}]})
            case "redirect":
                return self.send(handler, 307, {}, {"Location": f"http://127.0.0.1:{self.server.server_port}/elsewhere"})
            case "404":
                return self.send(handler, 404, {"error": {"message": f"The model `{fields['model']}` does not exist"}})
            case "422":
                return self.send(handler, 422, {"detail": "size must be a multiple of 32"})
            case "429":
                return self.send(handler, 429, {"error": {"message": "slow down"}}, {"Retry-After": self.retry_after})
            case "quota":
                return self.send(handler, 429, {"error": {"message": "no money left", "code": "insufficient_quota"}})
            case "500":
                return self.send(handler, 500, {"error": {"message": "oops"}}, {"Retry-After": self.retry_after})
            case "504":
                return self.send(handler, 504, {"error": {"message": "gateway time-out"}})
            case "not-json":
                return self.send(handler, 200, b"<html>gateway</html>")
            case "list":
                return self.send(handler, 200, [1, 2])
            case "not-base64":
                return self.send(handler, 200, {"data": [{"b64_json": "&&&&"}]})
            case "no-image":
                return self.send(handler, 200, {"data": [{"b64_json": base64.b64encode(b"MZ a program").decode()}]})
            case "huge":
                return self.send(handler, 200, {"data": [{"b64_json": "A" * 2_000_000}]})
            case "cut":
                handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{\"data\": ")
                return None
            case "never":
                self.free.wait(30)
                return None
            case "drip":
                handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                while not self.free.wait(0.02):
                    handler.wfile.write(b" ")
                return None
            case "other-size":
                made = made.resize((100, 80))
        if self.made is not None:
            self.made[key] = encoded(made)
        self.paid.append(fields["prompt"])
        usage = {"input_tokens": 300, "output_tokens": 1000, "total_tokens": 1300}
        return self.send(handler, 200, {"created": 1, "data": [{"b64_json": encoded(made)}], "usage": usage})

    def send(self, handler: BaseHTTPRequestHandler, status: int, data: object, headers: dict[str, str] | None = None) -> None:
        payload = data if isinstance(data, bytes) else json.dumps(data).encode()
        handler.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(payload)), **(headers or {})}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(payload)


def parts_of(content_type: str, body: bytes) -> dict[str, Any]:
    """A form's fields as texts, its files as bytes."""
    message = BytesParser(policy=HTTP).parsebytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    assert message.is_multipart()
    found: dict[str, Any] = {}
    for part in message.iter_parts():
        name = part.get_param("name", header="content-disposition")
        data = part.get_payload(decode=True)
        found[name] = data if part.get_filename() else data.decode()
    return found


def encoded(image: Image.Image) -> str:
    file = io.BytesIO()
    image.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


