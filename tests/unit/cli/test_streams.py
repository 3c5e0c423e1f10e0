"""Standard streams that fail: what is raised, what is forgiven, and what the program makes of it."""

from __future__ import annotations

import contextlib
import io
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cli.streams import Output, OutputFailed, ReaderGone, announce, write_file


@pytest.fixture
def full() -> Iterator[int]:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):
            os.close(end)


def text(raw: Output, encoding: str = "utf-8") -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, "backslashreplace")


def test_a_full_output_fails_in_one_line(full: int) -> None:
    with pytest.raises(OutputFailed, match=r"^standard output cannot be written: No space left on device$"):
        Output(full, fails=True).write(b"x")


def test_an_output_whose_reader_has_gone_is_told_apart(pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    with pytest.raises(ReaderGone):
        Output(pipe[1], fails=True).write(b"x")


def test_an_output_that_was_closed_at_the_start_fails(pipe: tuple[int, int]) -> None:
    with pytest.raises(OutputFailed, match="closed"):
        Output(pipe[1], fails=True, closed=True).write(b"x")


def test_what_standard_error_cannot_write_is_lost(full: int, pipe: tuple[int, int]) -> None:
    os.close(pipe[0])
    for descriptor in (full, pipe[1], 9999):
        assert Output(descriptor, fails=False).write(b"abc") == 3


def test_what_is_discarded_raises_nothing_even_when_it_was_buffered(full: int) -> None:
    raw = Output(full, fails=True)
    out = text(raw)
    out.write("x")
    with pytest.raises(OutputFailed):
        out.flush()
    raw.discard()
    out.flush()
    assert raw.write(b"abc") == 3


def test_a_pipe_that_another_program_made_non_blocking_is_waited_for(pipe: tuple[int, int]) -> None:
    os.set_blocking(pipe[1], False)
    data = b"x" * 300_000  # more than a pipe holds
    read: list[bytes] = []

    def reader() -> None:
        while sum(map(len, read)) < len(data):
            read.append(os.read(pipe[0], 65536))

    thread = threading.Thread(target=reader)
    thread.start()
    with io.BufferedWriter(Output(pipe[1], fails=True)) as out:
        out.write(data)
        out.flush()
    thread.join(10)
    assert b"".join(read) == data


def test_characters_that_the_encoding_lacks_are_escaped(tmp_path: Path) -> None:
    path = tmp_path / "out"
    with path.open("wb") as file:
        out = text(Output(file.fileno(), fails=True), "ascii")
        out.write("Vértice \udcff\n")
        out.flush()
    assert path.read_bytes() == b"V\\xe9rtice \\udcff\n"


def test_a_file_on_standard_output_is_utf_8_whatever_the_terminal_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out"
    with path.open("wb") as file:
        monkeypatch.setattr(sys, "stdout", text(Output(file.fileno(), fails=True), "ascii"))
        sys.stdout.write("before\n")
        write_file("Vértice\n")
    assert path.read_bytes() == "before\nVértice\n".encode()


def test_a_program_that_cannot_print_its_announcement_goes_on(full: int, monkeypatch: pytest.MonkeyPatch) -> None:
    out = text(Output(full, fails=True))
    monkeypatch.setattr(sys, "stdout", out)
    announce("listening")
    announce("still listening")
    out.flush()


def test_an_announcement_is_printed_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    announce("listening")
    assert capsys.readouterr().out == "listening\n"
