"""What Go's libraries for transparency logs make of our audit logs: the judge of heads, proofs and trees.

A small Go program in `audit_go/` answers; it is built once a run. Where it cannot be built, the tests that ask it are
skipped with the reason.
"""

from __future__ import annotations

import base64
import functools
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest

FOLDER: Final = Path(__file__).resolve().parent / "audit_go"
BUILD_TIMEOUT_S: Final = 540
_ANSWER_TIMEOUT_S: Final = 60


@functools.cache
def _program() -> Path | str:
    """Return the judge, or why there is none."""
    go = shutil.which("go") or "/usr/local/go/bin/go"
    if not Path(go).exists():
        return "Go is not installed"
    program = Path(tempfile.mkdtemp(prefix="audit-go-")) / "judge"
    argv = [go, "build", "-o", str(program), "."]
    environment = {**os.environ, "GOTOOLCHAIN": "local", "GOFLAGS": "-mod=readonly -buildvcs=false"}
    try:
        done = subprocess.run(
            argv, cwd=FOLDER, env=environment, capture_output=True, text=True, timeout=BUILD_TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return f"the judge was not built within {BUILD_TIMEOUT_S} s"
    return program if done.returncode == 0 else f"the judge cannot be built: {done.stderr.strip()[-300:]}"


def judged(questions: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the answers: "" to a question where all of Go's libraries agree. Skips the test where there is no Go."""
    program = _program()
    if isinstance(program, str):
        pytest.skip(f"NOT JUDGED BY GO'S TRANSPARENCY LOGS: {program}")
    done = subprocess.run(
        [str(program)],
        input=json.dumps(list(questions), default=_encoded),
        capture_output=True,
        text=True,
        timeout=_ANSWER_TIMEOUT_S,
        check=True,
        env={"PATH": os.environ.get("PATH", "")},
    )
    answers: list[str] = json.loads(done.stdout)
    return answers


def _encoded(value: object) -> str:
    assert isinstance(value, bytes)
    return base64.b64encode(value).decode()
