"""Reads the agent's TOML files whole, and says in one line why one cannot be read."""

from __future__ import annotations

import os
import re
import select
import stat
import tomllib
from io import FileIO
from pathlib import Path
from typing import Any, Final

from registry_core.causes import cause_of
from registry_core.errors import SettingsError

MAX_FILE_BYTES: Final = 16 * 1024 * 1024
# How long to wait until a pipe is opened for writing.
WRITER_TIMEOUT_S: Final = 5.0
# How long a pipe may stay silent: a command that decrypts the file asks a person, or a key service, first.
PIPE_TIMEOUT_S: Final = 60.0
_PLACE: Final = re.compile(r".*\(at (line \d+, column \d+|end of document)\)", re.DOTALL)
# What the parser says, by the beginning of its message, in words for people.
_FAULTS: Final = {
    "Cannot overwrite": "a key is set twice",
    "Cannot declare": "a table is written twice",
    "Cannot mutate": "a key is set twice",
    "Cannot redefine": "a table is written twice",
    "Duplicate inline table key": "a key is set twice",
    "Invalid value": "it is not a value; a text needs quotes",
    "Expected '=' after a key": "a key needs `= value` after it",
    "Invalid initial character for a key part": "a key is missing",
    "Invalid statement": "it is neither `key = value` nor a [table]",
    "Unterminated string": "a text lacks its closing quote",
    "Expected newline or end of document after a statement": "a second value follows on the same line",
    "Unescaped": "a backslash in a text is written twice, or the text has single quotes",
    "Escaped": "a text has an escape that does not exist",
    "Illegal character": "a character is not allowed there",
    "Found invalid character": "a character is not allowed there",
    "Invalid date": "it is not a value; a text needs quotes",
    "Invalid hex": "a text has an escape that does not exist",
    "Unclosed": "a bracket is not closed",
    "Expected ']": "a bracket is not closed",
}


def read_toml(path: Path, *, most_bytes: int = MAX_FILE_BYTES, example: str = "") -> dict[str, Any]:
    """Return the tables of the file at `path`. Raises SettingsError, in one line that names the file. Blocks."""
    try:
        body = _bytes_of(path, most_bytes + 1)
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {cause_of(error)}") from None
    if len(body) > most_bytes:
        raise SettingsError(f"{path}: it has more than {most_bytes} bytes")
    hint = f" (example: {example})" if example else ""
    try:
        return tomllib.loads(body.decode().removeprefix("\ufeff"))
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise SettingsError(f"{path}: it is not TOML: line {line} is not UTF-8{hint}") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"{path}: it is not TOML: {_fault(str(error))}{hint}") from None
    except RecursionError:
        raise SettingsError(f"{path}: it is not TOML: its lists are nested too deeply{hint}") from None


def _bytes_of(path: Path, most: int) -> bytes:
    """Return the beginning of a file. Raises OSError, also for a pipe that nobody writes to."""
    # Without O_NONBLOCK, opening a pipe of that name would block.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb", buffering=0) as file:
        is_pipe = stat.S_ISFIFO(os.fstat(file.fileno()).st_mode)
        parts: list[bytes] = []
        while sum(map(len, parts)) < most:
            # `--config <(decrypt agent.toml)` is a pipe that is written to while it is read.
            part = (_read_on if parts else _read_first)(file, most) if is_pipe else file.read(most)
            if not part:
                break
            parts.append(part)
    return b"".join(parts)[:most]


def _read_first(file: FileIO, most: int) -> bytes:
    """Return the first bytes of a pipe. Raises OSError when nobody writes any."""
    part = file.read(most)
    if part == b"":  # nobody has opened it for writing yet
        select.select([file], (), (), WRITER_TIMEOUT_S)
        part = file.read(most)
        if part == b"":
            raise OSError(None, "it is a pipe that nobody writes to")
    return part if part is not None else _read_on(file, most)


def _read_on(file: FileIO, most: int) -> bytes:
    """Return the next bytes of a pipe, which is being written to; none at its end. Raises TimeoutError."""
    part = file.read(most)
    if part is None:
        select.select([file], (), (), PIPE_TIMEOUT_S)
        # It is read also when the wait has ended: this process may have stood still for all of it.
        part = file.read(most)
    if part is None:
        raise TimeoutError
    return part


def _fault(message: str) -> str:
    place = _PLACE.fullmatch(message)
    where = place[1].replace("end of document", "the end of the file") if place is not None else ""
    fault = next((words for start, words in _FAULTS.items() if message.startswith(start)), "it cannot be read")
    return f"{where}: {fault}" if where else fault
