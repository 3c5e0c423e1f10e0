"""Small Go programs that judge our work by a library of others: built once a run, where Go is installed."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

# An empty cache of Go's has a hundred packages to be compiled.
BUILD_TIMEOUT_S: Final = 540


def go_tool() -> str:
    """Return the path of the `go` command, whether it is there or not."""
    return shutil.which("go") or "/usr/local/go/bin/go"


@functools.cache
def built(folder: Path) -> Path | str:
    """Return the program of a folder, or why there is none."""
    if not Path(go_tool()).exists():
        return "Go is not installed"
    program = Path(tempfile.mkdtemp(prefix=f"{folder.name}-")) / "judge"
    argv = [go_tool(), "build", "-o", str(program), "."]
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -buildvcs=false"}
    try:
        done = subprocess.run(
            argv, cwd=folder, env=environment, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"the judge was not built within {BUILD_TIMEOUT_S} s"
    return program if done.returncode == 0 else f"the judge cannot be built: {done.stderr.strip()[-300:]}"
