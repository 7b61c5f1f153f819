"""How the page's events run. None of them is for programs: `ui.edit.programs` has their endpoints."""

from __future__ import annotations

from typing import Any

# What answers at once does not go through the queue: an event that joins it just when the session's last one ends can stay without an
# answer (Gradio 6.31 closes the stream of answers then), and a button whose answer never comes is dead.
QUIET: dict[str, Any] = {"queue": False, "api_visibility": "private", "show_progress": "hidden"}
# What reports as it goes on.
QUEUED: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "concurrency_limit": 40, "trigger_mode": "once"}
AFTER_UPLOAD = "after-upload"       # class of buttons that cannot be pressed while a file is on its way (`assets/uploads.js`)
