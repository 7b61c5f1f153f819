"""Nobody can tell from what an annotator's browser gets which side an edit is on, or which look is which method's."""

from __future__ import annotations

import base64
import io
import random
import secrets
from collections import defaultdict
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import pytest
import sqlalchemy as sa
from fastapi import FastAPI
from PIL import Image

from mre.study import studies
from mre.study.design import Item, StudyDesign
from mre.study.images import rebuild
from mre.study.schema import assignments
from mre.study.schema import studies as study_rows
from mre.study.store import Store
from tests.study import guesser
from tests.study.conftest import NO_RULES
from ui.study.pages.routes import add_routes

STUDIES, PEOPLE, ITEMS = 18, 2, 10       # so many that a guess that is right on every visit stands out; it takes its seconds
pytestmark = pytest.mark.timeout(300)


def picture(rng: np.random.Generator, smooth: bool):
    pixels = rng.integers(0, 256, (1, 1, 3) if smooth else (16, 16, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(np.broadcast_to(pixels, (16, 16, 3)).copy()).save(buffer, "PNG")
    return rebuild(buffer.getvalue())


@pytest.fixture
def store(tmp_path) -> Iterator[Store]:
    """SQLite alone: that every database has the same order is tested with the assignment."""
    opened = Store.open(tmp_path / "data")
    yield opened
    opened.close()


@pytest.fixture(autouse=True)
def drawn_once(monkeypatch):
    """Secrets and tokens as random as ever, but the same in every run, so that chance fails no test from one day to the next."""
    rng = random.Random(2)
    monkeypatch.setattr(secrets, "token_urlsafe", lambda size: base64.urlsafe_b64encode(rng.randbytes(size)).rstrip(b"=").decode())
    monkeypatch.setattr(secrets, "token_hex", lambda size: rng.randbytes(size).hex())


def guessed(store, begun_before: bool) -> tuple[dict[str, list[bool]], dict[str, list[bool]]]:
    """Whether each guess was right: of the side orders, screen by screen, and of which look is the first method's, visit by visit.

    In half of the studies the first method makes the smooth pictures, in the others the second. `begun_before`: their order comes from the
    public seed, as in studies that began before there were secrets.
    """
    rng, app = np.random.default_rng(3), FastAPI()
    add_routes(app, SimpleNamespace(store=store))
    drawn = [(picture(rng, False), (picture(rng, False), picture(rng, True))) for _ in range(ITEMS)]
    sides, looks = defaultdict(list), defaultdict(list)
    for number in range(STUDIES):
        smooth = number % 2
        items = [Item(f"item-{place}", "local", f"make change {place}", original,
                      {"a": edited[not smooth], "b": edited[smooth]})
                 for place, (original, edited) in enumerate(drawn)]
        studies.create_study(store, f"s{number}", StudyDesign(per_pair=PEOPLE, repeats=4, repeat_gap=3, checks=4, **NO_RULES),
                             items, ["a", "b"])
        study = studies.start(store, f"s{number}")
        if begun_before:
            with store.write() as connection:
                connection.execute(study_rows.update().values(order_secret=None))
        for _ in range(PEOPLE):
            seen = guesser.visited(app, study.public_id)
            with store.read() as connection:
                truth = {row.token: row.side_order for row in connection.execute(
                    sa.select(assignments).where(assignments.c.study_id == study.id, assignments.c.kind == "main")) if row.token}
            known = [(place, truth[screen.told["screen"]]) for place, screen in enumerate(seen.screens) if screen.told["screen"] in truth]
            for name, guess in guesser.guesses(seen):
                sides[name] += [guess[place] == order for place, order in known]
            for name, first in guesser.looks_first(seen):
                looks[name].append(first == smooth)
    return sides, looks


def test_a_guesser_with_all_that_a_browser_gets_is_no_better_than_chance(store):
    sides, looks = guessed(store, begun_before=False)
    assert len(sides) + len(looks) > 60
    bound = guesser.ALPHA / (len(sides) + len(looks))
    found = {name: np.mean(right) for name, right in (*sides.items(), *looks.items()) if guesser.chance(sum(right), len(right)) < bound}
    assert not found
    assert len(sides["look"]) == STUDIES * PEOPLE * ITEMS


def test_the_same_guesser_reads_the_order_of_studies_begun_before_it_was_secret(store):
    sides, looks = guessed(store, begun_before=True)
    right = looks["seed 0 and the label"]
    assert np.mean(right) > 0.9
    assert guesser.chance(sum(right), len(right)) < guesser.ALPHA / (len(sides) + len(looks))
