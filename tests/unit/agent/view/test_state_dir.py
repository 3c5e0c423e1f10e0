"""The state folder: locked by one agent, written atomically, and never a reason to fail."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from agent.files import replace_file
from agent.registration.identity import Identity
from agent.view import snapshot_file
from agent.view.snapshot_file import ViewSnapshot
from agent.view.state_dir import IDENTITY, SET_ASIDE, SNAPSHOT, StateDir
from registry_core.watch.cursor import Cursor
from tests.samples import instance, lived

SAVED = ViewSnapshot((lived(instance()),), Cursor(), "0" * 16, 5.0)


@contextlib.contextmanager
def opened(path: Path) -> Iterator[StateDir]:
    state = StateDir(path)
    state.open()
    try:
        yield state
    finally:
        state.close()


def test_written_state_survives_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "a" / "state"
    with opened(path) as state:
        assert state.read_snapshot() is None
        assert state.read_identity() == Identity()
        state.write_snapshot(SAVED)
        state.write_identity(Identity(7, {"billing:8034": "b-1"}))
    with opened(path) as state:
        assert state.read_snapshot() == SAVED
        assert state.read_identity() == Identity(7, {"billing:8034": "b-1"})
    assert (path / SNAPSHOT).stat().st_mode & 0o777 == 0o600


def test_a_second_agent_is_told_that_the_folder_is_taken_and_still_reads_it(tmp_path: Path) -> None:
    with opened(tmp_path) as first, opened(tmp_path) as second:
        first.write_snapshot(SAVED)
        assert (first.problem, first.is_held) == ("", True)
        assert not second.is_held
        assert "another agent uses it" in second.problem
        assert second.read_snapshot() == SAVED
    with opened(tmp_path) as third:
        assert third.is_held


def test_a_folder_that_cannot_be_created_is_reported_and_not_fatal(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with capture_logs() as logs, opened(tmp_path / "file" / "state") as state:
        assert not state.is_held
        assert "Not a directory" in state.problem
        assert state.read_snapshot() is None
    assert [log["event"] for log in logs] == ["state_not_kept", "snapshot_not_read"]


@pytest.mark.parametrize("content", [b"", b"\x00" * 100, b'{"format":"vertice-agent-snapshot","version":9}\n'])
def test_a_damaged_snapshot_is_set_aside_with_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / SNAPSHOT).write_bytes(content)
    with opened(tmp_path) as state, capture_logs() as logs:
        assert state.read_snapshot() is None
        assert state.read_snapshot() is None
    assert [log["event"] for log in logs] == ["snapshot_set_aside"]
    assert (tmp_path / SET_ASIDE).read_bytes() == content
    assert not (tmp_path / SNAPSHOT).exists()


def test_a_huge_file_is_not_read_to_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot_file, "MAX_BYTES", 10)
    (tmp_path / SNAPSHOT).write_bytes(b"x" * 100)
    with opened(tmp_path) as state, capture_logs() as logs:
        assert state.read_snapshot() is None
    assert "more than 10 bytes" in logs[0]["because"]


def test_an_unreadable_identity_is_reported_and_replaced(tmp_path: Path) -> None:
    (tmp_path / IDENTITY).write_bytes(b"{")
    with opened(tmp_path) as state, capture_logs() as logs:
        assert state.read_identity() == Identity()
    assert [log["event"] for log in logs] == ["identity_not_read"]


def test_a_failed_write_leaves_only_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    replace_file(path, [b"old"])

    def parts() -> Iterator[bytes]:
        yield b"new"
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        replace_file(path, parts())
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
