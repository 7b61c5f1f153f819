"""What one running studio owns, and hands to the tabs that draw it. Nothing here is a visitor's: that lives in `gr.State`."""

from __future__ import annotations

import html
import logging
import secrets
import threading
import weakref
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr

from mre.editors.device_queue import DeviceQueue
from mre.editors.kinds import make_editor
from mre.editors.load_options import OWN_WAY, LoadOptions
from mre.editors.names import without_address
from mre.errors import ModelError, MreError, SettingsError
from mre.models.known import default_names
from ui.edit.left import LeftVisits
from ui.judges import LocalJudges
from ui.notices import without_paths
from ui.pictures import PictureShelf
from ui.site.uploads import Caller, Uploads, visit_of

if TYPE_CHECKING:
    from mre.editors.editor import Editor
    from mre.study.store import Store
    from ui.edit.visit import EditVisit
    from ui.site.access import Access

MOST_FOLLOWING = 200          # visitors who may wait at once for an edit that follows a score
log = logging.getLogger("mre.studio")


@dataclass(frozen=True)
class StudioSettings:
    """Flags of `python app.py`."""

    models: tuple[str, ...] = ()        # names, folders or hub ids; the first is shown first; none: those that ship
    judge: str | None = "tiny-judge"    # who scores "judge my edit"; None: nobody
    judge_requests: int = 1500          # that all visitors together may send it while the server runs, three for an edit: the host pays
    data: Path = Path("data")           # where the SQLite file and study pictures live
    database: str | None = None         # SQLAlchemy URL; None: SQLite under `data`
    host: str = "127.0.0.1"
    port: int = 7860
    share: bool = False                 # a public tunnel, only when asked for
    auth: Path | None = None            # accounts and roles; None: all tabs open (a laptop)
    allowed_hosts: tuple[str, ...] = ()         # names that this server answers to beside its own, such as a proxy's
    trusted_proxies: tuple[str, ...] = ()       # addresses whose X-Forwarded headers are believed
    frame_ancestors: tuple[str, ...] = ()       # sites that may show the pages in a frame of theirs
    server_options: Mapping[str, Any] = field(default_factory=dict)     # of editors on servers: key_file, max_requests, budget, price
    loading: LoadOptions = OWN_WAY        # how the weights of models on this machine are loaded

    def __post_init__(self) -> None:
        if self.judge_requests < 0:
            raise SettingsError(f"--judge-requests must be 0 or more, got {self.judge_requests}")


