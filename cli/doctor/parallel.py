"""Runs blocking jobs in parallel, with one timeout for all of them.

Unfinished jobs are abandoned: a disk or a name server that hangs delays neither the other jobs nor the end of
the program.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from registry_core.blocking import Job, NoThread, Threads
from registry_core.causes import cause_of

T = TypeVar("T")

# More than there are jobs: a few name servers, and a bounded number of services and registries.
MOST: Final = 64


class Begun(Generic[T]):
    """One job, named for people. `job` is None when it could not start; `problem` says why."""

    def __init__(self, name: str, job: Job[T] | None, problem: str = "") -> None:
        self.name = name
        self.job = job
        self.problem = problem


class Together:
    """Several jobs with a common deadline, `limit_s` seconds from now."""

    def __init__(self, limit_s: float) -> None:
        self._ends_at = time.monotonic() + limit_s
        self._threads = Threads("doctor", MOST)
        self.missing: list[str] = []  # the jobs without a result, and why

    def begin(self, name: str, work: Callable[[], T]) -> Begun[T]:
        """Start `work` without waiting for it."""
        try:
            return Begun(name, self._threads.begin(work))
        except NoThread as error:
            return Begun(name, None, str(error.strerror))

    def result(self, begun: Begun[T], otherwise: T) -> T:
        """Return its result, waiting at most until the deadline; else return `otherwise` and add it to `missing`."""
        problem = begun.problem
        if begun.job is not None and begun.job.wait_blocking(self._ends_at - time.monotonic()):
            try:
                return begun.job.result()
            except Exception as error:  # noqa: BLE001 - a failed job must not hide the others' results
                problem = cause_of(error)
        self.missing.append(f"{begun.name} ({problem})" if problem else begun.name)
        return otherwise
