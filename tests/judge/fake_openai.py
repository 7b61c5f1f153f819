"""A server that speaks OpenAI's protocol over HTTP: chat completions, files and batches, with every trouble a real one gives.

In a test: `with FakeOpenAI(latency=0.05) as server: ... server.url`. As a program, for load runs:
`python -m tests.judge.fake_openai --port 0 --latency 1`; it prints its address, and GET /ledger tells what it was asked.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import random
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass, field

KEY = "sk-fake-0123456789abcdefghij-secret"
VERDICT_KEYS = ("following", "consistent", "clear")


@dataclass
class Plan:
    """How the server behaves. Rates are shares of requests; which ones is decided by what is asked and how often it was asked before."""

    latency: float = 0.0
    gather: int = 0                     # nothing is answered before so many requests wait at once
    rates: dict[str, float] = field(default_factory=dict)       # trouble -> share of requests
    script: list[str | None] = field(default_factory=list)      # troubles of the first requests, in order of arrival
    retry_after: str = "0.05"
    build: str = "gpt-4o-2024-08-06"
    models: tuple[str, ...] = ("gpt-4o-2024-08-06", "gpt-4o", "open-model")
    text_only: tuple[str, ...] = ("text-model",)
    key: str | None = KEY
    reply: str | None = None            # one reply for everything; None: a verdict made from the request's digest
    usage: tuple[int, int] | None = (1000, 20)


TROUBLES = ("429", "quota", "500", "cut", "garbage", "not-json", "no-choices", "unreadable", "refusal", "filtered", "other-build",
            "echo-key", "400")


class FakeOpenAI:
    """The server, on its own thread and event loop."""

    def __init__(self, plan: Plan | None = None, port: int = 0, **options) -> None:
        self.plan = plan or Plan(**options)
        self.port = port
        self.asked: Counter = Counter()         # digest of the question -> requests
        self.answered: Counter = Counter()      # digest of the question -> good replies sent whole
        self.paid: Counter = Counter()          # start of the idempotency key -> replies sent whole
        self.troubles: Counter = Counter()
        self.bodies: list[dict] = []            # kept while `keep_bodies`
        self.keep_bodies = True
        self.headers: list[dict] = []
        self.in_flight = self.most_in_flight = self.requests = self.connections = 0
        self.service_seconds = 0.0
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict] = {}
        self.started = time.perf_counter()

    # -- life -----------------------------------------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    def __enter__(self) -> FakeOpenAI:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True)
        self._thread.start()
        assert ready.wait(10)
        return self

    def __exit__(self, *_) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    async def _serve(self, ready: threading.Event | None = None) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._connection, "127.0.0.1", self.port, limit=64 * 1024 * 1024, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        if ready:
            ready.set()
        else:
            print(self.url, flush=True)
        await self._stop.wait()
        server.close()

    # -- HTTP -----------------------------------------------------------------------------------------------------------------

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                lines = head.decode("latin-1").split("\r\n")
                method, path, _ = lines[0].split(" ", 2)
                headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)}
                if headers.get("transfer-encoding") == "chunked":
                    body = await self._chunks(reader)
                else:
                    body = await reader.readexactly(int(headers.get("content-length", 0)))
                if not await self._respond(writer, method, path.split("?")[0], headers, body):
                    break
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def _chunks(self, reader: asyncio.StreamReader) -> bytes:
        body = b""
        while size := int((await reader.readline()).strip(), 16):
            body += await reader.readexactly(size)
            await reader.readline()
        await reader.readline()
        return body

    async def _respond(self, writer, method: str, path: str, headers: dict, body: bytes) -> bool:
        if path == "/ledger":
            return await self._send(writer, 200, self.ledger())
        if path == "/paid":
            return await self._send(writer, 200, dict(self.paid))
        path = re.sub(r"^/openai(/deployments/[^/]+)?", "/v1", path)
        given = headers.get("authorization", "").removeprefix("Bearer ") or headers.get("api-key", "")
        if self.plan.key is not None and given != self.plan.key:
            starred = given[:4] + "*" * 12 + given[-4:]
            return await self._error(writer, 401, f"Incorrect API key provided: {starred} (you sent {given}).", "invalid_api_key")
        if path == "/v1/chat/completions" and method == "POST":
            return await self._chat(writer, headers, body)
        return await self._jobs(writer, method, path, headers, body)

    async def _send(self, writer, status: int, data: object, extra: str = "", content_type: str = "application/json") -> bool:
        payload = data if isinstance(data, bytes) else json.dumps(data).encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\nContent-Length: {len(payload)}\r\n{extra}\r\n"
        writer.write(head.encode() + payload)
        await writer.drain()
        return True

    async def _error(self, writer, status: int, message: str, code: str | None = None, extra: str = "") -> bool:
        return await self._send(writer, status, {"error": {"message": message, "type": "error", "param": None, "code": code}}, extra)

    # -- chat -----------------------------------------------------------------------------------------------------------------

    async def _chat(self, writer, headers: dict, body: bytes) -> bool:
        self.requests += 1
        number = self.requests
        self.in_flight += 1
        arrived = time.perf_counter()
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            while self.most_in_flight < self.plan.gather:
                await asyncio.sleep(0.005)
            if self.plan.latency:
                await asyncio.sleep(self.plan.latency)
            return await self._answer(writer, headers, body, number)
        finally:
            self.in_flight -= 1
            self.service_seconds += time.perf_counter() - arrived

    async def _answer(self, writer, headers: dict, body: bytes, number: int) -> bool:
        digest = question_digest(body)
        self.asked[digest] += 1
        if self.keep_bodies:
            self.bodies.append(json.loads(body))
            self.headers.append(headers)
        trouble = self._trouble(digest, number)
        if trouble:
            self.troubles[trouble] += 1
        model = (re.search(rb'"model": ?"([^"]+)"', body) or [b"", b"?"])[1].decode()
        if model in self.plan.text_only and b"image_url" in body:
            return await self._error(writer, 400, "Invalid content type. image_url is only supported by certain models.", "invalid_type")
        if model not in self.plan.models + self.plan.text_only:
            return await self._error(writer, 404, f"The model `{model}` does not exist or you do not have access to it.", "model_not_found")
        match trouble:
            case "429":
                after = f"Retry-After: {self.plan.retry_after}\r\n"
                return await self._error(writer, 429, "Rate limit reached.", "rate_limit_exceeded", after)
            case "quota":
                return await self._error(writer, 429, "You exceeded your current quota.", "insufficient_quota")
            case "500":
                return await self._error(writer, 500, "The server had an error.")
            case "400":
                return await self._error(writer, 400, "Your image was rejected.", "image_rejected")
            case "cut":
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 900\r\n\r\n{\"id\": ")
                await writer.drain()
                return False
            case "garbage":
                return await self._send(writer, 200, b"{\"id\": \"x\", \"choi")
            case "not-json":
                return await self._send(writer, 200, b"<html>gateway</html>", content_type="text/html")
            case "no-choices":
                return await self._send(writer, 200, {"id": "x", "object": "chat.completion", "model": model, "choices": []})
        data = self.completion(body.decode(), digest, trouble)
        sent = await self._send(writer, 200, data)
        self.answered[digest] += 1
        self.paid[headers.get("idempotency-key", "")[:48]] += 1
        return sent

    def _trouble(self, digest: str, number: int) -> str | None:
        if number <= len(self.plan.script):
            return self.plan.script[number - 1]
        if not self.plan.rates:
            return None
        draw = random.Random(f"{digest} {self.asked[digest]}").random()
        for trouble, share in self.plan.rates.items():
            draw -= share
            if draw < 0:
                return trouble
        return None

    def completion(self, body: str, digest: str, trouble: str | None = None) -> dict:
        """A chat completion with a verdict in the form that the prompt asks for."""
        content, refusal, finish = self.plan.reply or verdict_text(body, digest), None, "stop"
        build = self.plan.build
        match trouble:
            case "unreadable":
                content = "I would say this edit is quite good, yes, perhaps a 4 out of 5."
            case "refusal":
                content, refusal = None, "I'm sorry, I can't help with that."
            case "filtered":
                content, finish = "", "content_filter"
            case "other-build":
                build = "gpt-4o-2024-05-13"
            case "echo-key":
                content = f"Your key is {self.plan.key}. {content}"
        counts = self.plan.usage
        usage = counts and {"prompt_tokens": counts[0], "completion_tokens": counts[1], "total_tokens": sum(counts)}
        message = {"role": "assistant", "content": content, "refusal": refusal}
        return {"id": f"chatcmpl-{digest[:12]}", "object": "chat.completion", "created": 1, "model": build, "system_fingerprint": "fp_1",
                "choices": [{"index": 0, "finish_reason": finish, "message": message}], "usage": usage}

    # -- files and batches ----------------------------------------------------------------------------------------------------

    async def _jobs(self, writer, method: str, path: str, headers: dict, body: bytes) -> bool:
        parts = path.strip("/").split("/")[1:]
        if method == "POST" and parts == ["files"]:
            boundary = headers["content-type"].split("boundary=")[1].strip('"').encode()
            content = next(part.split(b"\r\n\r\n", 1)[1][:-2] for part in body.split(b"--" + boundary) if b'name="file"' in part)
            name = f"file-{len(self.files)}"
            self.files[name] = content
            return await self._send(writer, 200, {"id": name, "object": "file", "bytes": len(content), "created_at": 1,
                                                  "filename": "x.jsonl", "purpose": "batch", "status": "processed"})
        if method == "GET" and parts[:1] == ["files"] and parts[-1] == "content":
            return await self._send(writer, 200, self.files[parts[1]], content_type="application/octet-stream")
        if method == "POST" and parts == ["batches"]:
            request = json.loads(body)
            name = f"batch_{len(self.batches)}"
            self.batches[name] = {"id": name, "object": "batch", "endpoint": request["endpoint"], "input_file_id": request["input_file_id"],
                                  "completion_window": "24h", "status": "in_progress", "created_at": 1, "metadata": request.get("metadata"),
                                  "polls": 0}
            return await self._send(writer, 200, self.batches[name])
        if method == "GET" and parts == ["batches"]:
            return await self._send(writer, 200, {"object": "list", "data": list(self.batches.values()), "has_more": False})
        if method == "GET" and parts[:1] == ["batches"]:
            batch = self.batches[parts[1]]
            batch["polls"] += 1
            if batch["polls"] >= 2 and batch["status"] == "in_progress":
                self._finish(batch)
            return await self._send(writer, 200, batch)
        return await self._error(writer, 404, f"no such address: {path}")

    def _finish(self, batch: dict) -> None:
        """Answer all requests of a batch, out of order as the real one may; troubles go to the error file."""
        good, bad = [], []
        for line in self.files[batch["input_file_id"]].decode().splitlines():
            request = json.loads(line)
            raw = json.dumps(request["body"]).encode()
            digest = question_digest(raw)
            self.asked[digest] += 1
            self.requests += 1
            trouble = self._trouble(digest, self.requests)
            if trouble in ("429", "500", "cut", "garbage"):
                response = {"status_code": 500, "body": {"error": {"message": "failed"}}}
                bad.append({"id": "r", "custom_id": request["custom_id"], "response": response, "error": None})
            else:
                good.append({"id": "r", "custom_id": request["custom_id"], "error": None,
                             "response": {"status_code": 200, "request_id": "q", "body": self.completion(raw.decode(), digest, trouble)}})
                self.answered[digest] += 1
        random.Random(0).shuffle(good)
        for lines, name in ((good, "output_file_id"), (bad, "error_file_id")):
            if lines:
                batch[name] = f"file-{len(self.files)}"
                self.files[batch[name]] = "\n".join(map(json.dumps, lines)).encode() + b"\n"
        batch["status"] = "completed"
        batch["request_counts"] = {"total": len(good) + len(bad), "completed": len(good), "failed": len(bad)}

    def ledger(self) -> dict:
        """What it was asked so far, in numbers."""
        return {"requests": self.requests, "questions": len(self.asked), "answered_questions": len(self.answered),
                "answered": sum(self.answered.values()), "answered_twice": sum(count - 1 for count in self.answered.values() if count > 1),
                "mean_service_seconds": self.service_seconds / max(1, self.requests), "most_in_flight": self.most_in_flight,
                "connections": self.connections, "troubles": dict(self.troubles), "cpu_seconds": time.process_time(),
                "seconds": time.perf_counter() - self.started}


def question_digest(body: bytes) -> str:
    """Which question a request asks: all of it but the seed, which a re-asked question changes."""
    data = json.loads(body)
    data.pop("seed", None)
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def verdict_text(body: str, digest: str) -> str:
    """A verdict whose form the prompt asks for and whose score comes from the question's digest."""
    score = int(digest[:8], 16) % 6
    key = next((key for key in VERDICT_KEYS if f"keys '{key}'" in body), None)
    if key is None:
        return f"{{'score': {score}, 'bad': '{'None' if score == 5 else 'Something is off.'}'}}"
    return f"{{'{key}': '{'yes' if score >= 4 else 'no'}', 'score': {float(score)}}}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency", type=float, default=0.0)
    parser.add_argument("--rates", type=json.loads, default={})
    options = parser.parse_args()
    server = FakeOpenAI(latency=options.latency, rates=options.rates, port=options.port)
    server.keep_bodies = False
    asyncio.run(server._serve())
