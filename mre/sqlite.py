"""What SQLite leaves to those who use it."""

from __future__ import annotations

import sqlite3
import time


def switch_to_wal(connection: sqlite3.Connection, seconds: float) -> None:
    """Readers beside one writer from now on. Waits for another process that is making the same new file, which SQLite, whatever its
    timeout, does not do here. Raises sqlite3.OperationalError when the file is still locked after so many seconds."""
    give_up = time.monotonic() + seconds
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > give_up:
                raise
            time.sleep(0.05)
