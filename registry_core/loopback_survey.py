"""Finds out now and then, in a thread, which processes hold the loopback connections to a port.

All loopback connections come from one address: only by its process is a hostile client told from its neighbours.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Final

from registry_core.blocking import Job, NoThread, Threads
from registry_core.loopback_peers import loopback_peers

# How often at most, and how long to wait.
SURVEY_EVERY_S: Final = 5.0
_LOOK_S: Final = 0.1
_SURVEY_S: Final = 3.0


class LoopbackSurvey:
    """The surveys of one port. `found` gets the owners, by the port at the other end of a connection."""

    def __init__(self, found: Callable[[Mapping[int, str]], None]) -> None:
        self._found = found
        self._threads = Threads("loopback connections", 1)
        self._surveyed_at: float | None = None

    def begin(self, port: int) -> None:
        """Find out whose the connections to `port` are, unless that was done lately."""
        now = monotonic()
        if self._surveyed_at is not None and now - self._surveyed_at < SURVEY_EVERY_S:
            return
        self._surveyed_at = now
        with contextlib.suppress(NoThread):
            job = self._threads.begin(lambda: loopback_peers(port))
            asyncio.get_running_loop().call_later(_LOOK_S, self._take, job, now + _SURVEY_S)

    def _take(self, job: Job[Mapping[int, str]], until: float) -> None:
        if not job.done:
            if monotonic() < until:
                asyncio.get_running_loop().call_later(_LOOK_S, self._take, job, until)
            return
        with contextlib.suppress(OSError):
            self._found(job.result())
