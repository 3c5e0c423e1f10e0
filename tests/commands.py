"""Runs commands of ours to their ends within this process: the start of a program would take most of their time.

What a command does with signals, terminals and pipes is not to be seen here: tests of that start the program.
"""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

from cli.main import main


def command(*words: str | Path, cwd: Path | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `vertice` with these words, in a folder, and with these settings alone; return what became of it."""
    argv = [str(word) for word in words]
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) for _ in range(2))
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("REGISTRY_", "VERTICE_"))}
    with (
        contextlib.chdir(cwd or Path.cwd()),
        _environment({**clean, **environment}),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            code: object = main(argv)
        except SystemExit as ended:
            code = ended.code
    assert isinstance(code, int)
    printed, said = (text.buffer.getvalue().decode() for text in (out, err))
    return subprocess.CompletedProcess(argv, code, printed, said)


@contextlib.contextmanager
def _environment(wanted: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    os.environ.clear()
    os.environ.update(wanted)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
