"""Runs blocking work in daemon threads, with a limit on threads per purpose and a timeout on each wait.

The loop's own executor is joined when the process exits, so a dead disk or a silent name server would hold up the
exit. Nothing joins these threads. Work that times out still runs to its end, so it must be a function of its
arguments: it returns a value and changes no shared state, and the loop applies the value. A value that arrives
too late is dropped, unless the caller kept the job to read it from.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import threading
import time
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import Generic, TypeVar

T = TypeVar("T")


class NoThread(OSError):
    """Raised when work cannot start: all threads of its purpose are busy, or the system allows no more."""

    def __init__(self, because: str) -> None:
        super().__init__(errno.EAGAIN, because)


class Job(Generic[T]):
    """Work that has started. Any thread, and tasks of any loop, may wait for its outcome."""

    def __init__(self, work: Callable[[], T]) -> None:
        self.began = time.monotonic()
        self._work = work
        self._values: list[T] = []  # holds the value once the work has returned
        self._error: Exception = RuntimeError("the thread ended without an outcome")
        self._done = threading.Event()
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []
        self._handing_over = threading.Lock()  # only ever held briefly
        self._unwanted: Callable[[T], None] | None = None

    @property
    def done(self) -> bool:
        """Whether there is an outcome."""
        return self._done.is_set()

    def result(self) -> T:
        """Return the value of finished work. Raises what the work raised."""
        if not self._values:
            raise self._error
        return self._values[0]

    async def wait(self, most_s: float) -> bool:
        """Wait up to `most_s` seconds, and return whether the work is done."""
        loop = asyncio.get_running_loop()
        entry = loop, loop.create_future()
        self._waiting.append(entry)
        try:
            # Checked after the entry was added: an outcome that missed the entry is seen here.
            if not self.done and most_s > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(most_s):
                        await entry[1]
        finally:
            self._waiting.remove(entry)
        return self.done

    def wait_blocking(self, most_s: float) -> bool:
        """Wait up to `most_s` seconds, and return whether the work is done. Blocks."""
        return self._done.wait(max(0.0, most_s))

    def give_up(self, unwanted: Callable[[T], None]) -> None:
        """Pass the value to `unwanted`: here if it exists already, otherwise from the thread when it arrives."""
        with self._handing_over:
            self._unwanted = unwanted
            values = tuple(self._values)
        for value in values:
            unwanted(value)

    def carry_out(self) -> None:
        """Do the work. The thread calls this, once."""
        try:
            value = self._work()
        except Exception as error:  # noqa: BLE001 - passed on to the waiters
            self._error = error
        except BaseException as error:  # noqa: BLE001 - it concerns this thread only and must end nothing else
            self._error = RuntimeError(f"the thread ended without an outcome: {error!r}")
        else:
            with self._handing_over:
                unwanted = self._unwanted
                self._values.append(value)
            if unwanted is not None:
                unwanted(value)

    def tell(self) -> None:
        """Wake the waiters. The thread calls this once, at its end."""
        self._done.set()
        for loop, told in tuple(self._waiting):
            with contextlib.suppress(RuntimeError):  # that loop is closed
                loop.call_soon_threadsafe(_settle, told)


def _settle(told: asyncio.Future[None]) -> None:
    if not told.done():
        told.set_result(None)


class Threads:
    """The threads for one purpose, named after it. At most `most` run at a time, abandoned ones included."""

    def __init__(self, purpose: str, most: int) -> None:
        self.purpose = purpose
        self._most = most
        self._places = threading.BoundedSemaphore(most)

    def begin(self, work: Callable[[], T]) -> Job[T]:
        """Start `work` in a thread. Raises NoThread when it cannot start at once; work is never queued."""
        if not self._places.acquire(blocking=False):
            raise NoThread(f"all {self._most} threads are busy ({self.purpose})")
        job = Job(partial(copy_context().run, work))  # so that what it logs belongs to the request
        try:
            threading.Thread(target=self._run, args=(job,), name=self.purpose, daemon=True).start()
        except RuntimeError as error:  # the thread limit of the system or the container
            self._places.release()
            raise NoThread(f"the system allows no more threads ({self.purpose})") from error
        except BaseException:
            self._places.release()
            raise
        return job

    async def run(self, work: Callable[[], T], *, timeout_s: float, unwanted: Callable[[T], None] | None = None) -> T:
        """Return what `work` returns.

        Raises what `work` raises, NoThread when it cannot start, and TimeoutError when it takes longer than
        `timeout_s`; it then keeps running, and its late value goes to `unwanted`, which releases what it holds.
        """
        job = self.begin(work)
        taken = False
        try:
            taken = await job.wait(timeout_s)
        finally:
            if not taken and unwanted is not None:
                job.give_up(unwanted)
        if not taken:
            raise TimeoutError(f"it took longer than {timeout_s:g} s")
        return job.result()

    def _run(self, job: Job[T]) -> None:
        try:
            job.carry_out()
        finally:
            self._places.release()  # before the waiters wake, so that the next job finds a free place
            job.tell()
