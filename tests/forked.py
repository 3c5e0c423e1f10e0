"""Runs the `vertice` program many times in processes that are forked, not started: each costs milliseconds.

Run as a program, it reads one usage per line (JSON) from standard input, and prints one outcome per line. Each usage
has its own arguments, environment, folder and streams, which are the child's real file descriptors.
"""

from __future__ import annotations

import gc
import io
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

ROOT: Final = Path(__file__).resolve().parent.parent
TIMEOUT_S: Final = 30.0
# What standard output and error may be, beside a file that is read afterwards.
FULL, CLOSED, GONE = "full", "closed", "gone"


class Run(NamedTuple):
    """One run of the program. `stdout` and `stderr`: FULL, CLOSED, GONE, an encoding, or empty for a plain file."""

    argv: tuple[str, ...]
    environment: Mapping[str, str] = {}
    stdin: str = ""
    stdout: str = ""
    stderr: str = ""


class Outcome(NamedTuple):
    """What became of it. `code` is negative for a signal, None when it did not end in time."""

    code: int | None
    stdout: str
    stderr: str


def outcomes(runs: Iterable[Run], folder: Path, modules: Iterable[str] = ()) -> list[Outcome]:
    """Return the outcomes of these runs in a folder; `modules` are imported once, before them."""
    lines = [
        json.dumps({"folder": str(folder), "modules": list(modules)}),
        *(json.dumps(run._asdict()) for run in runs),
    ]
    argv = [sys.executable, "-m", "tests.forked"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        argv, input="\n".join(lines), capture_output=True, text=True, cwd=ROOT, env=environment, check=True
    )
    return [Outcome(*json.loads(line)) for line in done.stdout.splitlines()]


def main() -> None:
    """Carry out what standard input asks for."""
    head, *lines = sys.stdin.read().splitlines()
    told = json.loads(head)
    for module in ("cli.main", *told["modules"]):
        __import__(module)
    gc.freeze()
    for line in lines:
        print(json.dumps(_outcome(Run(**json.loads(line)), told["folder"])), flush=True)  # noqa: T201 - the answer


def _outcome(run: Run, folder: str) -> Outcome:
    with tempfile.TemporaryFile() as stdin, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        stdin.write(run.stdin.encode("utf-8", "surrogateescape"))
        stdin.seek(0)
        child = os.fork()
        if child == 0:
            _become(run, folder, stdin.fileno(), out.fileno(), err.fileno())
        code = _wait(child)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode("utf-8", "backslashreplace"))
        return Outcome(code, *texts)


def _wait(child: int) -> int | None:
    descriptor = os.pidfd_open(child)
    ended = bool(select.select([descriptor], (), (), TIMEOUT_S)[0])
    os.close(descriptor)
    if not ended:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status) if ended else None


def _become(run: Run, folder: str, stdin: int, out: int, err: int) -> None:
    """Make this process the program, as the system would have started it. Never returns."""
    os.dup2(stdin, 0)
    if run.stdin == CLOSED:
        os.close(0)
        sys.stdin = None  # as Python does
    else:
        sys.stdin = io.TextIOWrapper(io.FileIO(0, closefd=False), "utf-8")
    sys.stdout = _stream(1, run.stdout, out)
    sys.stderr = _stream(2, run.stderr, err)
    os.environ.clear()
    os.environ.update(run.environment)
    os.chdir(folder)
    sys.argv = ["vertice", *run.argv]
    from cli.main import main as vertice  # noqa: PLC0415 - it was imported before

    try:
        code: object = vertice()
    except SystemExit as ended:
        code = ended.code
    except BaseException:  # noqa: BLE001 - as the interpreter does
        traceback.print_exc()
        code = 1
    # The interpreter would clean up before it ends, which takes longer than the command; only its last flush matters.
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            code = 120
    os._exit(code if isinstance(code, int) else 1)


def _stream(number: int, kind: str, file: int) -> Any:
    if kind == CLOSED:
        os.close(number)
        return None
    if kind == FULL:
        file = os.open("/dev/full", os.O_WRONLY)
    elif kind == GONE:
        reader, file = os.pipe()
        os.close(reader)
    os.dup2(file, number)
    encoding = kind if kind not in ("", FULL, GONE) else "utf-8"
    return io.TextIOWrapper(io.FileIO(number, "w", closefd=False), encoding)


if __name__ == "__main__":
    main()
