"""Any judge with its answers kept: what was answered once is read back, and a run that was cut goes on where it was."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass

from mre.errors import ImageError
from mre.judge.pictures import JudgePicture
from mre.judge.verdicts import Ask, Judge, OpenedJudge, Tally, Verdict, Verdicts, checked_task
from mre.paid.cache import AnswerCache, StoredAnswer, answer_key, utc_now

EVERYTHING = "all"              # the perspective under which a whole set of verdicts is kept


@dataclass
class _Place:
    """An edit's place in the order of reports, until its verdicts are there."""

    ask: Ask
    key: str | None
    verdicts: Verdicts | None


class KeptAnswers:
    """A judge whose answers are kept. An answer's address is the judge, its version, the task and all that it is shown; edits with a
    perspective that failed are asked again."""

    is_paid = False

    def __init__(self, judge: Judge, cache: AnswerCache) -> None:
        self.judge, self.cache = judge, cache
        self.name, self.version, self.perspectives = judge.name, judge.version, judge.perspectives

    def score_all(self, asks: Iterable[Ask], task: str, on_verdicts: Callable[[Ask, Verdicts], None]) -> Tally:
        """As the judge's own, in the order of `asks`; only what is not kept reaches the judge."""
        checked_task(task)
        places: deque[_Place] = deque()             # in order; those whose verdicts are missing are with the judge
        asked: deque[_Place] = deque()
        known = Tally()

        def report() -> None:
            while places and (verdicts := places[0].verdicts) is not None:
                on_verdicts(places.popleft().ask, verdicts)

        def missing() -> Iterator[Ask]:
            for ask in asks:
                key = self._key(ask, task)
                kept = self.cache.get(key) if key else None
                if kept is None:
                    place = _Place(ask, key, None)
                    places.append(place)
                    asked.append(place)
                    yield ask
                else:
                    verdicts = self._read(kept, task)
                    places.append(_Place(ask, key, verdicts))
                    known.edits += 1
                    known.cached += len(verdicts.verdicts)
                    known.builds[kept.build] += len(verdicts.verdicts)
                    report()

        def heard(_ask: Ask, verdicts: Verdicts) -> None:
            place = asked.popleft()
            place.verdicts = verdicts
            if place.key and not verdicts.errors:
                self.cache.put(place.key, self._stored(verdicts, task))
            report()

        tally = self.judge.score_all(missing(), task, heard)
        tally.edits += known.edits
        tally.cached += known.cached
        tally.builds += known.builds
        return tally

    def _key(self, ask: Ask, task: str) -> str | None:
        """The answer's address; None for pictures that cannot be read, which the judge reports."""
        try:
            original, edited = JudgePicture(ask.original, ask.item).digest, JudgePicture(ask.edited, ask.item).digest
        except ImageError:
            return None
        return answer_key(version=2, judge=self.name, build=self.version, task=task, instruction=ask.instruction, original=original,
                          edited=edited, repeat=ask.repeat, scene=ask.item if ask.scene is not None else "")

    def _stored(self, verdicts: Verdicts, task: str) -> StoredAnswer:
        raw = json.dumps([asdict(verdict) for verdict in verdicts], ensure_ascii=False)
        return StoredAnswer(self.name, self.version, task, EVERYTHING, raw, self.version, 0, 0, 0.0, verdicts.seconds, utc_now())

    def _read(self, kept: StoredAnswer, task: str) -> Verdicts:
        return Verdicts(self.name, task, tuple(Verdict(**{**row, "cached": True}) for row in json.loads(kept.raw)))


def without_keeping(judge: OpenedJudge) -> Judge:
    """A judge that costs nothing, with its answers no longer kept: where each edit is new, a store of them only grows."""
    return judge.judge if isinstance(judge, KeptAnswers) else judge
