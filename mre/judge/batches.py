"""OpenAI's Batch API as another way to the same answers: half the price, within a day. Answers go into the cache, and are read from there.

What was handed over is noted before it is sent, so that a cut run waits for its batches instead of paying for them again.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mre.errors import ImageError, JudgeError, ServiceError
from mre.judge.pictures import JudgePicture
from mre.judge.verdicts import Ask, Tally
from mre.paid.budget import Budget
from mre.paid.connection import Fatal, TryAgain, meaning_of
from mre.rewards import PERSPECTIVES

if TYPE_CHECKING:
    from mre.judge.openai_judge import OpenAIJudge
    from mre.judge.settings import Question
    from mre.judge.verdicts import Ask, Tally

MOST_REQUESTS, MOST_BYTES = 50_000, 190_000_000     # of one batch file; the server takes 50,000 and 200 MB
POLL_SECONDS = 30.0
OVER = ("completed", "failed", "expired", "cancelled")


def fill_cache(judge: OpenAIJudge, asks: Iterable[Ask], task: str, tally: Tally) -> str | None:
    """Ask everything that the cache lacks, in batches, and wait. Returns why it stopped early, if it did."""
    return asyncio.run(_Batches(judge, task, tally).run(asks))


class _Batches:
    def __init__(self, judge: OpenAIJudge, task: str, tally: Tally) -> None:
        self.judge, self.task, self.tally = judge, task, tally
        self.cache = judge.cache
        self.budget = Budget(judge.limits, judge.price)
        self.stopped: str | None = None

    async def run(self, asks: Iterable[Ask]) -> str | None:
        self.client = self.judge.endpoint.client(self.judge.settings.timeout, 4)
        try:
            await self.find_lost()
            await self.collect()
            for file, keys in self.files(asks):
                await self.send(file, keys)
            await self.collect()
        finally:
            await self.client.close()
        return self.stopped

    # -- what to send

    def files(self, asks: Iterable[Ask]) -> Iterator[tuple[Path, list[str]]]:
        """Files of requests that are missing, each within the server's limits. A file lives until the next is asked for."""
        with tempfile.TemporaryDirectory(prefix="mre-batch-") as folder:
            path, keys, size = Path(folder) / "requests.jsonl", [], 0
            file = path.open("wb")
            for key, line in self.lines(asks):
                if keys and (len(keys) >= MOST_REQUESTS or size + len(line) > MOST_BYTES):
                    file.close()
                    yield path, keys
                    file, keys, size = path.open("wb"), [], 0
                file.write(line)
                keys.append(key)
                size += len(line)
            file.close()
            if keys:
                yield path, keys

    def lines(self, asks: Iterable[Ask]) -> Iterator[tuple[str, bytes]]:
        """(Key, request line) of every question without an answer, until the budget is used up."""
        sent: set[str] = set()
        for ask in asks:
            try:
                original, edited = JudgePicture(ask.original, ask.item), JudgePicture(ask.edited, ask.item)
                questions = self.judge.questions(self.task, ask.instruction, original, edited, ask.repeat)
                missing = [question for question in questions if question.key not in self.cache and question.key not in sent
                           and not self.judge.perhaps_paid(question.key)]
                if not missing:
                    continue
                pictures = self.judge.picture_parts(original, edited)
            except ImageError:
                continue            # reported when the answers are read
            for question in missing:
                tokens = self.judge.expected_tokens(question.prompt, question.instruction)
                if self.budget.reserve(tokens, self.judge.settings.max_reply_tokens) is None:
                    self.stopped = self.budget.reason()
                    return
                sent.add(question.key)
                yield question.key, (b'{"custom_id": "%b", "method": "POST", "url": "/v1/chat/completions", "body": %b}\n'
                                     % (custom_id(question).encode(), self.judge.body(question, pictures)))

    # -- sending and waiting

    async def send(self, file: Path, keys: list[str]) -> None:
        digest = hashlib.sha256("\n".join(sorted(keys)).encode()).hexdigest()
        self.cache.note_batch(digest, None, len(keys), "sending")
        uploaded = await self.call(lambda: self.client.files.create(file=(file.name, file.open("rb")), purpose="batch"))
        batch = await self.call(lambda: self.client.batches.create(completion_window="24h", endpoint="/v1/chat/completions",
                                                                  input_file_id=uploaded.id, metadata={"mre": digest}))
        self.cache.note_batch(digest, batch.id, len(keys), "sent")
        self.tally.calls += len(keys)

    async def find_lost(self) -> None:
        """Batches that were being sent when a run was cut: the server may have them, under our digest."""
        lost = {digest: keys for digest, _, keys in self.cache.batches("sending")}
        if not lost:
            return
        page = await self.call(lambda: self.client.batches.list(limit=100))
        for batch in page.data:
            digest = (batch.metadata or {}).get("mre")
            if digest in lost:
                self.cache.note_batch(digest, batch.id, lost.pop(digest), "sent")
        for digest, keys in lost.items():
            self.cache.note_batch(digest, None, keys, "never arrived")

    async def collect(self) -> None:
        """Wait for every batch that was sent and keep its answers."""
        for digest, batch_id, keys in self.cache.batches("sent"):
            assert batch_id is not None, "noted when the batch was sent"
            while True:
                batch = await self.call(lambda batch_id=batch_id: self.client.batches.retrieve(batch_id))
                if batch.status in OVER:
                    break
                await asyncio.sleep(POLL_SECONDS)
            for file_id in (batch.output_file_id, batch.error_file_id):
                if file_id:
                    content = await self.call(lambda file_id=file_id: self.client.files.content(file_id))
                    for line in content.text.splitlines():
                        self.keep(line)
            self.cache.note_batch(digest, batch_id, keys, batch.status)
            if batch.status == "failed":
                said = "; ".join(error.message or "" for error in (batch.errors.data or [])) if batch.errors else "no reason given"
                raise JudgeError(f"{self.judge.endpoint.host} refused a batch of {keys} requests: {self.judge.endpoint.clean(said)}")

    def keep(self, line: str) -> None:
        """One line of a batch's output: a reply is kept, verdict or not; a failed request leaves nothing and may be asked again."""
        try:
            row = json.loads(line)
            task, perspective, key = row["custom_id"].split(".")
            stored = self.judge.read(self.judge.prompts[task, perspective], row["response"]["body"], 0.0, (0, 0))
        except (ValueError, LookupError, TypeError):
            return
        self.cache.put(key, stored)
        self.tally.input_tokens += stored.input_tokens
        self.tally.output_tokens += stored.output_tokens
        if self.tally.cost_usd is not None:
            self.tally.cost_usd += stored.cost_usd or 0.0

    async def call(self, ask: Any) -> Any:
        """A request about batches, tried again when that may help."""
        for attempt in range(self.judge.settings.max_attempts):
            try:
                return await ask()
            except Exception as error:
                meaning = meaning_of(error, self.judge.endpoint, self.judge.settings.model)
                if not isinstance(meaning, TryAgain) or attempt + 1 == self.judge.settings.max_attempts:
                    raise meaning if isinstance(meaning, ServiceError) else Fatal(f"{self.judge.endpoint.host}: {meaning}") from error
                await asyncio.sleep(meaning.wait if meaning.wait is not None else min(60.0, 2.0 ** attempt))
        raise AssertionError("the last attempt returns or raises")


def custom_id(question: Question) -> str:
    """A request's name in its batch: which prompt reads the reply, and where the answer belongs."""
    assert question.prompt.perspective in PERSPECTIVES
    return f"{question.prompt.task}.{question.prompt.perspective}.{question.key}"
