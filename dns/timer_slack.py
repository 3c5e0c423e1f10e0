"""How late the kernel may end a thread's sleeps (prctl(2), PR_SET_TIMERSLACK): 50 us by default, which adds to each."""

from __future__ import annotations

import ctypes
import sys
from typing import Final

_PR_SET_TIMERSLACK: Final = 29


def sleep_on_time() -> None:
    """Have the sleeps of the calling thread end as soon as they are due, where the system can."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None) if sys.platform == "linux" else None
    if prctl is not None:
        prctl(_PR_SET_TIMERSLACK, ctypes.c_ulong(1), 0, 0, 0)