class Studio:
    """Settings and the parts that are opened on first use, once, and shared by all visitors."""

    def __init__(self, settings: StudioSettings, editors: dict[str, Editor] | None = None) -> None:
        """`editors` stand in for those that the settings name."""
        self.settings = settings
        self.queue = DeviceQueue()                         # one edit at a time on the device, whichever model
        self.following = DeviceQueue(MOST_FOLLOWING)       # of edits that follow a score, each with its newest value when its turn comes
        self.shelf = PictureShelf()
        self.uploads = Uploads()
        self.closing = threading.Event()                   # set when the process is to end: what runs stops within a step
        if editors is not None:
            self.editors = editors
            self.queue = self.editor().queue
        self.visits: weakref.WeakValueDictionary[str, EditVisit] = weakref.WeakValueDictionary()    # of the pages that are open
        self.left = LeftVisits(self.uploads)

    @cached_property
    def models(self) -> tuple[str, ...]:
        """Names of the models that can be chosen."""
        return tuple(self.editors)

    @cached_property
    def editors(self) -> dict[str, Editor]:
        """An editor for each model; they load on first use or when `warm` is called, and share one queue of waiting edits.

        A folder is known by its last name alone, a server by its model; where another model has that name already, with a number behind it.
        Raises SettingsError where no model is named and none ships."""
        editors: dict[str, Editor] = {}
        for name in self.settings.models or default_names():
            short = shown = Path(name).resolve().name if Path(name).is_dir() else without_address(name)
            number = 2
            while shown in editors:
                shown, number = f"{short}-{number}", number + 1
            editors[shown] = make_editor(name, queue=self.queue, loading=self.settings.loading, **self.settings.server_options)
        if not editors:
            raise SettingsError("no model ships with this copy of the program; name one with --model")
        return editors

    def editor(self, name: str | None = None) -> Editor:
        """The editor of a model by name; without one, the first. Only models that this studio was started with can be named."""
        if name and name not in self.editors:
            raise SettingsError(f"there is no model {str(name)[:60]!r} here; choose one of {', '.join(self.models)}")
        return self.editors[name or self.models[0]]

    def warm(self, after: float = 0.0) -> None:
        """Load the first model in the background, `after` some seconds: its imports would slow down a page that is being opened."""
        def load() -> None:
            if self.editor().status == "cold":
                self.editor().warm()
        timer = threading.Timer(after, load)
        timer.daemon = True
        timer.start()

    def folders_with(self, file: str, most: int = 200) -> list[str]:
        """Folders below the data folder that hold a file of this name, as their names relative to it: the only folders of the server
        that a visitor can choose from."""
        data = Path(self.settings.data)
        found = sorted({*data.glob(f"*/{file}"), *data.glob(f"*/*/{file}")})[:most] if data.is_dir() else []
        return [path.parent.relative_to(data).as_posix() for path in found]

    @cached_property
    def store(self) -> Store:
        """The database of human-evaluation studies; a new one begins with the demo study, and what killed imports have left goes."""
        from mre.study.demo import ensure_demo
        from mre.study.importer import drop_unfinished
        from mre.study.store import Store
        store = Store.open(self.settings.data, self.settings.database)
        ensure_demo(store)
        threading.Thread(target=drop_unfinished, args=(store,), name="drop unfinished imports", daemon=True).start()
        return store

    @cached_property
    def access(self) -> Access:
        """Who may do what."""
        from ui.site.access import Access
        return Access(self)

    @cached_property
    def judges(self) -> LocalJudges:
        """Judges that can be chosen by name."""
        return LocalJudges(Path(self.settings.data))

    @cached_property
    def judge(self) -> Any:
        """The judge that edits can be shown to, or None when none is configured."""
        if not self.settings.judge:
            return None
        from mre.judge.kinds import make_judge
        return make_judge(self.settings.judge, cache=self.settings.data / "judge-answers.sqlite",
                          max_requests=self.settings.judge_requests, limits_last=True, forgets_reported=True)

    def caller(self, request: Any) -> Caller:
        """Who a request comes from: one of Gradio's, or of the application's."""
        inner = getattr(request, "request", request)
        if inner is None or not hasattr(inner, "cookies"):
            return Caller()
        session = (self.access.session(inner) or {}) if self.access.enabled else {}
        return Caller(str(session.get("account") or session.get("digest") or ""), visit_of(inner),
                      None if inner is request else request.session_hash)

    def close(self) -> None:
        """End what visitors run, within a step."""
        self.closing.set()
        for visit in [*self.visits.values(), *self.left]:
            visit.stop.set()

    def trouble(self, error: Exception) -> str:
        """An error as one line for the page: no path, no stack. Where the log has more than the line, the id under which it has it."""
        expected = isinstance(error, MreError)
        if expected and not (isinstance(error, ModelError) and error.__cause__):
            log.info("%s: %s", type(error).__name__, error)
            return without_paths(str(error))
        ticket = secrets.token_hex(3)
        log.error("[%s] %s", ticket, error if expected else "unexpected", exc_info=error)
        return f"{without_paths(str(error))} (id {ticket})" if expected else f"Unexpected error, log id {ticket}."

    def error(self, error: Exception) -> gr.Error:
        """The same as an error that Gradio shows; its text may come from a visitor, so it is escaped."""
        return gr.Error(html.escape(self.trouble(error), quote=False), duration=8, print_exception=False)
