"""A guesser of side orders: it has read this program's source, and has everything that one annotator's browser ever got.

`Seen` is what the browser got on one visit. `guesses` are many ways of telling each screen's side order from it: the draws of public
seeds, tokens, lengths, bytes, headers, times, looks. `looks_first` says which look is the first method's, from those draws: an annotator
sees looks, and so knows all sides once they know that.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import io
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import httpx
import numpy as np
from fastapi import FastAPI
from PIL import Image
from scipy import stats

SEEDS = range(4)
SCORES = [[1, 2, 3], [4, 5, 0]]
ALPHA = 1e-3                # that any of all guesses is called better than chance though none is


@dataclass
class Screen:
    told: dict                                          # the screen as the browser was given it
    pictures: list[httpx.Response]                      # original, Edited Image 1 and 2
    progress: dict


@dataclass
class Seen:
    """One visit."""

    study: str
    label: str = ""
    screens: list[Screen] = field(default_factory=list)


def visited(app: FastAPI, study: str) -> Seen:
    """A whole visit by an annotator who scores everything, and what their browser got on it."""
    return asyncio.run(_visited(app, study))


async def _visited(app: FastAPI, study: str) -> Seen:
    seen = Seen(study)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost") as http:
        async def call(action: str, **body) -> dict:
            reply = await http.post(f"/study/api/{action}", json={"study": study, **body}, headers={"X-Study": "1"})
            assert reply.status_code == 200, (action, reply.text)
            return reply.json()

        seen.label = (await call("enter", consent=True, language="en"))["me"]["label"]
        work = await call("work")
        while shown := work["current"]:
            pictures = [await http.get(f"/study/p/{study}/{token}") for token in shown["pictures"]]
            seen.screens.append(Screen(shown, pictures, work["progress"]))
            work = await call("submit", screen=shown["screen"], key=f"key-{len(seen.screens):06d}", revision=0, scores=SCORES, comment="")
    return seen


def guesses(seen: Seen) -> Iterator[tuple[str, list[int]]]:
    """Side orders of all screens, by each way of telling them."""
    count = len(seen.screens)
    for name, draw in _draws(seen):
        yield f"drawn from {name}", [draw(number) for number in range(1, count + 1)]
    joined = int("0" + "".join(char for char in seen.label if char.isdigit()))
    for name, bit in (("always one", lambda place: 0), ("every other", lambda place: place), ("by twos", lambda place: place // 2),
                      ("label", lambda place: joined), ("label and every other", lambda place: joined + place)):
        yield name, [bit(place) % 2 for place in range(count)]
    yield "look", [_smooth(screen) for screen in seen.screens]
    columns = [dict(_bits(screen)) for screen in seen.screens]
    for name in columns[0]:
        yield name, [column[name] for column in columns]


def looks_first(seen: Seen) -> Iterator[tuple[str, int]]:
    """Which look the first method has (0: the smooth one), as each draw tells."""
    smooth = [_smooth(screen) for screen in seen.screens]
    for name, draw in _draws(seen):
        yield name, _first_look(draw, smooth)


def _first_look(draw: Callable[[int], int], smooth: list[int]) -> int:
    """0 when the smooth look is the first method's: then the draw explains the sides it was seen on with fewer screen numbers left out."""
    used = []
    for first in range(2):
        number = 0
        for second in smooth:
            number = next(later for later in range(number + 1, number + 5) if draw(later) == second ^ first)
        used.append(number)
    return int(used[1] < used[0])


def _draws(seen: Seen) -> Iterator[tuple[str, Callable[[int], int]]]:
    """The published rule for side orders, worked with everything public in the secret's place."""
    for key, key_name in (*((seed, f"seed {seed}") for seed in SEEDS), (seen.study, "the study's id"), (seen.label, "the label")):
        for who, who_name in ((seen.label, "the label"), (seen.study, "the study's id")):
            yield f"{key_name} and {who_name}", partial(_public, key, who)
            yield f"{key_name} as a secret and {who_name}", partial(_keyed, key, who)


def _public(seed: object, annotator: str, screen: int) -> int:
    block, second = divmod(screen - 1, 2)
    digest = hashlib.sha256(f"side/{seed}/{annotator}/{block}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") + second) % 2


def _keyed(secret: object, annotator: str, screen: int) -> int:
    block, second = divmod(screen - 1, 2)
    digest = hmac.new(str(secret).encode(), f"side/{annotator}/{block}".encode(), "sha256").digest()
    return (int.from_bytes(digest[:8], "big") + second) % 2


def _bits(screen: Screen) -> Iterator[tuple[str, int]]:
    _original, first, second = screen.pictures
    names = ("screen", "original", "first", "second")
    tokens = (screen.told["screen"], *screen.told["pictures"])
    for name, token in zip(names, tokens, strict=True):
        yield f"first letter of the {name} token", ord(token[0]) % 2
        yield f"last letter of the {name} token", ord(token[-1]) % 2
        yield f"digest of the {name} token", hashlib.sha256(token.encode()).digest()[0] % 2
    for one, two in ((0, 1), (1, 2), (2, 3), (1, 3)):
        yield f"{names[one]} token before {names[two]} token", int(tokens[one] < tokens[two])
    yield "instruction", hashlib.sha256(screen.told["instruction"].encode()).digest()[0] % 2
    for name in ("done", "total"):
        yield f"progress: {name}", screen.progress[name] % 2
    yield "headers", int(_headers(first) < _headers(second))
    yield "length", int(len(first.content) < len(second.content))
    yield "bytes", int(first.content < second.content)
    yield "time", int(first.elapsed < second.elapsed)
    measures = [_measures(reply.content) for reply in (first, second)]
    for name in measures[0]:
        yield f"picture: {name}", int(measures[0][name] < measures[1][name])


def _headers(reply: httpx.Response) -> str:
    return str(sorted((name, value) for name, value in reply.headers.items() if name != "date"))


def _measures(png: bytes) -> dict[str, object]:
    """What can be read off a PNG without looking at it."""
    place, chunks = 8, []
    while place < len(png):
        length, kind = struct.unpack(">I4s", png[place:place + 8])
        chunks.append((kind, length))
        place += 12 + length
    data = sum(length for kind, length in chunks if kind == b"IDAT")
    return {"chunks": len(chunks), "data": data, "rest": len(png) - data, "checksum": zlib.crc32(png),
            "zeros": len(png[:-12]) - len(png[:-12].rstrip(b"\0"))}


def _smooth(screen: Screen) -> int:
    """0 when the smoother picture is Edited Image 1."""
    spreads = [np.asarray(Image.open(io.BytesIO(reply.content)), dtype=float).std(axis=(0, 1)).sum() for reply in screen.pictures[1:]]
    return int(spreads[0] > spreads[1])


def chance(hits: int, tries: int) -> float:
    """How likely pure guessing is to be as far from half right, either way. Screens come in twos of opposite sides, so that two tries may
    be one: half of them are counted."""
    half, right = tries // 2, hits / 2
    far = abs(right - half / 2)
    return float(min(1.0, stats.binom.cdf(half / 2 - far, half, 0.5) + stats.binom.sf(half / 2 + far - 1e-9, half, 0.5)))
