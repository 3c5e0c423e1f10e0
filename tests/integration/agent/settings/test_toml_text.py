"""TOML files that are no ordinary files: pipes are read while somebody writes, and never waited for without end."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from agent.settings import toml_text
from agent.settings.toml_text import read_toml
from registry_core.errors import SettingsError


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def test_a_pipe_is_read_to_its_end(pipe: Path) -> None:
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)  # so that the writer can open it
    writer = os.open(pipe, os.O_WRONLY)

    def write() -> None:
        for part in (b"[agent]\n", b"zone = ", b"'a'\n"):
            os.write(writer, part)
        os.close(writer)

    thread = threading.Thread(target=write)
    found = []
    reading = threading.Thread(target=lambda: found.append(read_toml(pipe)))
    reading.start()
    thread.start()
    for one in (thread, reading):
        one.join(20)
    os.close(reader)
    assert found == [{"agent": {"zone": "a"}}]


def test_a_pipe_that_nobody_writes_to_is_given_up(pipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toml_text, "WRITER_TIMEOUT_S", 0.05)
    with pytest.raises(SettingsError, match="nobody writes to"):
        read_toml(pipe)


def test_a_pipe_whose_writer_is_silent_is_given_up(pipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toml_text, "PIPE_TIMEOUT_S", 0.05)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(pipe, os.O_WRONLY)
    try:
        with pytest.raises(SettingsError, match="timed out"):
            read_toml(pipe)
    finally:
        os.close(reader)
        os.close(writer)


def test_what_was_written_while_this_process_stood_still_is_read(pipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(pipe, os.O_WRONLY)

    def stood_still(*_: object) -> tuple[list[int], list[int], list[int]]:
        os.write(writer, b"zone = 'a'")
        os.close(writer)
        monkeypatch.undo()
        return [], [], []

    monkeypatch.setattr("agent.settings.toml_text.select.select", stood_still)
    try:
        assert read_toml(pipe) == {"zone": "a"}
    finally:
        os.close(reader)


def test_a_device_without_an_end_is_too_large() -> None:
    with pytest.raises(SettingsError, match="more than 1000 bytes"):
        read_toml(Path("/dev/zero"), most_bytes=1000)
