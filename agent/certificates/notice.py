"""Tells the program of a service that its files changed: by a command, or by a signal to the process of a pid file."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from agent.checks.command import INHERITED, REAP_S, TERM_S, Run
from agent.checks.result import CheckResult
from registry_core.blocking import NoThread, Threads
from registry_core.causes import cause_of
from registry_core.domain.records import Status

COMMAND_S: Final = 30.0
SIGNAL_S: Final = 5.0
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_MOST_PID_BYTES: Final = 32


class SignalTo(msgspec.Struct, frozen=True):
    """A signal, and the file with the number of the process that gets it."""

    number: int
    pid_file: str


class Notice(msgspec.Struct, frozen=True):
    """What follows a change of files: a command, a signal, both or nothing."""

    command: tuple[str, ...] = ()
    signal_to: SignalTo | None = None


def read_signal(value: str) -> SignalTo:
    """Read `HUP:/run/nginx.pid`. Raises ValueError with the reason."""
    name, colon, path = value.strip().partition(":")
    known = {one.name.removeprefix("SIG"): one for one in signal.Signals}
    number = known.get(name.upper().removeprefix("SIG"))
    if number is None or number in (signal.SIGKILL, signal.SIGSTOP):
        raise ValueError("it does not begin with the name of a signal that a program can handle")
    if not colon or not path.startswith("/"):
        raise ValueError("behind the signal and a colon it takes the path of a pid file")
    return SignalTo(number, path)


async def told(notice: Notice, service: str, certificate: Path, threads: Threads) -> str:
    """Carry out `notice`; return what went wrong, "" if nothing did."""
    problem = ""
    if notice.command:
        problem = await _commanded(notice.command, environment_for(service, certificate, os.environ), threads)
    if notice.signal_to is not None and not problem:
        try:
            await threads.run(partial(_signalled, notice.signal_to), timeout_s=SIGNAL_S)
        except (OSError, ValueError, TimeoutError) as error:
            why = "it holds no process's number" if isinstance(error, ValueError) else cause_of(error)
            problem = f"AGENT_CERT_SIGNAL: {notice.signal_to.pid_file}: {why}"
    return problem


def environment_for(service: str, certificate: Path, own: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a command: a few variables of the agent's `own`, the service, and its certificate."""
    return {
        "PATH": _PATH,
        **{name: own[name] for name in INHERITED if name in own},
        "SERVICE_NAME": service,
        "CERTIFICATE": str(certificate),
    }


async def _commanded(argv: tuple[str, ...], environment: dict[str, str], threads: Threads) -> str:
    run = Run(argv, environment, COMMAND_S)
    try:
        outcome = await threads.run(run, timeout_s=COMMAND_S + TERM_S + 2 * REAP_S)
    except (TimeoutError, NoThread) as error:
        return f"AGENT_CERT_COMMAND: {cause_of(error)}"
    finally:
        run.give_up()
    if isinstance(outcome, CheckResult) and outcome.status is Status.PASSING:
        return ""
    return f"AGENT_CERT_COMMAND: {outcome.because}"


def _signalled(to: SignalTo) -> None:
    with Path(to.pid_file).open("rb") as file:
        pid = int(file.read(_MOST_PID_BYTES))
    if pid <= 1:
        raise ValueError("it is not the number of a program")
    os.kill(pid, to.number)
