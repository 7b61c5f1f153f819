"""How the page's events run. None of them is for programs: `ui.edit.programs` has their endpoints."""

from __future__ import annotations

from typing import Any

# Nobody is shown a bar: Gradio 6.31 would tell every event's beginning and end to all components that any event before had as outputs,
# six thousand updates while this page opens.
_PLAIN: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden", "show_progress_on": []}
# What answers at once does not go through the queue: an event that joins it just when the session's last one ends can stay without an
# answer (Gradio 6.31 closes the stream of answers then), and a button whose answer never comes is dead.
QUIET: dict[str, Any] = {**_PLAIN, "queue": False}
# What reports as it goes on.
QUEUED: dict[str, Any] = {**_PLAIN, "concurrency_limit": 40, "trigger_mode": "once"}
AFTER_UPLOAD = "after-upload"       # class of buttons that cannot be pressed while a file is on its way (`assets/uploads.js`)
