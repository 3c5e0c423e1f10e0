"""Thins floods of one log line, from whatever part of a program they come.

A fault that repeats a thousand times a second would fill the disk and hide everything else. Of equal lines the first
few pass, and then a few in each half minute; the first to pass after others were left out says how many. Lines are
equal when level, component, event and cause are, whatever their numbers: a port or a duration differs each time.

Each event has its own places for causes, which strangers may choose, and so have libraries: a flood of one hides none
of another.
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
# Of each event. Further causes share one.
CAUSES: Final = 32
# Events of ours, and as many kinds of lines of libraries; the code has fewer.
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
        self._ours = _Floods()
        self._libraries = _Floods()
        # Threads log, too, and logging calls its filters before it takes a lock of its own.
        self._counting = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether `record` is to be written, and note in it how many similar ones were not."""
        if record.levelno < logging.WARNING:
            return True
        floods = self._ours if isinstance(record.msg, Mapping) else self._libraries
        event, cause = line_of(record)
        with self._counting:
            lines = floods.count(event, cause, self._clock.monotonic())
        if lines is None:
            return False
        setattr(record, LEFT_OUT, lines - 1)
        return True


class _Floods:
    """The lines of one kind of writers, by event."""

    def __init__(self) -> None:
        self._events: dict[str, Thinning] = {}
        self._others = Thinning(causes=CAUSES, burst=BURST)

    def count(self, event: str, cause: str, now: float) -> int | None:
        """Return how many lines to report in one now, or None when none is due."""
        thinning = self._events.get(event)
        if thinning is None:
            if len(self._events) >= LINES:
                self._events = {name: one for name, one in self._events.items() if not one.is_over(now)}
            thinning = self._others if len(self._events) >= LINES else Thinning(causes=CAUSES, burst=BURST)
            if thinning is not self._others:
                self._events[event] = thinning
        return thinning.failed(cause, now)


def line_of(record: logging.LogRecord) -> tuple[str, str]:
    """Return what makes a line equal to others: its event, and its cause."""
    fields = record.msg
    if isinstance(fields, Mapping):
        cause = next((str(fields[name])[-_MAX_CAUSE:] for name in _CAUSES if fields.get(name)), "")
        event = f"{record.levelname} {fields.get('component', '')} {fields.get('event', '')}"
    else:
        error = record.exc_info[1] if record.exc_info else None
        event, cause = f"{record.levelname} {record.name} {str(fields)[:_MAX_CAUSE]}", type(error).__name__
    return _NUMBER.sub("#", event), _NUMBER.sub("#", cause)
