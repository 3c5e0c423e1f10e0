"""The writer of the snapshot: changes are written, not too often, and a bad disk is reported once."""

from __future__ import annotations

import asyncio
import math
import threading
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from agent.view.snapshot_file import ViewSnapshot
from agent.view.snapshot_writer import MOST_EVERY_S, SAVE_EVERY_S, SnapshotKeeper, pause_s
from agent.view.state_dir import StateDir
from agent.view.view import AgentView
from tests.beside import task_of
from tests.integration.agents import becomes
from tests.programs import eventually
from tests.samples import FakeClock, instance
from tests.unit.agent.view.test_view import everything


class Disk(StateDir):
    """A state folder whose disk can fail."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.writes: list[ViewSnapshot] = []
        self.error: OSError | None = None
        self.stuck = threading.Event()
        self.stuck.set()

    @property
    def is_held(self) -> bool:
        return True

    def write_snapshot(self, saved: ViewSnapshot) -> None:
        self.stuck.wait(20)
        if self.error is not None:
            raise self.error
        self.writes.append(saved)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


async def test_changes_are_written_together_and_an_unchanged_view_is_not(disk: Disk) -> None:
    view = AgentView(FakeClock())
    keeper = SnapshotKeeper(disk, view, FakeClock(), save_every_s=0.05)
    async with task_of(keeper.run()):
        for revision in range(1, 20):
            view.apply(everything(instance(port=8000 + revision), revision=revision))
        await eventually(lambda: bool(disk.writes), "it is written")
        await asyncio.sleep(0.2)  # several times the interval
        assert [[lived.instance.port for lived in saved.instances] for saved in disk.writes] == [[8019]]
        assert keeper.report().saves == 1
        view.tick()
        assert await keeper.save()
        assert len(disk.writes) == 1


@pytest.mark.parametrize(
    ("instances", "seconds"), [(0, SAVE_EVERY_S), (111, SAVE_EVERY_S), (10_000, 50.0), (1_000_000, MOST_EVERY_S)]
)
def test_a_large_view_is_written_less_often(instances: int, seconds: float) -> None:
    assert pause_s(instances) == seconds


async def test_the_next_write_of_a_large_view_waits_and_the_first_does_not(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("agent.view.snapshot_writer.SAVE_THOUSAND_EVERY_S", 1e6)
    clock = FakeClock()
    view = AgentView(clock)
    keeper = SnapshotKeeper(disk, view, clock, save_every_s=0.01)
    async with task_of(keeper.run()):
        view.apply(everything(instance(port=8001)))
        await eventually(lambda: len(disk.writes) == 1, "the first is written")
        view.apply(everything(instance(port=8002), revision=2))
        await asyncio.sleep(0.1)  # several times the interval of a small view
        assert len(disk.writes) == 1
        assert await keeper.save(), "but an agent that stops writes at once"
        assert len(disk.writes) == 2


async def test_nothing_is_written_before_the_first_snapshot(disk: Disk) -> None:
    view = AgentView(FakeClock())
    keeper = SnapshotKeeper(disk, view, FakeClock())
    assert await keeper.save()
    assert disk.writes == []


async def test_a_full_disk_is_reported_once_and_retried(disk: Disk) -> None:
    view = AgentView(FakeClock())
    keeper = SnapshotKeeper(disk, view, FakeClock())
    view.apply(everything(instance()))
    disk.error = OSError(28, "No space left on device")
    with capture_logs() as logs:
        assert not await keeper.save()
        assert not await keeper.save()
        assert (keeper.report().failures, keeper.report().problem) == (2, "No space left on device")
        disk.error = None
        assert await keeper.save()
    assert [log["event"] for log in logs] == ["snapshot_not_written", "snapshot_written_again"]
    assert len(disk.writes) == 1
    assert keeper.report().problem == ""


async def test_a_disk_that_hangs_is_not_waited_for(disk: Disk) -> None:
    view = AgentView(FakeClock())
    keeper = SnapshotKeeper(disk, view, FakeClock())
    view.apply(everything(instance()))
    disk.stuck.clear()
    try:
        assert not await keeper.save(0.05)
        assert "took longer" in keeper.report().problem
    finally:
        disk.stuck.set()


async def test_an_abandoned_write_never_replaces_a_newer_file(disk: Disk) -> None:
    view = AgentView(FakeClock())
    keeper = SnapshotKeeper(disk, view, FakeClock())
    view.apply(everything(instance(port=8001)))
    disk.stuck.clear()
    try:
        assert not await keeper.save(0.05)
        view.apply(everything(instance(port=8002), revision=2))
        assert not await keeper.save(0.05), "the earlier write is still running"
        assert "busy" in keeper.report().problem
    finally:
        disk.stuck.set()
    await eventually(lambda: len(disk.writes) == 1, "it has ended")

    async def saved() -> object:
        return await keeper.save()

    await becomes(saved, True)
    assert [saved.instances[0].instance.port for saved in disk.writes] == [8001, 8002]


async def test_the_last_snapshot_waits_for_the_one_being_written(disk: Disk) -> None:
    view = AgentView(FakeClock())
    keeper = SnapshotKeeper(disk, view, FakeClock())
    view.apply(everything(instance(port=8001)))
    disk.stuck.clear()
    first = asyncio.create_task(keeper.save())
    await asyncio.sleep(0)
    view.apply(everything(instance(port=8002), revision=2))
    last = asyncio.create_task(keeper.save())
    await asyncio.sleep(0)
    disk.stuck.set()
    assert list(await asyncio.gather(first, last)) == [True, True]
    assert [saved.instances[0].instance.port for saved in disk.writes] == [8001, 8002]


@pytest.mark.usefixtures("no_threads")
async def test_without_a_thread_nothing_is_written_and_the_reason_is_reported(disk: Disk) -> None:
    view = AgentView(FakeClock())
    keeper = SnapshotKeeper(disk, view, FakeClock())
    view.apply(everything(instance()))
    assert not await keeper.save()
    assert "the system allows no more threads" in keeper.report().problem


async def test_a_snapshot_is_behind_from_the_first_change_that_it_lacks(disk: Disk) -> None:
    clock = FakeClock()
    view = AgentView(clock)
    keeper = SnapshotKeeper(disk, view, clock)
    assert math.isnan(keeper.age_s)
    clock.pass_time(100)
    assert keeper.behind_s == 0.0, "there is nothing to write"
    view.apply(everything(instance(port=8001)))
    clock.pass_time(7)
    view.apply(everything(instance(port=8002), revision=2))
    clock.pass_time(2)
    assert keeper.behind_s == 9.0
    disk.error = OSError(28, "No space left on device")
    assert not await keeper.save()
    assert keeper.behind_s == 9.0
    disk.error = None
    assert await keeper.save()
    clock.pass_time(3600)
    assert (keeper.age_s, keeper.behind_s) == (3600.0, 0.0), "a quiet fleet leaves it old, and whole"


async def test_a_change_during_a_write_is_missing_from_it(disk: Disk) -> None:
    clock = FakeClock()
    view = AgentView(clock)
    keeper = SnapshotKeeper(disk, view, clock)
    view.apply(everything(instance(port=8001)))
    disk.stuck.clear()
    writing = asyncio.create_task(keeper.save())
    await asyncio.sleep(0)
    clock.pass_time(1)
    view.apply(everything(instance(port=8002), revision=2))
    disk.stuck.set()
    assert await writing
    assert (keeper.age_s, keeper.behind_s) == (1.0, 1.0)
    assert await keeper.save()
    assert (keeper.age_s, keeper.behind_s) == (0.0, 0.0)


def test_a_snapshot_of_an_earlier_run_is_as_old_as_its_confirmation(disk: Disk) -> None:
    clock = FakeClock()
    before = AgentView(clock)
    before.apply(everything(instance()))
    saved = before.snapshot(clock.wall())
    clock.pass_time(500)
    view = AgentView(clock)
    view.restore(saved, clock.wall())
    keeper = SnapshotKeeper(disk, view, clock)
    assert (keeper.age_s, keeper.behind_s) == (500.0, 0.0)
