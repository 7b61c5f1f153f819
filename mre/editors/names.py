"""What the name of an editor says by itself: of a server, and what it is called where it is one of several."""

from __future__ import annotations

import re


def is_images(name: str) -> bool:
    """Whether a name means an editor on a server."""
    return name.startswith("images:")


def without_address(name: str) -> str:
    """What an editor on a server is called where it is one of several; other names as they are."""
    return re.sub(r"(@https?://.*|\?.*)$", "", name) if is_images(name) else name
