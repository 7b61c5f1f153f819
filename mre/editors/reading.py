"""How an editor that knows a closed list of requests read an instruction. Editors of an open vocabulary give none."""

from __future__ import annotations

from dataclasses import dataclass

MOST_QUOTED = 80            # characters of what was typed that a line says again


@dataclass(frozen=True)
class Reading:
    """What an editor makes of an instruction before it edits: a request in its own words, or why there is none."""

    instruction: str                    # as it was typed
    understood: str = ""                # what is asked of the model, in words that it knows; empty: nothing, and the photo is left alone
    fault: str = ""                     # where nothing is understood, or nothing can be done: a key of FAULTS
    nearest: tuple[str, ...] = ()       # requests that it knows and that come nearest, in its own words
    confidence: float = 1.0             # 0 to 1, in the reading
    absent: str = ""                    # with the fault "absent": what is not in the picture

    def __post_init__(self) -> None:
        if bool(self.understood) == bool(self.fault) or (self.fault and self.fault not in FAULTS):
            raise ValueError(f"a reading is understood or has one of the faults {', '.join(FAULTS)}: {self.understood!r}, {self.fault!r}")

    @property
    def quoted(self) -> str:
        """What was typed, shortened."""
        text = self.instruction
        return text if len(text) <= MOST_QUOTED else text[:MOST_QUOTED - 1] + "…"

    @property
    def line(self) -> str:
        """One line for a terminal or a log, in English."""
        if self.understood:
            return f"understood: {self.understood}"
        line = FAULTS[self.fault].format(text=self.quoted, absent=self.absent)
        return f"{line}; nearest that I know: {' / '.join(self.nearest)}" if self.nearest else line


FAULTS = {
    "unknown": "did not understand '{text}'",
    "several": "several requests in one: '{text}'; ask for one at a time",
    "wordless": "no words in '{text}'",
    "absent": "found no {absent} such as it knows in the picture: '{text}'",
    "script": "cannot read '{text}': it reads English and Chinese",
}
