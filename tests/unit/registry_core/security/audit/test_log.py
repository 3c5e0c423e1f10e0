"""The log of a running replica: it takes entries at once, writes them soon, and says when it cannot."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from registry_core.errors import AuditUnavailable
from registry_core.ports.audit import AuditEntry
from registry_core.ports.clock import SystemClock
from registry_core.security.audit import log as module
from registry_core.security.audit.batches import write_batch
from registry_core.security.audit.log import AuditLog
from registry_core.security.audit.settings import DAY_S, AuditSettings
from registry_core.supervision import Background
from tests.audit_logs import segment_files
from tests.programs import eventually


class MovedClock(SystemClock):
    """The clock of this machine, moved by an offset."""

    def __init__(self) -> None:
        self.offset_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.offset_s

    def wall(self) -> float:
        return super().wall() + self.offset_s


@pytest.fixture(autouse=True)
def _it_is_soon_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.02)


def entry(operation: str = "register", status: int = 201, **more: str) -> AuditEntry:
    result = "done" if status < 400 else "Forbidden"
    return AuditEntry(time=1000.0, operation=operation, status=status, result=result, **more)


@contextlib.asynccontextmanager
async def logging(folder: Path, clock: SystemClock | None = None, **settings: Any) -> AsyncIterator[AuditLog]:
    clock = clock or SystemClock()
    background = Background(clock)
    log = AuditLog(AuditSettings(folder=folder, name="eu-1a", **settings), clock, background)
    await log.start()
    try:
        yield log
    finally:
        await log.close()
        await background.close()


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted(folder.glob("*.jsonl")) for line in path.read_bytes().splitlines()]


def operations(folder: Path) -> list[str]:
    return [str(line["operation"]) for line in lines(folder)]


async def test_what_was_noted_is_written_in_its_order_and_closed(tmp_path: Path) -> None:
    async with logging(tmp_path) as log:
        for number in range(5):
            log.note(entry(service=f"s{number}"))
        await eventually(lambda: log.size == 6, "the lines are written")
        log.note(entry("deregister"))
    assert operations(tmp_path) == ["audit-opened", *["register"] * 5, "deregister", "audit-closed"]
    assert [line.get("service") for line in lines(tmp_path)[1:6]] == [f"s{n}" for n in range(5)]


async def test_renewals_are_left_out_unless_a_setting_wants_them(tmp_path: Path) -> None:
    for folder, wants in ((tmp_path / "a", False), (tmp_path / "b", True)):
        async with logging(folder, heartbeats=wants) as log:
            log.note(entry("heartbeat", 200))
            log.note(entry("heartbeat", 403))
        statuses = [line.get("status") for line in lines(folder)[1:-1]]
        assert statuses == ([200, 403] if wants else [403])


async def test_refusals_that_repeat_are_counted_in_one_line(tmp_path: Path) -> None:
    async with logging(tmp_path) as log:
        for _ in range(1_000):
            log.note(entry(status=403, client="10.0.0.7"))
    found = lines(tmp_path)[1:-1]
    assert len(found) < 10
    assert sum(line.get("times", 1) for line in found) == 1_000


async def test_a_log_goes_on_where_it_ended(tmp_path: Path) -> None:
    for _ in range(3):
        async with logging(tmp_path) as log:
            log.note(entry())
    assert operations(tmp_path) == ["audit-opened", "register", "audit-closed"] * 3


async def test_old_lines_are_removed_after_a_line_says_so(tmp_path: Path) -> None:
    clock = MovedClock()
    async with logging(tmp_path, clock, keep_days=90) as log:
        log.note(entry())
        await eventually(lambda: log.size == 2, "the lines are written")
        (first,) = segment_files(tmp_path)
        clock.offset_s += 90 * DAY_S
        log.note(entry())
        await eventually(lambda: log.size == 3, "a day's lines are written")
        assert first.exists()
        clock.offset_s += 2 * DAY_S
        log.note(entry())
        await eventually(lambda: not first.exists(), "the oldest segment is removed")
        await eventually(lambda: log.size == 5, "the last lines are written")
    removed = next(line for line in lines(tmp_path) if line["operation"] == "audit-removed")
    assert removed["reason"] == f"lines 0 to 1, of {first.stem.partition('-')[2]}"


@pytest.mark.parametrize("refuses", [True, False])
async def test_a_log_that_cannot_be_written_refuses_writes_or_goes_on(tmp_path: Path, *, refuses: bool) -> None:
    folder = tmp_path / "audit"
    folder.write_bytes(b"")  # a file where the folder should be
    with capture_logs() as logs:
        async with logging(folder, refuses=refuses) as log:
            assert log.problem
            with pytest.raises(AuditUnavailable) if refuses else contextlib.nullcontext():
                log.require_room("register")
            log.require_room("heartbeat")
            log.note(entry())
            folder.unlink()
            await eventually(lambda: not log.problem, "it is tried again")
            log.require_room("register")
            await eventually(lambda: log.size == 2, "the lines are written")
    assert sorted(operations(folder)) == ["audit-closed", "audit-opened", "register"]
    events = [one["event"] for one in logs if str(one["event"]).startswith("audit")]
    assert events == ["audit_not_written", "audit_written_again", "audit_opened"]


async def test_entries_beyond_the_bound_are_counted_and_a_line_says_how_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 10)
    folder = tmp_path / "audit"
    folder.write_bytes(b"")
    async with logging(folder) as log:
        for _ in range(25):
            log.note(entry())
        assert (log.waiting, log.lost) == (10, 15)
        folder.unlink()
        await eventually(lambda: not log.problem and not log.waiting, "it is written")
    lost = next(line for line in lines(folder) if line["operation"] == "audit-lost")
    assert lost["reason"].startswith("16 entries since ")  # and the line of its opening


async def test_a_disk_that_does_not_answer_is_a_problem_and_nothing_overtakes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "STALL_S", 0.05)
    import threading  # noqa: PLC0415 - of this test alone

    answers = threading.Event()

    def slowly(*given: Any) -> Any:
        answers.wait(20)
        return write_batch(*given)

    async with logging(tmp_path) as log:
        await eventually(lambda: log.size == 1, "it is open")
        monkeypatch.setattr(module, "write_batch", slowly)
        log.note(entry())
        await eventually(lambda: log.problem == "its disk does not answer", "it is noticed")
        log.note(entry("deregister"))
        await asyncio.sleep(0)
        answers.set()
        await eventually(lambda: log.size == 3, "both are written")
        assert not log.problem
    assert operations(tmp_path) == ["audit-opened", "register", "deregister", "audit-closed"]


async def test_a_folder_belongs_to_one_name(tmp_path: Path) -> None:
    async with logging(tmp_path):
        pass
    clock = SystemClock()
    background = Background(clock)
    other = AuditLog(AuditSettings(folder=tmp_path, name="eu-1b"), clock, background)
    await other.start()
    assert "REGISTRY_AUDIT_NAME is eu-1b" in other.problem
    await other.close()
    await background.close()


async def test_two_replicas_do_not_write_one_log(tmp_path: Path) -> None:
    async with logging(tmp_path), logging(tmp_path) as second:
        assert "another registry writes this log" in second.problem
