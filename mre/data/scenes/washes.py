"""What happened to the colours around an edit, measured on soft pictures: a wash towards one colour, or an uneven gain of the channels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from mre.data.scenes.defects import BLOTCHES, HUES, PARTS, Form, drift_of, part_of
from mre.data.scenes.looks import Array

FEWEST = 24          # places of the soft picture from which a wash can be measured
RIDGE = 0.02         # keeps a wash small where the colours behind it are all alike
CLOSEST = 2          # washes towards a colour that are followed up
FORMS = tuple(Form(part=part) for part in PARTS if part != "blotches") + tuple(Form(part="blotches", blotch=n) for n in range(BLOTCHES))


@dataclass(frozen=True)
class Wash:
    """`kind` of defects.PHOTOMETRIC in a `form`, and the function that gives the change of a picture, (H, W, 3), where `outside` says."""

    kind: str
    form: Form
    change: Callable[[Array, Array], Array]


@cache
def parts(side: int) -> Array:
    """(forms, side * side): where each form lies, on soft pictures."""
    return np.stack([np.broadcast_to(part_of(side, form), (side, side)).ravel() for form in FORMS])


def washes(picture: Array, original: Array, where: Array) -> list[Wash]:
    """The likeliest ones.

    picture, original: (h, w, 3), soft
    where:    (h, w) bool, outside the edit
    """
    if where.sum() < FEWEST:
        return []
    b, d = original[where], (picture - original)[where]                     # (N, 3)
    found = towards_a_colour(parts(len(picture))[:, where.ravel()], b, d)
    side = len(picture)
    planes = np.stack([drift_of(side, tuple(np.eye(9)[row]))[..., 0][where] for row in range(3)], axis=1)      # (N, 3)
    gains = []
    for channel in range(3):
        columns = planes * b[:, channel:channel + 1]
        gains.append(np.linalg.solve(columns.T @ columns + RIDGE * np.eye(3), columns.T @ d[:, channel]))
    drift = tuple(float(value) for row in gains for value in row)
    return [*found, Wash("uneven", Form(drift=drift), lambda p, outside: p * drift_of(len(p), drift) * outside[..., None])]


def towards_a_colour(w: Array, b: Array, d: Array) -> list[Wash]:
    """
    w: (F, N) where each form lies; b, d: (N, 3) the original's colours and how they changed
    Least squares of d = w (k - s b) over a colour k, (3,), and a share s, for each form; the forms that leave least.
    """
    system, right = np.zeros((len(w), 4, 4)), np.zeros((len(w), 4))
    squares = w * w
    system[:, range(3), range(3)] = squares.sum(1, keepdims=True)
    system[:, :3, 3] = system[:, 3, :3] = -squares @ b
    system[:, 3, 3] = squares @ (b * b).sum(1)
    right[:, :3] = w @ d
    right[:, 3] = -(w @ (b * d).sum(1))
    system[:, range(4), range(4)] += RIDGE
    solved = np.linalg.solve(system, right[..., None])[..., 0]               # (F, 4)
    left = [float(((d - w[f][:, None] * (solved[f, :3] - solved[f, 3] * b)) ** 2).sum()) for f in range(len(w))]
    return [_wash(FORMS[f], solved[f].astype(np.float32), b[w[f] > 0.5] if (w[f] > 0.5).any() else b) for f in np.argsort(left)[:CLOSEST]]


def _wash(form: Form, solved: Array, behind: Array) -> Wash:
    colour, share = solved[:3], solved[3]
    change = (colour - share * behind).mean(0)
    goal = colour / share if share > 0.04 else 0.5 + change / (2 * max(float(np.abs(change).max()), 1e-6))
    kind, hue = named_after(np.clip(goal, 0, 1))
    made = Form(hue=hue, part=form.part, blotch=form.blotch)
    return Wash(kind, made, lambda p, outside: (colour - share * p) * (outside * part_of(len(p), made))[..., None])


def named_after(colour: Array) -> tuple[str, str]:
    """(kind, hue): what a wash towards this colour is called."""
    hue = max(HUES, key=lambda name: float(_chroma(np.asarray(HUES[name])) @ _chroma(colour)))
    if np.ptp(colour) > 0.25:
        return "tinted", hue
    light = float(colour.mean())
    return ("darkened" if light < 0.3 else "brightened" if light > 0.95 else "faded"), hue


def _chroma(colour: Array) -> Array:
    """Direction of a colour away from grey."""
    away = colour - colour.mean()
    return away / max(float(np.linalg.norm(away)), 1e-6)
