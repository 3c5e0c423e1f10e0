"""Thins floods of one log line, from whatever part of a program they come.

A fault that repeats a thousand times a second would fill the disk and hide everything else. Of equal lines the first
few pass, and then a few in each half minute; the first to pass after others were left out says how many. Lines are
equal when level, component, event and cause are, whatever their numbers: a port or a duration differs each time.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Mapping
from typing import Final

from registry_core.ports.clock import Clock, SystemClock
from registry_core.telemetry.log_thinning import Thinning

# Equal lines in half a minute. Ordinary events, of which a fleet has many at once, are left alone.
BURST: Final = 10
LINES: Final = 256
_CAUSES: Final = ("because", "reason", "error", "problem", "exception")
_MAX_CAUSE: Final = 300
_NUMBER: Final = re.compile(r"\d+")
LEFT_OUT: Final = "similar_left_out"


class FloodFilter(logging.Filter):
    """Lets warnings and errors pass as long as they are no flood. For a handler, so that no logger goes around it."""

    def __init__(self, clock: Clock | None = None) -> None:
        super().__init__()
        self._clock = clock if clock is not None else SystemClock()
        self._thinning = Thinning(causes=LINES, burst=BURST)
        # Threads log, too, and logging calls its filters before it takes a lock of its own.
        self._counting = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether `record` is to be written, and note in it how many similar ones were not."""
        if record.levelno < logging.WARNING:
            return True
        line = line_of(record)
        with self._counting:
            lines = self._thinning.failed(line, self._clock.monotonic())
        if lines is None:
            return False
        setattr(record, LEFT_OUT, lines - 1)
        return True


def line_of(record: logging.LogRecord) -> str:
    """Return what makes a line equal to others."""
    fields = record.msg
    if isinstance(fields, Mapping):
        cause = next((str(fields[name])[-_MAX_CAUSE:] for name in _CAUSES if fields.get(name)), "")
        words = f"{record.levelname} {fields.get('component', '')} {fields.get('event', '')} {cause}"
    else:
        error = record.exc_info[1] if record.exc_info else None
        words = f"{record.levelname} {record.name} {str(fields)[:_MAX_CAUSE]} {type(error).__name__}"
    return _NUMBER.sub("#", words)
