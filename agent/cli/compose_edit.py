"""What the commands share that write compose files: opening, showing a difference, replacing, and one line per failure.

A file is replaced as a whole or not at all; what is shown is a unified diff that `patch` takes.
"""

from __future__ import annotations

import argparse
import codecs
import difflib
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import msgspec

from agent.cli.main import FAILED, OK, USAGE
from agent.compose.errors import ComposeError, Place, printable
from agent.compose.model import Project
from agent.compose.outline import NotEditable
from agent.compose.reader import MAX_FILE_BYTES, project_of
from agent.compose.replacing import Changed, Held, held, replace

EXIT_CODES: Final = """exit codes:
  0    done, or nothing to do
  1    done, and something was left out; or a file could not be written, and is as it was
  2    wrong usage, or a file that cannot be used: nothing was written
  130  ended by Ctrl-C"""


class Text(msgspec.Struct, frozen=True):
    """A compose file as text, and what it takes to write it back byte by byte."""

    name: str
    file: Held
    text: str
    mark: bytes = b""

    def bytes_of(self, text: str) -> bytes:
        """Return the bytes of an edited text."""
        return self.mark + text.encode()


def opened(path: Path) -> Text:
    """Return the text of a compose file. Raises ComposeError when it cannot be read."""
    place = Place(str(path))
    try:
        file = held(path, MAX_FILE_BYTES)
    except OSError as error:
        raise ComposeError(error.strerror or str(error), code="no-file", place=place) from None
    if file.data is None:
        raise ComposeError("there is no such file", code="no-file", place=place)
    mark = codecs.BOM_UTF8 if file.data.startswith(codecs.BOM_UTF8) else b""
    try:
        return Text(str(path), file, file.data[len(mark) :].decode(), mark)
    except UnicodeDecodeError as error:
        line = file.data.count(b"\n", 0, error.start) + 1
        raise ComposeError("it is not UTF-8 text", code="not-yaml", place=Place(str(path), line)) from None


def project_with(name: str, text: str, environment: Mapping[str, str]) -> Project:
    """Return what a file's text means, with the files that it names. Raises ComposeError."""

    def read(path: str) -> bytes:
        data = held(Path(path), MAX_FILE_BYTES).data
        if data is None:
            raise FileNotFoundError(2, os.strerror(2))
        return data

    return project_of([(name, text.encode())], environment, read)


def write(file: Held, data: bytes) -> bool:
    """Replace a file, unless these are its bytes already; return whether it was written. Raises Changed, OSError."""
    if file.data == data:
        return False
    replace(file, data)
    return True


def difference(name: str, before: str, after: str) -> str:
    """Return what an edit changes, as a unified diff."""
    old, new = before.splitlines(keepends=True), after.splitlines(keepends=True)
    lines = difflib.unified_diff(old, new, printable(name), printable(name))
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def told(work: Callable[[argparse.Namespace, Mapping[str, str]], int], arguments: argparse.Namespace) -> int:
    """Do the work of a command and return its exit code; what goes wrong is one line on stderr."""
    try:
        return work(arguments, os.environ)
    except NotEditable as error:
        where = f"{arguments.file}:{error.line}" if error.line else str(arguments.file)
        print(f"vertice: {printable(where)}: {error.message}; nothing was written", file=sys.stderr)
        return USAGE
    except Changed as error:
        print(f"vertice: {printable(str(arguments.file))}: {error}", file=sys.stderr)
        return FAILED
    except ComposeError as error:
        print(f"vertice: {error}", file=sys.stderr)
        return USAGE
    except OSError as error:
        where = error.filename or arguments.file
        reason = error.strerror or str(error)
        print(f"vertice: {printable(str(where))}: {reason}; nothing was written", file=sys.stderr)
        return FAILED


def code_of(*, complete: bool) -> int:
    """Return the exit code of a command that has left something out, or has not."""
    return OK if complete else FAILED
