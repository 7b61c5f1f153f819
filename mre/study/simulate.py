"""Simulated annotators, to try a study's design before paying for it; and how many it takes to find a difference.

A simulated annotator is given what a person would be (the same leases, repeats and checks) and scores it from a drawn truth:
each edit has a true score per perspective; the annotator adds a bias of their own, noise that grows with fatigue, and rounds to 0..5.
An attentive one notices attention checks; a careless one scores at random. They score a copy of the study that no person can join, and
are marked wherever they are shown. The copy's order is drawn from the design's public seed: there is nobody to hide it from, and one
seed gives one result.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np
import sqlalchemy as sa
from sqlalchemy import Connection

from mre.errors import StudyError
from mre.rewards import PERSPECTIVES
from mre.study import events, leases, queries, visit
from mre.study.answers import Answer
from mre.study.cells import SIMULATED_LABEL
from mre.study.schema import annotators, assignments, insert_row, items, methods, pairs, studies
from mre.study.studies import close, simulated_copy

if TYPE_CHECKING:
    from mre.study.records import Study
    from mre.study.store import Store

Truth = Mapping[tuple[str, str], Sequence[float]]         # (item, method) -> true scores, in the order of PERSPECTIVES
BATCH = 40              # screens in one transaction
SECONDS_PER_SCREEN = 25.0


@dataclass(frozen=True)
class Crowd:
    """How simulated annotators behave. Scores are on the 0-5 scale; the paper gives no such figures, so these are ours."""

    annotators: int = 10
    seed: int = 0
    gap: tuple[float, float, float] = (0.25, 0.28, 0.15)       # last method over first, per perspective; the paper's Table 3
    level: tuple[float, float, float] = (3.09, 3.18, 2.58)     # of the first method; the paper's Table 3
    item_spread: float = 1.0        # standard deviation of true scores between items
    edit_spread: float = 0.6        # between the methods' edits of one item
    noise: float = 0.8              # of one score
    bias: float = 0.3               # between annotators
    fatigue: float = 0.2            # noise grows by this share over 100 screens
    careless: float = 0.1           # share of annotators who score at random
    skip: float = 0.01              # share of screens skipped

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            low, high = {"annotators": (1, 5000), "seed": (0, 2**53), "careless": (0, 1), "skip": (0, 1), "gap": (-5, 5),
                         "level": (-5, 5)}.get(field.name, (0, 5))         # the others are spreads
            for number in value if isinstance(value, tuple) else (value,):
                if not low <= number <= high:
                    raise StudyError(f"{field.name} must be from {low} to {high}, got {number}")


class _Time:
    """The simulated annotators' clock: it jumps from screen to screen."""

    def __init__(self, start_ms: int) -> None:
        self.now = start_ms

    def __call__(self) -> int:
        return self.now


def simulate(store: Store, name: str, crowd: Crowd, on_screen: Callable[[int], object] | None = None, by: str = "researcher",
             truth: Truth | None = None) -> tuple[Study, int]:
    """Let simulated annotators score a copy of a study, until nothing is left for them. Returns the copy and the screens answered.

    The study itself stays as it is, whatever its state. The copy is marked as simulated, no person can join it, and it is closed when
    this returns or fails.

    truth: true scores by item and method, where they are known; without it they are drawn as the crowd says
    """
    copy = simulated_copy(store, name, by)
    try:
        screens = _Simulation(store.sibling(_Time(store.clock())), copy, crowd, truth).run(on_screen)
    finally:
        copy = close(store, copy.name, by)
    return copy, screens


