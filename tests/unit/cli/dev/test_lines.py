"""The lines of `vertice dev`, and their reader."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
from collections.abc import Iterator

import pytest

from cli.dev.lines import ReadLines, stdout_has_reader


async def test_lines_are_printed_while_there_is_a_reader(capsys: pytest.CaptureFixture[str]) -> None:
    reading = [True, True, False]
    lines = ReadLines(lambda: reading.pop(0))
    lines.say("before")
    await asyncio.wait_for(lines.unread(every_s=0.0), 30)
    assert reading == []
    lines.say("after")
    assert capsys.readouterr().out == "before\n"


@contextlib.contextmanager
def stdout_in_a_pipe() -> Iterator[int]:
    """Have standard output be a pipe; yield the descriptor of its other end."""
    ours, theirs = os.pipe()
    with io.TextIOWrapper(io.FileIO(theirs, "w"), write_through=True) as out, contextlib.redirect_stdout(out):
        yield ours


def test_a_write_without_a_reader_is_the_end() -> None:
    lines = ReadLines(lambda: True)
    with stdout_in_a_pipe() as pipe:
        os.close(pipe)
        lines.say("nobody reads it")
    asyncio.run(asyncio.wait_for(lines.unread(), 30))


def test_a_pipe_has_a_reader_until_its_other_end_is_closed() -> None:
    with stdout_in_a_pipe() as pipe:
        assert stdout_has_reader()
        os.close(pipe)
        assert not stdout_has_reader()


def test_what_is_no_file_has_a_reader(capsys: pytest.CaptureFixture[str]) -> None:
    assert stdout_has_reader()
