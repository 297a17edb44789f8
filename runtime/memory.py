"""What becomes of memory that is freed: large arrays come and go in a loop over weights."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""Of glibc's `mallopt` (its malloc.h)."""

_KEPT = 1 << 28
_LARGEST = 1 << 25  # that glibc takes


def keep_freed() -> bool:
    """From here on, in this process, up to 256 MiB that are freed stay for the arrays that come
    next, where the C library is glibc; whether it is.

    By itself it gives them back or keeps them by where they happen to lie, and each page that comes
    again is a fault: a third of the time of a codebook, in some processes and not in others.
    """
    if sys.platform != "linux" or (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)) is None:
        return False
    return bool(mallopt(_TRIM_THRESHOLD, _KEPT) and mallopt(_MMAP_THRESHOLD, _LARGEST))
