"""Replaces files atomically: a reader sees all of the old file or all of the new one.

Everything here blocks: it is called from threads, and from commands.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path


def _as_it_is(_: int) -> None:
    """Keep the mode and owner of the new file."""


def _always() -> None:
    """Accept the new file."""


def replace_file(
    path: Path,
    parts: Iterable[bytes],
    *,
    prepare: Callable[[int], None] = _as_it_is,
    check: Callable[[], None] = _always,
) -> None:
    """Write `parts` to `path`, readable only by its owner. On failure the old file stays.

    `prepare` gets the descriptor of the new file before the first write; `check` is called once the data is on disk,
    and raises to keep the old file. File and name are on disk when this returns.
    Raises OSError.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # created with mode 0600
    try:
        with os.fdopen(descriptor, "wb") as file:
            prepare(file.fileno())
            for part in parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        check()
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)  # the new name must survive a power failure too
    finally:
        os.close(folder)
