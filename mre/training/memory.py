"""Memory of a training process on a CPU."""

from __future__ import annotations

import ctypes
import ctypes.util

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4     # names of mallopt's settings in malloc.h
_KEPT = 2**31 - 1           # bytes


def keep_freed_memory() -> bool:
    """Let the C library keep what is freed, for the next step asks for the same blocks again. Returns whether it could be told.

    glibc maps each large block anew and gives it back at once; clearing those pages took a third to a half of a small model's
    training time on two cores. Other C libraries are left as they are.
    """
    name = ctypes.util.find_library("c")
    mallopt = getattr(ctypes.CDLL(name), "mallopt", None) if name else None
    if mallopt is None:
        return False
    return all([mallopt(_M_MMAP_MAX, 0), mallopt(_M_TRIM_THRESHOLD, _KEPT), mallopt(_M_TOP_PAD, 2**28)])
