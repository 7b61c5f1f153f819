"""A vision-language model behind an OpenAI-compatible address, asked with the paper's prompts: GPT-4o, or one on a server of one's own."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

from mre.errors import ImageError, JudgeReplyError
from mre.judge.openai_run import JudgeRun
from mre.judge.pictures import JudgePicture, encoded_pair
from mre.judge.prompts import Prompt, PromptSet, paper_prompts
from mre.judge.question_tokens import REPLY_SECONDS, REPLY_TOKENS, expected_tokens
from mre.judge.replies import Reply, parse_evaluation, parse_reward
from mre.judge.settings import JudgeSettings, Question
from mre.judge.verdicts import Ask, Tally, Verdict, Verdicts, checked_task
from mre.paid.budget import Budget, Forecast, Limits, price_of
from mre.paid.cache import AnswerCache, StoredAnswer, answer_key, utc_now
from mre.paid.connection import Endpoint, Fatal
from mre.rewards import PERSPECTIVES

FillCache = Callable[["OpenAIJudge", Iterable[Ask], str, Tally], str | None]       # puts answers into the cache; why it stopped early


class OpenAIJudge:
    """Asks a model, keeps every paid answer, stays within the budget, and goes on where it was cut."""

    is_paid = True
    perspectives = PERSPECTIVES

    def __init__(self, settings: JudgeSettings, endpoint: Endpoint, cache: AnswerCache | None = None, limits: Limits | None = None,
                 prompts: PromptSet | None = None, price_input: float | None = None, price_output: float | None = None,
                 fill_cache: FillCache | None = None, limits_last: bool = False, may_repeat: bool = False,
                 forgets_reported: bool = False) -> None:
        """
        fill_cache        another way to the same answers, which are read from the cache then, such as batches
        limits_last       the limits hold for all calls together, not for each; calls may then come from several threads
        may_repeat        ask again what was perhaps paid: by someone's wish, or because the server charges once for it
        forgets_reported  who was told that an answer is perhaps paid, and asks for it once more, has agreed to that
        """
        self.settings, self.endpoint = settings, endpoint
        self.cache = cache if cache is not None else AnswerCache(None)
        self.prompts = prompts or paper_prompts()
        self.limits = limits or Limits()
        self.price = price_of(settings.model, endpoint.is_own_server, price_input, price_output, fill_cache is not None)
        self.fill_cache = fill_cache
        self.may_repeat = may_repeat or self.price.cost(1, 1) == 0
        self.forgets_reported = forgets_reported
        self.under_way: set[str] = set()                # keys of requests that are out now: their notes are no older run's
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

    def perhaps_paid(self, key: str) -> str | None:
        """Why an answer is not asked for: it was before, nobody knows what became of it, and it is not to be asked for again."""
        if self.may_repeat or key in self.under_way or (before := self.cache.asked_at(key)) is None:
            return None
        return f"perhaps paid: {self.endpoint.host} was asked for this at {before}, and no answer was kept; {self.how_to_repeat}"

    @property
    def how_to_repeat(self) -> str:
        return "judge again to ask again" if self.forgets_reported else "--ask-again asks again"

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
            return asyncio.run(JudgeRun(self, task, on_verdicts, tally).over(asks))
        asks = list(asks) if isinstance(asks, Iterator) else asks           # they are gone through twice
        stopped = self.fill_cache(self, asks, task, tally)
        return asyncio.run(JudgeRun(self, task, on_verdicts, tally, is_offline=True, budget_over=stopped).over(asks))

    def forecast(self, asks: Iterable[Ask], task: str) -> Forecast:
        """What judging would send and cost now. Picture files are read to know which answers are kept; drawn ones are not drawn."""
        edits = requests = cached = tokens = perhaps_paid = 0
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
                elif known and self.perhaps_paid(known[index]):
                    perhaps_paid += 1
                else:
                    requests += 1
                    tokens += self.expected_tokens(self.prompts[task, perspective], ask.instruction)
        output = requests * REPLY_TOKENS
        seconds = requests * REPLY_SECONDS / self.settings.concurrency
        return Forecast(edits, requests, cached, tokens, output, self.price.cost(tokens, output), seconds, perhaps_paid)

    def expected_tokens(self, prompt: Prompt, instruction: str) -> int:
        """Input tokens that a question will take, as far as can be known."""
        return expected_tokens(prompt, instruction, self.settings.fence, self.settings.picture_size, self.settings.model)
