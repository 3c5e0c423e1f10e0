"""Compares the processor time of small and large inputs, so that a test of growth asserts no time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

TIMES_LARGER: Final = 16
# Linear growth takes 16 times as long, quadratic growth 256 times.
MOST: Final = 6 * TIMES_LARGER
# The least of several times: other programs slow some of them down.
TRIES: Final = 3


def grows_linearly(work: Callable[[int], object], size: int) -> bool:
    """Return whether `work(size)` takes about 16 times the processor time of a sixteenth of it, and not its square."""
    work(size // TIMES_LARGER)  # once, for what is compiled or imported at first
    return _seconds(work, size) <= MOST * _seconds(work, size // TIMES_LARGER)


def _seconds(work: Callable[[int], object], size: int) -> float:
    times = []
    for _ in range(TRIES):
        start = time.process_time()
        work(size)
        times.append(time.process_time() - start)
    return min(times)
