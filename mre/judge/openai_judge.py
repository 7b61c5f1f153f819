"""A vision-language model behind an OpenAI-compatible address, asked with the paper's prompts: GPT-4o, or one on a server of one's own."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

from mre.errors import ImageError, JudgeReplyError, ServiceError
from mre.judge.pictures import JudgePicture, encoded_pair
from mre.judge.prompts import Prompt, PromptSet, paper_prompts
from mre.judge.question_tokens import REPLY_SECONDS, REPLY_TOKENS, expected_tokens
from mre.judge.replies import Reply, parse_evaluation, parse_reward
from mre.judge.settings import JudgeSettings, Question
from mre.judge.verdicts import Ask, Tally, Verdict, Verdicts, checked_task
from mre.paid.budget import Budget, Forecast, Limits, price_of
from mre.paid.cache import AnswerCache, StoredAnswer, answer_key, utc_now
from mre.paid.connection import LONGEST_WAIT, Endpoint, Fatal, TryAgain, Unanswered, meaning_of
from mre.rewards import PERSPECTIVES

LONGEST_GAP = 0.02              # seconds between two requests that leave; one takes a few milliseconds of processor time


FillCache = Callable[["OpenAIJudge", Iterable[Ask], str, Tally], str | None]       # puts answers into the cache; why it stopped early


class _Stopped(Exception):
    """The run ends early; this question was not asked."""


class OpenAIJudge:
    """Asks a model, keeps every paid answer, stays within the budget, and goes on where it was cut."""

    is_paid = True
    perspectives = PERSPECTIVES

    def __init__(self, settings: JudgeSettings, endpoint: Endpoint, cache: AnswerCache | None = None, limits: Limits | None = None,
                 prompts: PromptSet | None = None, price_input: float | None = None, price_output: float | None = None,
                 fill_cache: FillCache | None = None, limits_last: bool = False) -> None:
        """fill_cache: another way to the same answers, which are read from the cache then, such as batches
        limits_last: the limits hold for all calls together, not for each; calls may then come from several threads"""
        self.settings, self.endpoint = settings, endpoint
        self.cache = cache if cache is not None else AnswerCache(None)
        self.prompts = prompts or paper_prompts()
        self.limits = limits or Limits()
        self.price = price_of(settings.model, endpoint.is_own_server, price_input, price_output, fill_cache is not None)
        self.fill_cache = fill_cache
        self.name = self.prompts.judge_name(settings.model, settings.fence)
        self.version = settings.expected_build() or ""      # each reply names its own
        budget = Budget(self.limits, self.price)        # refuses limits that cannot be kept before anything is asked
        self.lasting_budget = budget if limits_last else None

    # -- questions ------------------------------------------------------------------------------------------------------------

    def questions(self, task: str, instruction: str, original: JudgePicture, edited: JudgePicture, repeat: int) -> list[Question]:
        """The three questions about one edit, each with its address in the cache."""
        questions = []
        for perspective in PERSPECTIVES:
            prompt = self.prompts[task, perspective]
            pictures = [original.digest, edited.digest] if prompt.images == 2 else [edited.digest, f"sized by {original.digest}"]
            system, user = prompt.texts(instruction, self.settings.fence)
            key = answer_key(version=1, address=self.endpoint.base_url, model=self.settings.model, task=task, perspective=perspective,
                             prompt=prompt.digest, system=system, user=user, pictures=pictures, repeat=repeat,
                             settings=self.settings.answer_settings())
            questions.append(Question(prompt, instruction, key))
        return questions

    def picture_parts(self, original: JudgePicture, edited: JudgePicture) -> tuple[bytes, bytes]:
        """Both pictures as parts of a request: JSON that holds a lossless PNG as a `data:` address. One pair serves three questions."""
        ends = b'{"type": "image_url", "image_url": {"url": "data:image/png;base64,', f'", "detail": "{self.settings.detail}"}}}}'.encode()
        first, second = (base64.b64encode(data).join(ends) for data in encoded_pair(original, edited, self.settings.picture_size))
        return first, second

    def body(self, question: Question, pictures: tuple[bytes, bytes], attempt: int = 0) -> bytes:
        """The request for a question as JSON. Only its texts are encoded here: a picture is a megabyte that needs no escaping."""
        system, user = question.prompt.texts(question.instruction, self.settings.fence)
        shown = pictures if question.prompt.images == 2 else pictures[1:]
        head = json.dumps({"model": self.settings.model, **self.settings.sampling(attempt)}).encode().removesuffix(b"}")
        said = json.dumps({"role": "system", "content": system}).encode()
        asked = b", ".join((json.dumps({"type": "text", "text": user}).encode(), *shown))
        return b'%b, "messages": [%b, {"role": "user", "content": [%b]}]}' % (head, said, asked)

    def parse(self, prompt: Prompt, raw: str) -> Reply:
        """A reply as a verdict. Raises JudgeReplyError."""
        return parse_reward(raw) if prompt.key is None else parse_evaluation(raw, prompt.key)

    def checked_build(self, build: str) -> str:
        """The build a reply names, when it is the expected one. Raises Fatal: answers of two builds are two judges."""
        expected = self.settings.expected_build()
        if self.endpoint.azure_api_version is not None and self.settings.expect_build is None:
            return build                        # a deployment's name says nothing about its build
        if expected is not None and build != expected:
            raise Fatal(f"{self.endpoint.host} answered as {build!r}, expected {expected!r}; give --expect-build {build} to accept it")
        return build

    def verdict_of(self, prompt: Prompt, stored: StoredAnswer, cached: bool) -> Verdict:
        """A kept answer as a verdict; one that was no verdict carries its error."""
        facts = {"raw": stored.raw, "judge_version": stored.build, "seconds": stored.seconds, "cost_usd": stored.cost_usd, "cached": cached}
        if stored.error is not None:
            return Verdict(prompt.perspective, None, error=stored.error, **facts)
        reply = self.parse(prompt, stored.raw)
        return Verdict(prompt.perspective, reply.score, reply.accepted, reply.text, **facts)

    def read(self, prompt: Prompt, completion: Any, seconds: float, unsaid: tuple[int, int]) -> StoredAnswer:
        """The reply in a chat completion as it will be kept: with the reason when it is no verdict, and without the key if it repeats it.

        `unsaid`: (input, output) tokens to count where the server does not say what was used. Raises ValueError for what is no completion.
        """
        try:
            choice, usage = completion["choices"][0], completion.get("usage") or {}
            message, finish_reason = choice["message"], choice.get("finish_reason")
            content, refusal = message.get("content"), message.get("refusal")
            sent, received = usage.get("prompt_tokens"), usage.get("completion_tokens")
            build = str(completion.get("model") or "")
        except (AttributeError, LookupError, TypeError) as error:
            raise ValueError("no completion in it") from error
        if not isinstance(content, str | None) or not isinstance(refusal, str | None):
            raise ValueError("no text in it")
        if not isinstance(sent, int) or not isinstance(received, int):
            sent, received = unsaid
        raw = self.endpoint.clean(content or refusal or "")
        error = None
        if refusal or finish_reason == "content_filter":
            error = "the judge refused to answer"
        else:
            try:
                self.parse(prompt, raw)
            except JudgeReplyError as fault:
                error = f"{fault} (cut at {self.settings.max_reply_tokens} tokens)" if finish_reason == "length" else str(fault)
        return StoredAnswer(self.name, self.settings.model, prompt.task, prompt.perspective, raw,
                            self.endpoint.clean(build), sent, received, self.price.cost(sent, received), seconds, utc_now(), error)

    # -- the public calls -----------------------------------------------------------------------------------------------------

    def score_all(self, asks: Iterable[Ask], task: str, on_verdicts: Callable[[Ask, Verdicts], None]) -> Tally:
        """Judge many edits with `concurrency` requests in flight; `on_verdicts` hears of each edit once, in order.

        A used-up budget ends the run with `Tally.stopped`; edits answered by halves then are not reported, and their answers are kept.
        Raises ServiceError when asking on is useless; what was answered until then has been reported and kept.
        """
        checked_task(task)
        tally = Tally(cost_usd=0.0 if self.price.cost(0, 0) is not None else None)
        if self.fill_cache is None:
            return asyncio.run(_Run(self, task, on_verdicts, tally).over(asks))
        asks = list(asks) if isinstance(asks, Iterator) else asks           # they are gone through twice
        stopped = self.fill_cache(self, asks, task, tally)
        return asyncio.run(_Run(self, task, on_verdicts, tally, is_offline=True, budget_over=stopped).over(asks))

    def forecast(self, asks: Iterable[Ask], task: str) -> Forecast:
        """What judging would send and cost now. Picture files are read to know which answers are kept; drawn ones are not drawn."""
        edits = requests = cached = tokens = 0
        for ask in asks:
            edits += 1
            known: list[str] = []
            if not callable(ask.original) and not callable(ask.edited):
                with suppress(ImageError):      # a broken picture is reported when its turn comes
                    original, edited = JudgePicture(ask.original, ask.item), JudgePicture(ask.edited, ask.item)
                    known = [question.key for question in self.questions(task, ask.instruction, original, edited, ask.repeat)]
            for index, perspective in enumerate(PERSPECTIVES):
                if known and known[index] in self.cache:
                    cached += 1
                else:
                    requests += 1
                    tokens += self.expected_tokens(self.prompts[task, perspective], ask.instruction)
        output = requests * REPLY_TOKENS
        seconds = requests * REPLY_SECONDS / self.settings.concurrency
        return Forecast(edits, requests, cached, tokens, output, self.price.cost(tokens, output), seconds)

    def expected_tokens(self, prompt: Prompt, instruction: str) -> int:
        """Input tokens that a question will take, as far as can be known."""
        return expected_tokens(prompt, instruction, self.settings.fence, self.settings.picture_size, self.settings.model)


class _Run:
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
                    await self.report(*open_edits.popleft())
            while open_edits:
                await self.report(*open_edits.popleft())
        except (asyncio.CancelledError, KeyboardInterrupt):
            self.stopped = "interrupted"        # what is in flight is paid for: wait for it and keep it
            await asyncio.gather(*(task for _, task in open_edits), return_exceptions=True)
            raise
        finally:
            self.stopped = self.stopped or "over"
            for _, task in open_edits:
                task.cancel()
            await asyncio.gather(*(task for _, task in open_edits), return_exceptions=True)
            await self.client.close()
        if self.fatal:
            raise self.fatal
        self.tally.stopped = None if self.stopped == "over" else self.stopped
        return self.tally

    async def report(self, ask: Ask, task: asyncio.Task) -> None:
        try:
            verdicts = await asyncio.shield(task)
        except _Stopped:
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
            self.fatal = self.fatal or error
            raise _Stopped from error
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
            self.fatal = self.fatal or error
            raise

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
            raise _Stopped
        if self.is_offline:
            return Verdict(question.prompt.perspective, None, error="the batch brought no answer")
        attempts = asked = 0
        paid: list[StoredAnswer] = []
        while True:
            try:
                stored = await self.request(question, pictures, asked)
            except TryAgain as trouble:
                attempts += 1
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
                self.cache.put(question.key, stored)
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

    async def wait(self, trouble: TryAgain, attempts: int) -> None:
        """As long as the server asked, or twice as long each time. A throttled run holds back all requests, not this one alone."""
        pause = trouble.pause(attempts)
        if trouble.is_throttled and trouble.wait is not None:
            self.paused_until = max(self.paused_until, time.monotonic() + pause)
        await asyncio.sleep(pause)

    async def request(self, question: Question, pictures: tuple[bytes, bytes], asked: int) -> StoredAnswer:
        """Send one request and return its reply, verdict or not. Raises TryAgain, Unanswered, Fatal or _Stopped."""
        async with self.calls:
            while (pause := self.paused_until - time.monotonic()) > 0:
                await asyncio.sleep(pause)
            await self.turn()
            ticket = await self.ticket(question)
            used = (0, 0)
            started = time.perf_counter()
            try:
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
                raise meaning from (None if meaning is error else error)
            finally:
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

    async def ticket(self, question: Question) -> int:
        """A place in the budget. What is in flight may turn out cheaper than its reserve, so wait for it before giving up."""
        tokens = self.judge.expected_tokens(question.prompt, question.instruction)
        async with self.money:
            while True:
                if self.stopped or self.fatal:
                    raise _Stopped
                if (ticket := self.budget.reserve(int(tokens * 1.2), self.settings.max_reply_tokens)) is not None:
                    self.in_flight += 1
                    return ticket
                if not self.in_flight:
                    self.stopped = self.budget.reason()
                    self.money.notify_all()
                    raise _Stopped
                await self.money.wait()
