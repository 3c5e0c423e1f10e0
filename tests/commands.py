"""Runs our commands to completion within this process, since starting a program would take most of the time.

This shows nothing about signals, terminals and pipes; tests of those start the program.
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
    """Run `vertice` with these words in a folder, with only these settings; return its exit code and output."""
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
