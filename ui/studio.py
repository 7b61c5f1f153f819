"""What one running studio owns, and hands to the tabs that draw it. Nothing here is a visitor's: that lives in `gr.State`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class StudioSettings:
    """Flags of `python app.py`."""

    models: tuple[str, ...] = ("tiny", "tiny-baseline")     # names, folders or hub ids; the first is shown first
    judge: str | None = None            # name of a judge for "judge my edit" and the research tab
    data: Path = Path("data")           # where the SQLite file and study pictures live
    database: str | None = None         # SQLAlchemy URL; None: SQLite under `data`
    host: str = "127.0.0.1"
    port: int = 7860
    share: bool = False                 # a public tunnel, only when asked for
    auth: Path | None = None            # accounts and roles; None: all tabs open (a laptop)


class Studio:
    """Settings and the parts that are opened on first use, once, and shared by all visitors."""

    def __init__(self, settings: StudioSettings) -> None:
        self.settings = settings