class _Simulation:
    """Annotators who work side by side: each looks at a screen for a while, answers it, and is given the next."""

    def __init__(self, store: Store, study: Study, crowd: Crowd, truth: Truth | None = None) -> None:
        self.store, self.study, self.crowd = store, study, crowd
        self.rng = np.random.default_rng(crowd.seed)
        self.truth = self._draw_truth() if truth is None else self._known_truth(truth)
        self.careless = self.rng.permutation(crowd.annotators) < round(crowd.careless * crowd.annotators)
        self.biases = self.rng.normal(0, crowd.bias, (crowd.annotators, len(PERSPECTIVES)))
        self.held: dict[int, tuple[sa.Row, float]] = {}         # by annotator's number: the screen, and seconds looked at it

    def _draw_truth(self) -> dict[tuple[int, int | None], np.ndarray]:
        """True scores (3,) by item and method; the original as an edit follows nothing, preserves all."""
        with self.store.read() as connection:
            item_ids, method_ids = (
                connection.execute(sa.select(table.c.id).where(table.c.study_id == self.study.id).order_by(table.c.position))
                .scalars().all() for table in (items, methods))
        steps = np.linspace(0, 1, len(method_ids))
        truth = {}
        for item in item_ids:
            own = self.rng.normal(0, self.crowd.item_spread, 3)
            truth[item, None] = np.array([0.0, 5.0, 4.5])
            for method, step in zip(method_ids, steps, strict=True):
                truth[item, method] = (np.array(self.crowd.level) + step * np.array(self.crowd.gap) + own
                                       + self.rng.normal(0, self.crowd.edit_spread, 3))
        return truth

    def _known_truth(self, known: Truth) -> dict[tuple[int, int | None], np.ndarray]:
        """The same, from true scores by name. Raises StudyError for an edit that has none."""
        with self.store.read() as connection:
            item_names, method_names = (dict(connection.execute(sa.select(table.c.id, table.c.name).where(
                table.c.study_id == self.study.id)).all()) for table in (items, methods))
        truth: dict[tuple[int, int | None], np.ndarray] = {}
        for item, item_name in item_names.items():
            truth[item, None] = np.array([0.0, 5.0, 5.0])
            for method, method_name in method_names.items():
                if (item_name, method_name) not in known:
                    raise StudyError(f"there is no true score of {method_name} of {item_name}")
                truth[item, method] = np.array(known[item_name, method_name], dtype=float)
        return truth

    def run(self, on_screen: Callable[[int], object] | None) -> int:
        self.people = [self._join(number) for number in range(self.crowd.annotators)]
        began, answered = self.store.clock(), 0
        queue = [(began + number, number) for number in range(len(self.people))]       # (when, who) is free for the next screen
        idle: list[int] = []                                                           # who found nothing; a skip may bring them back
        while queue:
            with self.store.write() as connection:
                self.store.lock(connection, studies, self.study.id)
                for _ in range(BATCH):
                    if not queue:
                        break
                    self.store.clock.now, number = heapq.heappop(queue)
                    done, skipped = self._answer_held(connection, number)
                    answered += done
                    if skipped:
                        for waiting in idle:
                            heapq.heappush(queue, (self.store.clock.now, waiting))
                        idle.clear()
                    seconds = self._take_next(connection, number)
                    if seconds is None:
                        idle.append(number)
                    else:
                        heapq.heappush(queue, (self.store.clock.now + math.ceil(1000 * seconds), number))
            if on_screen:
                on_screen(answered)
        return answered

    def _join(self, number: int) -> visit.Annotator:
        label = f"{SIMULATED_LABEL}{number + 1:03d}"
        with self.store.write() as connection:
            now = self.store.clock()
            found = insert_row(connection, annotators, study_id=self.study.id, label=label, language="en", joined_at=now, consented_at=now,
                               simulated=True)
            events.record(connection, self.study.id, now, label, "join", {"simulated": True})
            return visit.annotator_of(connection, found)

    def _answer_held(self, connection: Connection, number: int) -> tuple[bool, bool]:
        """Answer the screen that the annotator has looked at. Returns whether an answer was stored, and whether it was a skip."""
        if number not in self.held:
            return False, False
        row, seconds = self.held.pop(number)
        given = self._answer(number, row, seconds)
        try:
            visit.answer_within(self.store, connection, self.people[number], row.token, given)
        except visit.NotYours:              # a lease shorter than the look at the screen; somebody else has it now
            return False, False
        return True, given.skip_reason is not None

    def _take_next(self, connection: Connection, number: int) -> float | None:
        """Give the annotator their next screen. Returns the seconds that they will look at it; None when nothing is left for them."""
        person = self.people[number]
        found = leases.claim(connection, self.study, person.id, person.label, self.store.clock(), pictures=False)
        if found is None:
            return None
        row = connection.execute(sa.select(assignments, *queries.pair_columns).join(pairs, pairs.c.id == assignments.c.pair_id)
                                 .where(assignments.c.id == found)).one()
        seconds = max(0.001, self.study.design.min_seconds, self.rng.gamma(4, SECONDS_PER_SCREEN / 4))
        self.held[number] = row, seconds
        return seconds

    def _answer(self, number: int, row: sa.Row, seconds: float) -> Answer:
        key = f"simulated-{row.id:08d}"
        if self.rng.random() < self.crowd.skip:
            return Answer(key, 0, skip_reason="unclear", active_ms=int(seconds * 1000))
        if self.careless[number]:
            scores = self.rng.integers(0, 6, (2, 3))
        else:
            noise = self.crowd.noise * (1 + self.crowd.fatigue * row.screen / 100)
            shown = queries.shown_methods(self.study.order, self.people[number].label, row)
            seen = np.array([self.truth[row.item_id, method] for method in shown])                      # (2, 3)
            error = self.biases[number] + self.rng.normal(0, noise, (2, 3))
            if row.kind == "identical":                         # who looks sees that it is one picture twice
                error[1] = error[0]
            elif row.kind == "original":                        # and that nothing was edited
                error[[method is None for method in shown]] = 0
            scores = np.clip(np.rint(seen + error), 0, 5).astype(int)
        given = tuple((int(following), int(preserving), int(quality)) for following, preserving, quality in scores)
        return Answer(key, 0, given, active_ms=int(seconds * 1000))


# ------------------------------------------------------------------------------------------------------------------ power


