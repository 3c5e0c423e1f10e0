"""What an agent knows of its last run: read when the disk is fast, and ignored for good when it is slow."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from agent.registration.identity import AgentIdentity
from agent.settings.reload_plan import service_changes
from agent.settings.settings import ServiceSpec
from agent.view import last_run
from agent.view.last_run import LastRun
from agent.view.state_dir import IDENTITY, StateDir
from tests.programs import eventually
from tests.samples import claim

SERVICES = (ServiceSpec(claim(), has_own_id=False),)


class SlowDisk(StateDir):
    """A state folder whose disk answers when told to."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.goes_on = threading.Event()
        self.closed = threading.Event()

    def read_identity(self) -> AgentIdentity:
        self.goes_on.wait(30)
        return super().read_identity()

    def close(self) -> None:
        super().close()
        self.closed.set()


async def test_ids_are_drawn_once_and_kept(tmp_path: Path) -> None:
    ids = []
    for _ in range(2):
        state = StateDir(tmp_path)
        memory = LastRun(state, SERVICES)
        assert await memory.read()
        ids.append(memory.services[0].claim.instance_id)
        state.close()
    assert ids[0] == ids[1] != SERVICES[0].claim.instance_id


async def test_a_late_answer_of_a_slow_disk_changes_nothing_and_releases_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(last_run, "STATE_S", 0.02)
    disk = SlowDisk(tmp_path)
    memory = LastRun(disk, SERVICES)
    with capture_logs() as logs:
        assert not await memory.read()
    assert [log["event"] for log in logs] == ["state_not_read"]
    began_with = memory.services
    disk.goes_on.set()
    await eventually(disk.closed.is_set, "the disk has answered")
    assert memory.services == began_with
    assert memory.snapshot is None
    # A reload uses the ids that the agent started with: nothing is drained or registered again.
    changes = service_changes(memory.services, await memory.with_ids(SERVICES))
    assert changes == service_changes((), ())
    assert not disk.is_held, "another agent may take it"
    assert not (tmp_path / IDENTITY).exists(), "unused ids are not kept"


@pytest.mark.usefixtures("no_threads")
async def test_an_agent_that_gets_no_thread_runs_without_its_state(tmp_path: Path) -> None:
    memory = LastRun(StateDir(tmp_path), SERVICES)
    with capture_logs() as logs:
        assert not await memory.read()
    assert "the system allows no more threads" in logs[0]["because"]
    assert memory.services == SERVICES
