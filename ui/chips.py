"""Small texts as buttons inside gr.HTML, whose click is an event with the text."""

from __future__ import annotations

import html
from collections.abc import Iterable

PICK = """element.addEventListener('click', (event) => {
  const chosen = event.target.closest('[data-pick]');
  if (chosen) trigger('pick', {pick: chosen.dataset.pick});
});"""


def chips_html(texts: Iterable[str], label: str) -> str:
    """Texts as buttons whose click is a `pick`."""
    chips = "".join(f'<button type="button" class="chip" data-pick="{html.escape(text, quote=True)}">{html.escape(text)}</button>'
                    for text in texts)
    return f'<div class="chips" role="group" aria-label="{html.escape(label, quote=True)}">{chips}</div>'
