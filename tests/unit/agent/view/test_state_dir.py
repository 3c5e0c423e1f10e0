"""The state folder: locked by one agent, written atomically, and never a reason to fail."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from agent.files import replace_file
from agent.registration.identity import AgentIdentity
from agent.view import snapshot_file
from agent.view.snapshot_file import ViewSnapshot
from agent.view.state_dir import IDENTITY, LOCK, PROVEN, SET_ASIDE, SNAPSHOT, StateDir
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
        assert state.read_identity() == AgentIdentity()
        state.write_snapshot(SAVED)
        state.write_identity(AgentIdentity(7, {"billing:8034": "b-1"}))
    with opened(path) as state:
        assert state.read_snapshot() == SAVED
        assert state.read_identity() == AgentIdentity(7, {"billing:8034": "b-1"})
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
    assert [log["event"] for log in logs] == ["state_not_kept"]


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
        assert state.read_identity() == AgentIdentity()
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


# -- who may write to it


def test_a_folder_that_every_user_may_write_to_is_neither_read_nor_written(tmp_path: Path) -> None:
    with opened(tmp_path) as state:
        state.write_snapshot(SAVED)
        state.write_identity(AgentIdentity(7))
    tmp_path.chmod(0o1777)
    with capture_logs() as logs, opened(tmp_path) as state:
        assert not state.is_held
        assert state.read_snapshot() is None
    assert state.problem == (
        f"{tmp_path}: every user may write to it: chmod o-w {tmp_path}, "
        f"or name a folder below it ({tmp_path}/agent), which the agent creates for itself"
    )
    assert [log["event"] for log in logs] == ["state_not_kept"]
    with opened(tmp_path / "agent") as below:
        assert below.is_held, "the cure works"


def test_a_folder_of_another_user_is_neither_read_nor_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path) as state:
        state.write_snapshot(SAVED)
    me = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: me + 1)
    with opened(tmp_path) as state:
        assert not state.is_held
        assert state.read_snapshot() is None
        assert state.problem.startswith(
            f"{tmp_path}: it belongs to user {me}, and this agent runs as user {me + 1}: chown {me + 1} {tmp_path}"
        )


def test_a_folder_may_be_named_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(0o700)
    (tmp_path / "link").symlink_to("real")
    with opened(tmp_path / "link") as state:
        assert state.is_held


def linked(file: Path) -> str:
    real = file.rename(file.with_name("elsewhere"))
    file.symlink_to(real)
    return f"it is a symbolic link, which is not followed; remove it: rm {file}"


def open_to_others(file: Path) -> str:
    file.chmod(0o666)
    return f"other users may write to it: chmod go-w {file}"


def a_pipe(file: Path) -> str:
    file.unlink()
    os.mkfifo(file, 0o600)
    return f"it is not a regular file; remove it: rm {file}"


def a_folder(file: Path) -> str:
    file.unlink()
    file.mkdir()
    return f"it is not a regular file; remove it: rm {file}"


@pytest.mark.parametrize("spoil", [linked, open_to_others, a_pipe, a_folder])
def test_a_file_that_is_not_ours_alone_is_not_read(tmp_path: Path, spoil: Callable[[Path], str]) -> None:
    with opened(tmp_path) as state:
        state.write_snapshot(SAVED)
        state.write_identity(AgentIdentity(7, {"billing:8034": "b-1"}))
    because = [spoil(tmp_path / name) for name in (SNAPSHOT, IDENTITY)]
    with opened(tmp_path) as state, capture_logs() as logs:
        assert state.read_snapshot() is None
        assert state.read_identity() == AgentIdentity()
    assert [log["event"] for log in logs] == ["snapshot_not_read", "identity_not_read"]
    assert logs[0]["because"] == f"{tmp_path / SNAPSHOT}: {because[0]}"
    assert logs[1]["because"] == because[1]


def test_what_a_link_points_to_is_neither_locked_nor_written(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    folder = tmp_path / "state"
    folder.mkdir(0o700)
    for name in (LOCK, SNAPSHOT, IDENTITY):
        (folder / name).symlink_to(victim)
    with opened(folder) as state:
        assert not state.is_held
        assert "it is a symbolic link, which is not followed" in state.problem
    (folder / LOCK).unlink()
    with opened(folder) as state:
        state.write_snapshot(SAVED)
        state.write_identity(AgentIdentity(7))
        assert state.read_snapshot() == SAVED
        assert state.read_identity() == AgentIdentity(7)
    assert not victim.exists()


# -- what is in it


@pytest.mark.parametrize(
    ("content", "because"),
    [
        ({"epoch": -1}, "an epoch is a time in milliseconds, from 0 to 10000000000000"),
        ({"epoch": 2**53}, "an epoch is a time in milliseconds, from 0 to 10000000000000"),
        ({"epoch": 10**30}, ""),
        ({"epoch": 1.5}, "epoch: it must be a whole number"),
        ({"instance_ids": {"billing:8034": "a b"}}, "an instance id holds letters, digits and . _ : - [ ] and"),
        ({"instance_ids": {"billing:8034": ""}}, "an instance id has 1 to "),
        ({"instance_ids": {"billing:8034": "x" * 1000}}, "an instance id has 1 to "),
        ({"instance_ids": ["a"]}, "instance_ids: it must be an object, not a list"),
    ],
)
def test_an_identity_that_a_registry_would_refuse_is_not_used(
    tmp_path: Path, content: dict[str, object], because: str
) -> None:
    (tmp_path / IDENTITY).write_text(json.dumps(content))
    with opened(tmp_path) as state, capture_logs() as logs:
        assert state.read_identity() == AgentIdentity()
    (log,) = logs
    assert (log["event"], log["file"]) == ("identity_not_read", str(tmp_path / IDENTITY))
    assert because in log["because"]


def test_records_that_no_registry_can_have_sent_are_left_out(tmp_path: Path) -> None:
    bad = lived(msgspec.structs.replace(instance(), service_name="Not A Name"))
    with opened(tmp_path) as state, capture_logs() as logs:
        state.write_snapshot(msgspec.structs.replace(SAVED, instances=(bad, *SAVED.instances)))
        snapshot = state.read_snapshot()
    assert snapshot is not None
    assert snapshot.instances == SAVED.instances
    (log,) = logs
    assert (log["event"], log["records"]) == ("snapshot_records_left_out", 1)
    assert log["because"] == "the name of 'Not A Name'"


def test_the_registries_that_take_signatures_survive_a_restart(tmp_path: Path) -> None:
    with opened(tmp_path / "state") as state:
        assert state.read_proven() == frozenset()
        state.write_proven({"http://b:8888", "http://a:8888"})
        other = StateDir(tmp_path / "state")
        other.open()
        other.write_proven(())  # it does not hold the folder
    with opened(tmp_path / "state") as state:
        assert state.read_proven() == {"http://a:8888", "http://b:8888"}


@pytest.mark.parametrize("content", [b"{", b"[1]", b"\xff", b'"a"', b"[" * 100_000])
def test_a_damaged_list_of_registries_is_empty(tmp_path: Path, content: bytes) -> None:
    with opened(tmp_path) as state, capture_logs() as logs:
        (tmp_path / PROVEN).write_bytes(content)
        assert state.read_proven() == frozenset()
    assert [line["event"] for line in logs] == ["proven_registries_not_read"]
