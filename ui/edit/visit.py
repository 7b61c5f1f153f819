"""What one visitor is doing in the Edit tab. It lives in `gr.State`, and ends with the tab: see `enter` and `leave`."""

from __future__ import annotations

import math
import secrets
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import gradio as gr

from ui.edit.job import Job
from ui.edit.left import place_of
from ui.edit.steps import Steps

if TYPE_CHECKING:
    from PIL import Image

    from mre.editors.editor import EditResult
    from mre.editors.settings import EditSettings
    from mre.recipes import Recipe
    from mre.sweep import Cell, Sweep
    from ui.edit.views import Change, Kept
    from ui.pictures import PictureShelf
    from ui.studio import Studio

MOST_ENTRIES = 24
LIVE_WAIT = 20.0              # seconds that a run waits for an edit to end that follows a score


@dataclass(frozen=True)
class Entry:
    """One edit of the visit: its files on the shelf, and how it was made."""

    photo: Kept
    picture: Kept
    thumb: str                 # a token
    change: Change             # between the two
    file_name: str
    recipe: Recipe
    model: str
    seconds: float
    rewarded: bool             # whether the model reads any of the reward
    seeded: bool               # and whether another seed gives another picture
    asked: EditSettings        # before the model's defaults were filled in
    source: str                # the upload that was the photo
    live: bool = False         # made because a score moved: the next one takes its place

    @property
    def scores(self) -> str:
        """The scores that were asked for; empty where the model reads none."""
        return self.recipe.reward.shown(" / ") if self.rewarded else ""

    @property
    def tokens(self) -> set[str]:
        """Of all its files."""
        return {self.photo.token, self.photo.view, self.picture.token, self.picture.view, self.thumb}


@dataclass
class SweepCells:
    """A sweep's cells so far, by place."""

    sweep: Sweep
    entries: dict[tuple[int, int, int], Entry] = field(default_factory=dict)
    rows: list[tuple[Cell, EditResult, str]] = field(default_factory=list)          # results without their pictures
    pictures: dict[tuple[int, int, int], Image.Image] = field(default_factory=dict)  # small, for the sheet


@dataclass(eq=False)
class EditVisit:
    """The session's edits, the one that runs, and the pictures to remove when the tab is over."""

    shelf: PictureShelf
    id: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    entries: list[Entry] = field(default_factory=list)          # oldest first
    loaded: dict[str, Any] | None = None                        # the form of a page loaded anew, until it shows again what it showed
    shown: Entry | None = None
    sweep: SweepCells | None = None                             # the last sweep's, for its downloads
    photo: tuple[str, Image.Image | None, Kept] | None = None   # the last one: its upload, its pixels where these are few, and its files
    pair: tuple[Entry, Entry] | None = None                     # the last two models side by side, for a study
    busy: threading.Lock = field(default_factory=threading.Lock)
    stop: threading.Event = field(default_factory=threading.Event)
    replaced: set[str] = field(default_factory=set)             # files of the edit that made room last: its links may still be on the page
    following: bool = False                                     # what is busy follows a score
    newest: EditSettings | None = None                          # of an edit that has not begun and takes the newest score: what it will ask
    closed: bool = False
    place: tuple | None = None                                  # where a page that comes back finds it (`ui.edit.left`)
    session: str | None = None                                  # Gradio's, of the page that shows it
    steps: Steps = field(default_factory=Steps)                 # for undo and redo
    link: dict[str, str] = field(default_factory=dict)          # what the address that filled its form said
    judge: str = ""                                             # who scores its edits, by name; empty: whom the studio has
    job: Job | None = None                                      # the run whose news a page may follow, also after a reload

    def add(self, entry: Entry) -> Entry:
        """Keep an edit; one that was made while a score moved makes room for what comes of it, and the oldest for all."""
        replaced = set()
        if self.entries and self.entries[-1].live and self.entries[-1].source == entry.source:
            replaced = self.entries.pop().tokens
        self.entries.append(entry)
        self.shown = entry
        self.steps.show(entry)
        self.forget(self.replaced - replaced)
        self.replaced = replaced
        while len(self.entries) > MOST_ENTRIES:
            gone = self.entries.pop(0)
            self.forget(gone.tokens)
        return entry

    def moved(self, entry: Entry, source: str) -> Entry:
        """The edit, whose photo is another upload now."""
        place = self.entries.index(entry)
        self.entries[place] = replace(entry, source=source)
        return self.entries[place]

    def begin(self) -> bool:
        """Take `busy` for a run; one that follows a score is short, and waited for. Whether that went well."""
        if not self.busy.acquire(timeout=LIVE_WAIT if self.following else 0):
            return False
        self.stop.clear()
        return True

    def seconds(self, model: str, source: str) -> float:
        """The least that an edit of this photo by this model took; infinite before the first."""
        return min((entry.seconds for entry in self.entries if (entry.model, entry.source) == (model, source)), default=math.inf)

    def forget(self, tokens: set[str]) -> None:
        """Drop files, but for those of the history, of the sweep, and of the photo as it is."""
        cells = self.sweep.entries.values() if self.sweep else ()
        photo = {self.photo[2].token, self.photo[2].view} if self.photo else set()
        self.shelf.drop(*tokens.difference(photo, *(entry.tokens for entry in (*self.entries, *cells))))

    def rest(self) -> None:
        """Its page is gone, perhaps for good: what takes much memory goes, and comes again when it is needed."""
        if self.photo:
            self.photo = self.photo[0], None, self.photo[2]

    def close(self) -> None:
        """Stop what runs and delete what was made."""
        self.closed = True
        self.stop.set()
        self.shelf.drop_owner(self.id)


def visit_of(studio: Studio, visit: EditVisit | None, request: gr.Request) -> EditVisit:
    """The visitor's own visit; a new one for whoever has none yet."""
    if visit is None or visit.closed:
        visit = EditVisit(studio.shelf)
        studio.shelf.reserve(visit.id, studio.caller(request))
    if request and request.session_hash:
        studio.visits[request.session_hash] = visit
        visit.session = request.session_hash
    return visit


def enter(studio: Studio, request: gr.Request, tab: str | None) -> EditVisit:
    """The visit of a page that was just loaded: that of its tab, where there was one, with its uploads; else a new one."""
    caller, session = studio.caller(request), request.session_hash or ""
    place = place_of(caller, tab)
    found = studio.left.take(place)
    if found is None and place:                  # the page before has not been noticed to be gone yet
        found = next((visit for visit in list(studio.visits.values()) if visit.place == place), None)
    if found is None or found.closed:
        found = visit_of(studio, None, request)
        found.place = place
        return found
    for before in [before for before, visit in list(studio.visits.items()) if visit is found]:
        studio.visits.pop(before, None)
    studio.uploads.pass_on(found.session, caller)
    studio.visits[session], found.session = found, session
    return found


def leave(studio: Studio, session: str) -> None:
    """A page is gone: what it showed is kept for a while where its tab may come back and there is anything to come back to."""
    visit = studio.visits.pop(session, None)
    if visit is not None and not visit.closed and visit.place and (visit.entries or visit.busy.locked() or len(visit.steps) > 1):
        studio.left.leave(visit)
        return
    if visit is not None:
        visit.close()
    studio.uploads.drop_session(session)


def file_name(result: EditResult, rewarded: bool) -> str:
    """A name that says when and how: date, seed, and scores where the model reads them."""
    from datetime import datetime
    scores = result.settings.reward.shown("-")
    return f"{datetime.now():%Y%m%d-%H%M%S}-seed{result.settings.seed}" + (f"-reward{scores}" if rewarded else "") + ".png"
