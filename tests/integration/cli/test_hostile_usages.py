"""Some 600 wrong usages of the program: none prints a traceback, each says in one line what is wrong.

They run in forked processes with streams of their own. The servers are real sockets that misbehave.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from cli.command_tree import leaves
from cli.exit_codes import FAILED, INTERRUPTED, NOT_FOUND, OK, USAGE
from tests.forked import CLOSED, FULL, GONE, Outcome, Run, outcomes
from tests.usages import ANSWERS, FILES, FOLDER, REFUSES, Usage, usages

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]
MODULES = [leaf.command.module for leaf in leaves()]
LEAST = 400
LONGEST_LINE = 700
# Words of libraries and of the interpreter, which say nothing to people.
FOREIGN = ("Traceback", "[Errno", "fault of the program", "Expected `", "object has no attribute", "<class", "NoneType")


@contextlib.contextmanager
def misbehaving() -> Iterator[dict[str, int]]:
    """Run a server for each of ANSWERS for the duration of a `with`, and yield their ports by name."""
    with contextlib.ExitStack() as stack:
        silent = stack.enter_context(socket.socket())
        silent.bind(("127.0.0.1", 0))  # it is not listened to
        ports = {REFUSES: int(silent.getsockname()[1])}
        for name, answer in ANSWERS.items():
            server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            thread = threading.Thread(target=_serve, args=(server, answer))
            thread.start()
            stack.callback(thread.join, 10)
            stack.callback(server.shutdown, socket.SHUT_RDWR)  # it ends the wait for the next connection
            ports[name] = server.getsockname()[1]
        yield ports


def _serve(server: socket.socket, answer: bytes) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection, contextlib.suppress(OSError):
            connection.settimeout(5)
            connection.recv(65536)
            connection.sendall(answer)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("hostile")
    for name, content in FILES.items():
        (found / name).write_bytes(content)
    (found / FOLDER).mkdir()
    os.mkfifo(found / "a-pipe")
    return found


@pytest.fixture(scope="module")
def settings(folder: Path) -> Mapping[str, str]:
    """The environment of every run: the program writes nothing outside of the folder, either."""
    return {"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder), "LANG": "C.UTF-8"}


def content(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def faults(usage: Usage, outcome: Outcome) -> list[str]:
    """Return what is wrong with the outcome of a usage."""
    lines = outcome.stderr.splitlines()
    found = [f"it has {word!r}" for word in FOREIGN if word in outcome.stderr]
    if outcome.code != usage.code:
        found.append(f"exit code {outcome.code}, not {usage.code}")
    if len(lines) != 1 or not lines[0].isprintable() or len(lines[0]) > LONGEST_LINE:
        found.append(f"{len(lines)} lines, not one that is readable")
    if not outcome.stderr.startswith("vertice: "):
        found.append("it does not begin with the program's name")
    if outcome.stdout:
        found.append("something on standard output")
    if usage.said not in outcome.stderr:
        found.append(f"{usage.said} is not named")
    return found


def test_no_wrong_usage_ends_in_a_traceback_and_each_says_in_one_line_what_is_wrong(
    folder: Path, settings: Mapping[str, str]
) -> None:
    before = content(folder)
    with misbehaving() as ports:
        table = list(usages(ports))
        done = outcomes([Run(u.argv, {**settings, **u.environment}, u.stdin) for u in table], folder, MODULES)
    assert len(table) >= LEAST
    bad = [
        f"{u.name}: {', '.join(why)}: {o.stderr[-400:]!r}"
        for u, o in zip(table, done, strict=True)
        if (why := faults(u, o))
    ]
    assert not bad, "\n".join([f"{len(bad)} of {len(table)}:", *bad])
    assert content(folder) == before
    counts = Counter(outcome.code for outcome in done)
    print(f"{len(table)} wrong usages: {dict(counts)}")  # noqa: T201 - the count


@pytest.mark.parametrize("words", [("--help",), ("--nosuch",)], ids=["right", "wrong"])
def test_every_command_ends_as_documented_whatever_its_streams_are(
    folder: Path, settings: Mapping[str, str], words: tuple[str, ...]
) -> None:
    is_right = words == ("--help",)
    streams = [("", kind) for kind in ("", FULL, CLOSED, GONE)]
    streams += [(kind, "") for kind in (FULL, CLOSED, GONE, "ascii", "latin-1")] + [(CLOSED, CLOSED), (FULL, FULL)]
    runs = [
        Run((*leaf.words, *words), settings, stdin=CLOSED, stdout=stdout, stderr=stderr)
        for leaf in leaves()
        for stdout, stderr in streams
    ]
    for run, outcome in zip(runs, outcomes(runs, folder, MODULES), strict=True):
        fails = is_right and run.stdout in (FULL, CLOSED)
        assert outcome.code == (FAILED if fails else OK if is_right else USAGE), (run, outcome)
        said = 0 if run.stderr else int(fails or not is_right)
        assert len(outcome.stderr.splitlines()) == said, (run, outcome)
        assert bool(outcome.stdout) is (is_right and run.stdout in ("", "ascii", "latin-1")), (run, outcome)


def test_all_exit_codes_are_documented(folder: Path) -> None:
    assert {OK, FAILED, USAGE, NOT_FOUND, INTERRUPTED} >= {usage.code for usage in usages({})}


def test_an_answer_that_was_cut_short_is_no_answer_though_it_can_be_read(
    folder: Path, settings: Mapping[str, str]
) -> None:
    with misbehaving() as ports:
        runs = [Run(("services", "-o", "json", "--agent", f"127.0.0.1:{ports['cut']}"), settings)]
        (done,) = outcomes(runs, folder, MODULES)
    assert (done.code, done.stdout) == (FAILED, "")
    assert "was cut short" in done.stderr
