"""Compares the processor time of small and large inputs, so that a test of growth asserts no time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

TIMES_LARGER: Final = 16
# Linear growth takes 16 times as long, quadratic growth 256 times.
MOST: Final = 4 * TIMES_LARGER


def grows_linearly(work: Callable[[int], object], size: int) -> bool:
    """Return whether `work(size)` takes about 16 times the processor time of a sixteenth of it, and not its square."""
    work(size // TIMES_LARGER)  # once, for what is compiled or imported at first
    small = min(_seconds(work, size // TIMES_LARGER) for _ in range(3))
    return _seconds(work, size) <= MOST * small


def _seconds(work: Callable[[int], object], size: int) -> float:
    start = time.process_time()
    work(size)
    return time.process_time() - start
