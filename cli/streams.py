"""Standard input, output and error of the `vertice` program, whatever they are: full, closed, gone, or not UTF-8.

Characters that an output's encoding lacks are escaped. A failed write to standard output ends a command in one line;
one to standard error changes nothing, since nobody could read about it.
"""

from __future__ import annotations

import contextlib
import io
import os
import select
import sys
from collections.abc import Callable
from typing import Any, Final

from cli.exit_codes import FAILED, INTERRUPTED, OK

# A line of the log that cannot be written for so long is lost.
_PATIENCE_S: Final = 1.0


class OutputFailed(Exception):
    """Raised when standard output cannot be written; its text is one line.

    It is no OSError and no VerticeError: no command takes it for a fault of its own work, and it ends the program.
    """


class ReaderGone(OutputFailed):
    """Raised when the program that read standard output has ended, as in `vertice watch | head`."""


class Output(io.RawIOBase):
    """A file descriptor for writing. A failed write raises OutputFailed if `fails`; otherwise it is lost."""

    def __init__(self, descriptor: int, *, fails: bool, closed: bool = False) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._fails = fails
        self._was_closed = closed
        self._discards = False

    def writable(self) -> bool:
        """Return True: it is written to."""
        return True

    def fileno(self) -> int:
        """Return its file descriptor."""
        return self._descriptor

    def isatty(self) -> bool:
        """Return whether it is a terminal."""
        return os.isatty(self._descriptor)

    def discard(self) -> None:
        """Drop everything from now on, what is buffered included."""
        self._discards = True

    def write(self, data: Any, /) -> int:
        """Write a part and return its length. Raises OutputFailed, unless failures are forgiven."""
        if self._discards:
            return len(data)
        if self._was_closed and self._fails:
            raise OutputFailed("standard output is closed")
        try:
            return self._written(data)
        except OSError as error:
            if self._fails:
                gone = isinstance(error, BrokenPipeError)
                reason = f"standard output cannot be written: {error.strerror or error}"
                raise (ReaderGone if gone else OutputFailed)(reason) from None
        return len(data)

    def _written(self, data: bytes) -> int:
        while True:
            with contextlib.suppress(BlockingIOError):
                return os.write(self._descriptor, data)
            # Another program has set the file to non-blocking, such as the other end of a terminal.
            ready = select.select((), (self._descriptor,), (), None if self._fails else _PATIENCE_S)
            if not ready[1]:
                return len(data)


def guard() -> Output:
    """Replace the standard streams of this process, and return the raw standard output."""
    closed = _open_closed()
    stdout, stderr = Output(1, fails=True, closed=1 in closed), Output(2, fails=False, closed=2 in closed)
    sys.stdout, sys.stderr = _text(stdout, sys.stdout), _text(stderr, sys.stderr, at_once=True)
    if sys.stdin is None:  # closed: it reads as empty
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - it lasts as long as the process
    return stdout


def _open_closed() -> set[int]:
    """Open those of the three descriptors that are closed: the next file or socket would become one of them."""
    found: set[int] = set()
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
            found.add(descriptor)
    return found


def _text(raw: Output, before: object, *, at_once: bool = False) -> io.TextIOWrapper:
    encoding = getattr(before, "encoding", None) or "utf-8"
    buffered = io.BufferedWriter(raw)
    lines = at_once or raw.isatty()
    return io.TextIOWrapper(buffered, encoding, "backslashreplace", line_buffering=lines)


def guarded(work: Callable[[], int]) -> int:
    """Run the program `work` on guarded streams, and return the exit code. It lets no exception through."""
    stdout = guard()
    try:
        try:
            code = work()
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else OK if ended.code is None else FAILED
        sys.stdout.flush()
    except ReaderGone:
        code = OK  # it has what it wanted
    except KeyboardInterrupt:
        code = INTERRUPTED
    except OutputFailed as error:
        code = _failed(str(error))
    except ModuleNotFoundError as error:
        code = _failed(f"the Python package {error.name} is not installed: install Vértice again, with what it needs")
    except Exception as error:  # the last resort: a program has no caller that could do better
        if sys.flags.dev_mode:
            raise
        code = _failed(f"this is a fault of the program: {_line(error)} (PYTHONDEVMODE=1 shows where it is)")
    finally:
        stdout.discard()
    return code


def _failed(reason: str) -> int:
    print(f"vertice: {reason}", file=sys.stderr)
    return FAILED


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"


def announce(text: str) -> None:
    """Print a line for people who start a long-lived program. A program that cannot print it serves all the same."""
    try:
        print(text, flush=True)
    except OutputFailed:
        raw = getattr(sys.stdout, "buffer", None)
        if isinstance(raw, io.BufferedWriter) and isinstance(raw.raw, Output):
            raw.raw.discard()


def write_file(text: str) -> None:
    """Write a file's text to standard output: in UTF-8, whatever the encoding of the terminal."""
    sys.stdout.flush()
    binary = getattr(sys.stdout, "buffer", None)
    if binary is None:  # a text stream of the caller's
        sys.stdout.write(text)
        return
    binary.write(text.encode("utf-8", "surrogateescape"))
    binary.flush()
