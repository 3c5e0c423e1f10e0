"""Runs things that block beside one another, and waits for all of them only so long.

What is not done by then is left behind: a disk or a name server that hangs holds up neither the others nor
the end of the program.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from registry_core.blocking import Job, NoThread, Threads

T = TypeVar("T")

# More than there is to ask: a few name servers, and a bounded number of services and registries.
MOST: Final = 64


class Begun(Generic[T]):
    """One thing of several, named for people. `job` is None when it could not begin, and `problem` says why."""

    def __init__(self, name: str, job: Job[T] | None, problem: str = "") -> None:
        self.name = name
        self.job = job
        self.problem = problem


class Together:
    """Several things with one end to wait for: `limit_s` seconds from now."""

    def __init__(self, limit_s: float) -> None:
        self._ends_at = time.monotonic() + limit_s
        self._threads = Threads("doctor", MOST)
        self.missing: list[str] = []  # what came to no result, and why

    def begin(self, name: str, work: Callable[[], T]) -> Begun[T]:
        """Begin `work`. Nothing is waited for."""
        try:
            return Begun(name, self._threads.begin(work))
        except NoThread as error:
            return Begun(name, None, str(error.strerror))

    def result(self, begun: Begun[T], otherwise: T) -> T:
        """Return its result, waiting until the common end at most; then `otherwise`, and `missing` names it."""
        problem = begun.problem
        if begun.job is not None and begun.job.wait_blocking(self._ends_at - time.monotonic()):
            try:
                return begun.job.result()
            except Exception as error:  # noqa: BLE001 - one that fails must not keep the others from being told
                problem = f"{type(error).__name__}: {error}"
        self.missing.append(f"{begun.name} ({problem})" if problem else begun.name)
        return otherwise
