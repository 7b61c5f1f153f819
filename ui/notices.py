"""Lines of news and progress bars as HTML, and errors without the server's folders."""

from __future__ import annotations

import html
import re


def note(text: str, kind: str = "plain", role: str = "status") -> str:
    """A line of news: `plain`, `warn` or `bad`. The text may come from anywhere."""
    return f'<p class="notice {kind}" role="{role}">{html.escape(text)}</p>'


def bar(words: str, share: float | None, picture: str = "") -> str:
    """A progress bar, with a picture (its address) below it; without a share, one that only says that work goes on."""
    value = f'aria-valuenow="{round(100 * share)}"' if share is not None else ""
    width = f"{100 * share:.0f}%" if share is not None else "100%"
    image = f'<img src="{picture}" alt="">' if picture else ""
    kind = "track" if share is not None else "track waiting"
    return (f'<div class="progress"><p>{html.escape(words)}</p><div class="{kind}" role="progressbar" '
            f'aria-label="{html.escape(words)}" aria-valuemin="0" aria-valuemax="100" {value}><i style="width:{width}"></i></div>'
            f'{image}</div>')


def without_paths(text: str) -> str:
    """The text with folders taken off file paths: the server's own must not be exposed."""
    return re.sub(r"(?<![\w:/])(?:[A-Za-z]:)?[/\\](?:[^\s/\\'\":,]+[/\\])+([^\s/\\'\":,]*)", r"\1", text)
