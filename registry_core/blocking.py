"""Work that blocks: in daemon threads, a bounded number for each purpose, each waited for only so long.

The loop's own executor is joined when the process ends, so a dead disk or a silent name server would hold up the
exit. Nothing joins these threads. Work that is given up goes on to its end, so it must be a function of its
arguments: it returns a value and changes nothing that others see, and the loop applies the value. A value that comes
too late is dropped, unless somebody kept the job to take it.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class NoThread(OSError):
    """Raised when work cannot begin: its purpose has all its threads busy, or the system gives no more."""

    def __init__(self, because: str) -> None:
        super().__init__(errno.EAGAIN, because)


class Job(Generic[T]):
    """Work that was begun. Any thread, and tasks of any loop, may wait for its outcome."""

    def __init__(self, work: Callable[[], T]) -> None:
        self.began = time.monotonic()
        self._work = work
        self._values: list[T] = []  # the one value, once it is there
        self._error: Exception = RuntimeError("the thread ended without an outcome")
        self._done = threading.Event()
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []
        self._handing_over = threading.Lock()  # held for a moment at a time
        self._unwanted: Callable[[T], None] | None = None

    @property
    def done(self) -> bool:
        """Whether there is an outcome."""
        return self._done.is_set()

    def result(self) -> T:
        """Return the value of work that is done. Raises what the work raised."""
        if not self._values:
            raise self._error
        return self._values[0]

    async def wait(self, most_s: float) -> bool:
        """Return whether it is done, after `most_s` seconds at most."""
        loop = asyncio.get_running_loop()
        entry = loop, loop.create_future()
        self._waiting.append(entry)
        try:
            # In this order: an outcome that came before the entry was read is seen here.
            if not self.done and most_s > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(most_s):
                        await entry[1]
        finally:
            self._waiting.remove(entry)
        return self.done

    def wait_blocking(self, most_s: float) -> bool:
        """Return whether it is done, after `most_s` seconds at most. Blocks."""
        return self._done.wait(max(0.0, most_s))

    def give_up(self, unwanted: Callable[[T], None]) -> None:
        """Have `unwanted` called with the value, in the thread when it comes late, or here when it is there."""
        with self._handing_over:
            self._unwanted = unwanted
            values = tuple(self._values)
        for value in values:
            unwanted(value)

    def carry_out(self) -> None:
        """Do the work. The thread calls this, once."""
        try:
            value = self._work()
        except Exception as error:  # noqa: BLE001 - handed on to those that wait
            self._error = error
        except BaseException as error:  # noqa: BLE001 - of the thread alone: nothing else is to end by it
            self._error = RuntimeError(f"the thread ended without an outcome: {error!r}")
        else:
            with self._handing_over:
                unwanted = self._unwanted
                self._values.append(value)
            if unwanted is not None:
                unwanted(value)

    def tell(self) -> None:
        """Wake those that wait. The thread calls this, once, at its end."""
        self._done.set()
        for loop, told in tuple(self._waiting):
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(_settle, told)


def _settle(told: asyncio.Future[None]) -> None:
    if not told.done():
        told.set_result(None)


class Threads:
    """The threads for one purpose, which names them: at most `most` at a time, with those that were given up."""

    def __init__(self, purpose: str, most: int) -> None:
        self.purpose = purpose
        self._most = most
        self._places = threading.BoundedSemaphore(most)

    def begin(self, work: Callable[[], T]) -> Job[T]:
        """Begin `work` in a thread. Raises NoThread when it cannot begin at once; it never queues."""
        if not self._places.acquire(blocking=False):
            raise NoThread(f"all {self._most} threads for it are busy ({self.purpose})")
        job = Job(work)
        try:
            threading.Thread(target=self._run, args=(job,), name=self.purpose, daemon=True).start()
        except RuntimeError as error:  # the limit of the system, or of the container, is reached
            self._places.release()
            raise NoThread(f"{error} ({self.purpose})") from error
        except BaseException:
            self._places.release()
            raise
        return job

    async def run(self, work: Callable[[], T], *, timeout_s: float, unwanted: Callable[[T], None] | None = None) -> T:
        """Return what `work` returns.

        Raises what it raises, NoThread when it cannot begin, and TimeoutError when it takes longer than `timeout_s`.
        It goes on then. A value that nobody waits for any more is given to `unwanted`, which releases what it holds.
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
            self._places.release()  # before anybody is told, so that the next one finds a place
            job.tell()
