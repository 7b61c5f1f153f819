"""One pass of a judge behind an OpenAI-compatible address over many edits, on one event loop.

A note of each request is on the disk before it goes out, and goes when its answer is kept or nothing came of it. What is noted still was
perhaps paid, and is not asked for again unless that was agreed to.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from mre.errors import ImageError, ServiceError
from mre.judge.pictures import JudgePicture
from mre.judge.question_tokens import REPLY_TOKENS
from mre.judge.settings import Question
from mre.judge.verdicts import Ask, Tally, Verdict, Verdicts
from mre.paid.budget import Budget
from mre.paid.cache import StoredAnswer
from mre.paid.connection import LONGEST_WAIT, Fatal, TryAgain, Unanswered, meaning_of
from mre.rewards import PERSPECTIVES

if TYPE_CHECKING:
    from mre.judge.openai_judge import OpenAIJudge

LONGEST_GAP = 0.02              # seconds between two requests that leave; one takes a few milliseconds of processor time


class Stopped(Exception):
    """The run ends early; this question was not asked."""


class JudgeRun:
    """One pass over many edits on one event loop."""

    def __init__(self, judge: OpenAIJudge, task: str, on_verdicts: Callable[[Ask, Verdicts], None], tally: Tally,
                 is_offline: bool = False, budget_over: str | None = None) -> None:
        self.judge, self.task, self.on_verdicts, self.tally = judge, task, on_verdicts, tally
        self.is_offline, self.budget_over = is_offline, budget_over     # answers come from the cache, where batches put them
        self.settings, self.cache = judge.settings, judge.cache
        self.budget = judge.lasting_budget or Budget(judge.limits, judge.price)
        self.in_flight = 0
        self.calls = asyncio.Semaphore(self.settings.concurrency)
        self.money = asyncio.Condition()
        self.paused_until = self.next_start = 0.0
        self.usual_seconds = 0.0                # that a reply takes
        self.lost_in_a_row = self.refused = 0
        self.has_answered = False
        self.to_note: list[str] = []                # keys of requests that wait to be noted
        self.noting = asyncio.Lock()
        self.ended = asyncio.Event()            # nothing is sent any more; what is out is waited for, since it is paid for
        self.fatal: Exception | None = None
        self.stopped: str | None = None

    async def over(self, asks: Iterable[Ask]) -> Tally:
        """Judge all, report in order. At most `concurrency` edits are open at a time, so memory does not grow with the run."""
        from httpx2 import Response

        self.response = Response
        self.client = self.judge.endpoint.client(self.settings.timeout, self.settings.concurrency)
        open_edits: deque[tuple[Ask, asyncio.Task]] = deque()
        window = self.settings.concurrency * 4
        self.slots = asyncio.Semaphore(self.settings.concurrency)
        try:
            for ask in asks:
                if self.stopped or self.fatal:
                    break
                await self.slots.acquire()
                open_edits.append((ask, asyncio.create_task(self.edit(ask))))
                while open_edits and (open_edits[0][1].done() or len(open_edits) >= window):
                    await self.report(*open_edits[0])
                    open_edits.popleft()
            while open_edits:
                await self.report(*open_edits[0])
                open_edits.popleft()
        except (asyncio.CancelledError, KeyboardInterrupt):
            self.stopped = "interrupted"
            raise
        finally:
            self.stopped = self.stopped or "over"
            self.ended.set()
            async with self.money:
                self.money.notify_all()
            await asyncio.gather(*(task for _, task in open_edits), return_exceptions=True)
            await self.client.close()
        if self.fatal:
            raise self.fatal
        self.tally.stopped = None if self.stopped == "over" else self.stopped
        return self.tally

    async def report(self, ask: Ask, task: asyncio.Task) -> None:
        try:
            verdicts = await asyncio.shield(task)
        except Stopped:
            return
        self.tally.edits += 1
        self.tally.failed += len(verdicts.errors)
        self.on_verdicts(ask, verdicts)

    async def edit(self, ask: Ask) -> Verdicts:
        """The three verdicts on one edit. A picture that cannot be read fails all three, and the run goes on."""
        try:
            try:
                original, edited = await asyncio.to_thread(lambda: (JudgePicture(ask.original, f"{ask.item}: original"),
                                                                    JudgePicture(ask.edited, f"{ask.item}: edited")))
                questions = self.judge.questions(self.task, ask.instruction, original, edited, ask.repeat)
                kept = [self.cache.get(question.key) for question in questions]
                pictures = None if all(kept) else await asyncio.to_thread(self.judge.picture_parts, original, edited)
            except ImageError as error:
                return Verdicts(self.judge.name, self.task, tuple(Verdict(name, None, error=str(error)) for name in PERSPECTIVES))
            answers = await asyncio.gather(*(self.answer(question, answer, pictures)
                                             for question, answer in zip(questions, kept, strict=True)), return_exceptions=True)
            verdicts = []
            for answer in answers:
                if isinstance(answer, BaseException):
                    raise answer
                verdicts.append(answer)
            return Verdicts(self.judge.name, self.task, tuple(verdicts))
        except ServiceError as error:
            self.end(error)
            raise Stopped from error
        finally:
            self.slots.release()

    async def answer(self, question: Question, kept: StoredAnswer | None, pictures: tuple[bytes, bytes] | None) -> Verdict:
        """One verdict: the kept one, or a request. Where asking on is useless, the run ends at once, not with the edit's other answers."""
        try:
            if kept is not None:
                return self.kept(question, kept)
            assert pictures is not None, "made where an answer is missing"
            return await self.ask(question, pictures)
        except ServiceError as error:
            self.end(error)
            raise

    def end(self, error: ServiceError) -> None:
        """Asking on is useless."""
        self.fatal = self.fatal or error
        self.ended.set()

    def kept(self, question: Question, kept: StoredAnswer) -> Verdict:
        if kept.error is None:
            self.judge.checked_build(kept.build)
        self.tally.cached += 1
        self.tally.builds[kept.build] += 1
        return self.judge.verdict_of(question.prompt, kept, cached=True)

    async def ask(self, question: Question, pictures: tuple[bytes, bytes]) -> Verdict:
        """One verdict by as many requests as it takes. What was paid for is kept before it counts."""
        if self.budget_over:
            self.stopped = self.budget_over
            raise Stopped
        if (before := self.judge.perhaps_paid(question.key)) is not None:
            return self.not_heard(question, before)
        if self.is_offline:
            return Verdict(question.prompt.perspective, None, error="the batch brought no answer")
        attempts = asked = 0
        paid: list[StoredAnswer] = []
        while True:
            try:
                stored = await self.request(question, pictures, asked)
            except TryAgain as trouble:
                attempts += 1
                if trouble.perhaps_paid and not self.judge.may_repeat:
                    return self.unheard(question, trouble)
                if attempts >= self.settings.max_attempts or (trouble.wait or 0) > LONGEST_WAIT:
                    return self.lost(question, trouble)
                if not self.has_answered and attempts >= 3 and str(trouble).startswith("connection"):
                    raise Fatal(f"no answer from {self.judge.endpoint.host}: {trouble}") from trouble
                await self.wait(trouble, attempts)
                self.tally.retries += 1
                continue
            except Unanswered as refusal:
                self.refused += 1
                if not self.has_answered and self.refused >= len(PERSPECTIVES):
                    raise Fatal(f"{self.judge.endpoint.host} takes no question for {self.settings.model!r}: {refusal} "
                                "(does the model take pictures?)") from refusal
                return Verdict(question.prompt.perspective, None, error=str(refusal))
            asked += 1
            paid.append(stored)
            if stored.error is None or asked >= self.settings.max_asked:
                stored = replace(stored, cost_usd=None if stored.cost_usd is None else sum(each.cost_usd or 0.0 for each in paid),
                                 input_tokens=sum(each.input_tokens for each in paid),
                                 output_tokens=sum(each.output_tokens for each in paid))
                await asyncio.to_thread(self.cache.put, question.key, stored)
                self.judge.checked_build(stored.build)
                return self.judge.verdict_of(question.prompt, stored, cached=False)
            self.tally.retries += 1

    def lost(self, question: Question, trouble: TryAgain) -> Verdict:
        """A question given up. When question after question is given up, the server is down and the run ends."""
        self.lost_in_a_row += 1
        if not self.has_answered or self.lost_in_a_row >= max(8, self.settings.concurrency // 2):
            raise Fatal(f"no answer from {self.judge.endpoint.host} after {self.settings.max_attempts} attempts: {trouble}; "
                        "run the same command again to resume") from trouble
        return Verdict(question.prompt.perspective, None, error=f"gave up after {self.settings.max_attempts} attempts: {trouble}")

    def unheard(self, question: Question, trouble: TryAgain) -> Verdict:
        """A question that went out now and whose answer did not arrive. When that happens again and again, the run ends."""
        host, most = self.judge.endpoint.host, max(8, self.settings.concurrency // 2)
        self.lost_in_a_row += 1
        if self.lost_in_a_row >= most:
            raise Fatal(f"{most} questions in a row went unanswered and are perhaps paid, the last: no answer from {host}: {trouble}")
        return self.not_heard(question, f"perhaps paid: no answer from {host}, which was sent the question: {trouble}; "
                                        f"{self.judge.how_to_repeat}")

    def not_heard(self, question: Question, reason: str) -> Verdict:
        """No verdict, since the answer was perhaps paid and is not asked for again."""
        self.tally.perhaps_paid += 1
        if self.judge.forgets_reported:
            self.cache.came_to_nothing(question.key)
        return Verdict(question.prompt.perspective, None, error=reason, perhaps_paid=True)

    async def wait(self, trouble: TryAgain, attempts: int) -> None:
        """As long as the server asked, or twice as long each time. A throttled run holds back all requests, not this one alone."""
        pause = trouble.pause(attempts)
        if trouble.is_throttled and trouble.wait is not None:
            self.paused_until = max(self.paused_until, time.monotonic() + pause)
        await self.sleep(pause)

    async def sleep(self, seconds: float) -> None:
        """Raises Stopped where the run ends before that."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self.ended.wait(), seconds)
            raise Stopped

    async def request(self, question: Question, pictures: tuple[bytes, bytes], asked: int) -> StoredAnswer:
        """Send one request and return its reply, verdict or not. Raises TryAgain, Unanswered, Fatal or Stopped."""
        async with self.calls:
            while (pause := self.paused_until - time.monotonic()) > 0:
                await self.sleep(pause)
            await self.turn()
            ticket = await self.ticket(question)
            used = (0, 0)
            self.judge.under_way.add(question.key)
            started = time.perf_counter()
            try:
                await self.note(question.key)
                self.tally.calls += 1
                response = await self.client.post(      # the same request as chat.completions.create, at half its processor time
                    self.judge.endpoint.chat_path(self.settings.model), content=self.judge.body(question, pictures, asked),
                    cast_to=self.response, options={"headers": {"Idempotency-Key": f"{question.key[:48]}-{asked}"}})
                seconds = time.perf_counter() - started
                unsaid = self.judge.expected_tokens(question.prompt, question.instruction), REPLY_TOKENS
                stored = self.judge.read(question.prompt, response.json(), seconds, unsaid)
                used = stored.input_tokens, stored.output_tokens
            except ServiceError:
                raise
            except Exception as error:
                meaning = meaning_of(error, self.judge.endpoint, self.settings.model)
                if isinstance(meaning, TryAgain) and meaning.perhaps_paid:
                    used = self.most(question)
                else:
                    self.cache.came_to_nothing(question.key)
                raise meaning from (None if meaning is error else error)
            finally:
                self.judge.under_way.discard(question.key)
                async with self.money:
                    self.in_flight -= 1
                    self.budget.settle(ticket, *used)
                    self.money.notify_all()
        self.has_answered, self.lost_in_a_row = True, 0
        self.usual_seconds += 0.1 * (seconds - self.usual_seconds)
        self.tally.builds[stored.build] += 1
        self.tally.input_tokens += used[0]
        self.tally.output_tokens += used[1]
        if self.tally.cost_usd is not None:
            self.tally.cost_usd += stored.cost_usd or 0.0
        return stored

    async def turn(self) -> None:
        """Requests leave a moment apart, at up to twice the rate at which they come back.

        Those that leave together come back together, wait for each other at every step, and leave together again.
        """
        now = time.monotonic()
        start = max(now, self.next_start)
        self.next_start = start + min(LONGEST_GAP, self.usual_seconds / (2 * self.settings.concurrency))
        if start > now:
            await asyncio.sleep(start - now)

    async def note(self, key: str) -> None:
        """Note that a request goes out. Writing to the disk takes milliseconds, so one writes for all that wait."""
        self.to_note.append(key)
        async with self.noting:
            if key in self.to_note:
                keys, self.to_note = self.to_note, []
                await asyncio.to_thread(self.cache.begin, *keys)

    def most(self, question: Question) -> tuple[int, int]:
        """Input and output tokens that a question may take."""
        return int(self.judge.expected_tokens(question.prompt, question.instruction) * 1.2), self.settings.max_reply_tokens

    async def ticket(self, question: Question) -> int:
        """A place in the budget. What is in flight may turn out cheaper than its reserve, so wait for it before giving up."""
        async with self.money:
            while True:
                if self.stopped or self.fatal:
                    raise Stopped
                if (ticket := self.budget.reserve(*self.most(question))) is not None:
                    self.in_flight += 1
                    return ticket
                if not self.in_flight:
                    self.stopped = self.budget.reason()
                    self.money.notify_all()
                    raise Stopped
                await self.money.wait()
