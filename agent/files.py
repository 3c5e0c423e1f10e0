"""Files that are replaced as a whole: what is read is all of the old one or all of the new one.

Everything here blocks: it is called from threads, and from commands.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path


def _as_it_is(_: int) -> None:
    """Leave a new file with the mode and the owner that it was made with."""


def _always() -> None:
    """Have nothing against it."""


def replace_file(
    path: Path,
    parts: Iterable[bytes],
    *,
    prepare: Callable[[int], None] = _as_it_is,
    check: Callable[[], None] = _always,
) -> None:
    """Write `parts` to `path`, readable by its owner alone. When it fails, what was there stays.

    `prepare` is given the descriptor of the new file before anything is written to it; `check` is called when all
    of it is on the disk, and raises to leave things as they are. On the disk when it returns, the name included.
    Raises OSError.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)  # made with mode 0600
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
        os.fsync(folder)  # the new name has to outlive a power cut, too
    finally:
        os.close(folder)
