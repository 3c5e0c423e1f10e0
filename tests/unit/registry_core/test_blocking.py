"""Blocking work: a limited number of threads, bounded waits, and no slot is ever lost."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from registry_core.blocking import NoThread, Threads
from tests.programs import eventually


class Disk:
    """Work that blocks until it is told to continue."""

    def __init__(self) -> None:
        self.goes_on = threading.Event()
        self.reads = 0

    def read(self) -> str:
        self.goes_on.wait(30)
        self.reads += 1
        return "content"


async def test_the_result_or_error_of_the_work_is_returned() -> None:
    threads = Threads("test", 1)

    def fail() -> int:
        raise LookupError("nothing there")

    assert await threads.run(lambda: 7, timeout_s=30) == 7
    with pytest.raises(LookupError, match="nothing there"):
        await threads.run(fail, timeout_s=30)
    assert await threads.run(lambda: 8, timeout_s=30) == 8, "a failure frees its slot"


async def test_slow_work_is_abandoned_in_time_and_keeps_its_slot_until_it_ends() -> None:
    threads, disk = Threads("test", 1), Disk()
    with pytest.raises(TimeoutError, match=r"longer than 0\.01 s"):
        await threads.run(disk.read, timeout_s=0.01)
    with pytest.raises(NoThread, match="all 1 threads"):
        await threads.run(disk.read, timeout_s=30)
    disk.goes_on.set()
    await eventually(lambda: disk.reads == 1, "it ends")
    await eventually(lambda: _is_free(threads), "its slot is free again")


def _is_free(threads: Threads) -> bool:
    try:
        return threads.begin(lambda: True).wait_blocking(30)
    except NoThread:
        return False


async def test_a_late_result_only_goes_to_its_release_function() -> None:
    threads, disk = Threads("test", 1), Disk()
    released: list[str] = []
    with pytest.raises(TimeoutError):
        await threads.run(disk.read, timeout_s=0.01, unwanted=released.append)
    assert released == []
    disk.goes_on.set()
    await eventually(lambda: released == ["content"], "it is released")


async def test_a_result_after_a_cancellation_is_released_too() -> None:
    threads, disk = Threads("test", 1), Disk()
    released: list[str] = []
    waiting = asyncio.create_task(threads.run(disk.read, timeout_s=30, unwanted=released.append))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    disk.goes_on.set()
    await eventually(lambda: released == ["content"], "it is released")


async def test_a_delivered_result_is_not_released() -> None:
    released: list[int] = []
    assert await Threads("test", 1).run(lambda: 7, timeout_s=30, unwanted=released.append) == 7
    assert released == []


async def test_a_late_result_can_be_taken_from_a_kept_job() -> None:
    disk = Disk()
    job = Threads("test", 1).begin(disk.read)
    assert not await job.wait(0.01)
    disk.goes_on.set()
    assert await job.wait(30)
    assert job.result() == "content"


async def test_threads_that_cannot_start_take_no_slots(no_threads: Callable[[], None]) -> None:
    threads = Threads("test", 2)
    for _ in range(5):
        with pytest.raises(NoThread, match="the system allows no more threads"):
            await threads.run(lambda: 1, timeout_s=30)
    no_threads()
    jobs = [threads.begin(threading.Event().is_set) for _ in range(2)]
    assert all([await job.wait(30) for job in jobs])


async def test_work_that_ends_its_thread_frees_its_slot_and_is_an_error() -> None:
    threads = Threads("test", 1)

    def leave() -> None:
        raise SystemExit

    for _ in range(3):
        with pytest.raises(RuntimeError, match=r"without an outcome: SystemExit"):
            await threads.run(leave, timeout_s=30)


async def test_several_callers_can_wait_for_one_job_and_one_may_be_cancelled() -> None:
    disk = Disk()
    job = Threads("test", 1).begin(disk.read)
    waiting = [asyncio.create_task(job.wait(30)) for _ in range(5)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.gather(waiting[0], return_exceptions=True)
    disk.goes_on.set()
    assert await asyncio.gather(*waiting[1:]) == [True] * 4


def test_a_closing_loop_waits_for_no_thread() -> None:
    disk = Disk()

    async def ask() -> None:
        with pytest.raises(TimeoutError):
            await Threads("test", 1).run(disk.read, timeout_s=0.01)

    asyncio.run(ask())
    assert disk.reads == 0
    disk.goes_on.set()
