"""Runs things that block beside one another, each in a daemon thread, and waits for all of them only so long.

What is not done by then is left behind: a disk or a name server that hangs holds up neither the others nor
the end of the program.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Job(Generic[T]):
    """Something that was begun. Its result, once it is there, is in `results`."""

    def __init__(self, name: str, work: Callable[[], T]) -> None:
        self.name = name
        self.results: list[T] = []
        self.problem = ""
        self.done = threading.Event()
        self._work = work
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def _run(self) -> None:
        try:
            self.results.append(self._work())
        except Exception as error:  # noqa: BLE001 - one examination that fails must not keep the others from being told
            self.problem = f"{type(error).__name__}: {error}"
        finally:
            self.done.set()


class Together:
    """Jobs with one end to wait for: `limit_s` seconds from now."""

    def __init__(self, limit_s: float) -> None:
        self._ends_at = time.monotonic() + limit_s
        self.missing: list[str] = []  # what came to no result, and why

    def begin(self, name: str, work: Callable[[], T]) -> Job[T]:
        """Begin `work`. Nothing is waited for."""
        return Job(name, work)

    def result(self, job: Job[T], otherwise: T) -> T:
        """Return the job's result, waiting until the common end at most; then `otherwise`, and `missing` names it."""
        job.done.wait(max(0.0, self._ends_at - time.monotonic()))
        if job.results:
            return job.results[0]
        self.missing.append(f"{job.name} ({job.problem})" if job.problem else job.name)
        return otherwise
