"""What this machine has."""

from __future__ import annotations

import re
from pathlib import Path


def free_memory(device: str = "cpu") -> int | None:
    """In bytes, of a device as torch names it: of a GPU what nothing has taken, of the machine what programs may take without anything
    being moved to disk. None where it cannot be told."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.mem_get_info(device)[0]
    if device != "cpu":
        return None
    try:
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
    return int(found[1]) * 1024 if found else None
