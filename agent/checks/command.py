"""Command checks: runs a configured program, whose exit code is the result of the check.

No shell is involved. The program leads its own session, and everything it started ends with it: on a timeout, when
it exits, and when the agent stops. Blocking calls run in threads, a bounded number at a time.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from typing import IO, Final

from agent.checks.result import WELL, CheckOutcome, CheckResult, NotChecked, after_error, after_timeout, critical, shown
from agent.checks.spec import CommandCheck
from registry_core.blocking import NoThread, Threads
from registry_core.causes import cause_of
from registry_core.domain.records import Registration, Status

MAX_OUTPUT_BYTES: Final = 4096
# Time to clean up between SIGTERM and SIGKILL.
TERM_S: Final = 0.3
# Reaping after SIGKILL is instant unless the machine is in trouble; the check must end even then.
REAP_S: Final = 1.0
_POLL_S: Final = 0.02
# Between two reads of output that is discarded, of 64 KiB each: at most some 30 MB/s.
_FLOOD_S: Final = 0.002
# Only these variables are inherited: the agent's environment holds the registry's token.
INHERITED: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TZ")
_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class CommandProbe:
    """Exit code 0 is passing, 1 is warning, anything else is critical, as in Nagios and Consul."""

    def __init__(self, how: CommandCheck, claim: Registration, timeout_s: float, threads: Threads) -> None:
        self._argv = how.argv
        self._timeout_s = timeout_s
        self._threads = threads
        self._environment = environment_of(claim, os.environ)

    async def __call__(self) -> CheckOutcome:
        run = Run(self._argv, self._environment, self._timeout_s)
        most_s = self._timeout_s + TERM_S + 2 * REAP_S
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + most_s
        try:
            return await self._threads.run(run, timeout_s=most_s)
        except TimeoutError:
            return after_timeout(f"it could not be stopped within {most_s:g} s", loop.time() - ends_at)
        except NoThread as error:
            return NotChecked(f"it could not be started: {error.strerror}")
        finally:
            run.give_up()


def environment_of(claim: Registration, own: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a command: a few variables of the agent's `own`, and the instance's."""
    return {
        "PATH": _PATH,
        **{name: own[name] for name in INHERITED if name in own},
        "SERVICE_NAME": claim.service_name,
        "SERVICE_INSTANCE_ID": claim.instance_id,
        "SERVICE_HOST": claim.host,
        "SERVICE_PORT": str(claim.port),
    }


class Run:
    """One run of a program. Called in a thread; `give_up` may be called from any other."""

    def __init__(self, argv: tuple[str, ...], environment: dict[str, str], timeout_s: float) -> None:
        self._argv = argv
        self._environment = environment
        self._timeout_s = timeout_s
        self._given_up = threading.Event()
        self._late_s = 0.0  # how much too late the timeout was noticed
        self._process: subprocess.Popen[bytes] | None = None
        # Held briefly: a signal to the group must not race with reaping, which frees its number.
        self._reaping = threading.Lock()

    def give_up(self) -> None:
        """Kill the program now, if it runs: the agent may exit before the thread runs again."""
        self._given_up.set()
        self._signal(signal.SIGKILL)

    def __call__(self) -> CheckOutcome:
        try:
            process = subprocess.Popen(  # noqa: S603 - the operator's own command, and no shell reads it
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=self._environment,
                cwd="/",
                start_new_session=True,
            )
        except (OSError, ValueError, MemoryError) as error:
            return after_error(error, f"{self._argv[0]} cannot be started: {cause_of(error)}")
        self._process = process
        assert process.stdout is not None  # set by stdout=PIPE
        with process.stdout as pipe:
            output = bytearray()
            in_time = self._run(process, pipe, output)
            code = self._reaped(process)
        said = shown(output.decode("utf-8", "replace"))
        if not in_time:
            because = f"not done within {self._timeout_s:g} s{': ' if said else ''}{said}"
            return after_timeout(because, self._late_s)
        return critical("it does not end, even after SIGKILL") if code is None else result_of(code, said)

    def _run(self, process: subprocess.Popen[bytes], pipe: IO[bytes], output: bytearray) -> bool:
        """Return whether it ended by itself in time. Its whole group has ended when this returns."""
        # poll(2) needs no descriptor: none may be left, and the program already runs.
        with selectors.PollSelector() as selector:
            os.set_blocking(pipe.fileno(), False)
            selector.register(pipe, selectors.EVENT_READ)
            ends_at = time.monotonic() + self._timeout_s
            in_time = self._wait(process, selector, output, self._timeout_s)
            if not in_time:
                self._late_s = time.monotonic() - ends_at
                # The whole group gets a chance to clean up first.
                self._signal(signal.SIGTERM)
                self._wait(process, selector, output, TERM_S)
            # Even after a normal exit: leftover children must not pile up.
            self._signal(signal.SIGKILL)
            _read(selector, output)
        return in_time

    def _wait(
        self, process: subprocess.Popen[bytes], selector: selectors.BaseSelector, output: bytearray, wait_s: float
    ) -> bool:
        ends_at = time.monotonic() + wait_s
        while time.monotonic() < ends_at and not self._given_up.is_set():
            _read(selector, output)
            if _has_ended(process):
                return True
        # The agent may have stood still since it last looked.
        return _has_ended(process)

    def _reaped(self, process: subprocess.Popen[bytes]) -> int | None:
        ends_at = time.monotonic() + REAP_S
        while True:
            with self._reaping:
                code = process.poll()
            if code is not None or time.monotonic() >= ends_at:
                return code
            time.sleep(_POLL_S)

    def _signal(self, number: signal.Signals) -> None:
        process = self._process
        with self._reaping:
            # Until its leader is reaped, the group's number cannot be reused.
            if process is not None and process.returncode is None:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, number)


def result_of(code: int, said: str) -> CheckResult:
    """Return the result for an exit code; a negative one is the signal that ended the program."""
    if code == 0:
        return WELL
    how = f"exit code {code}" if code > 0 else f"ended by signal {-code}"
    because = shown(f"{how}: {said}" if said else how)
    return CheckResult(Status.WARNING if code == 1 else Status.CRITICAL, because)


def _read(selector: selectors.BaseSelector, output: bytearray) -> None:
    """Read the program's output for a moment; the excess is discarded, so that the program does not block.

    A program that floods its output is slowed down, or this thread would compete with the event loop all the time.
    """
    if not selector.get_map():
        time.sleep(_POLL_S)
        return
    for key, _ in selector.select(_POLL_S):
        with contextlib.suppress(BlockingIOError):
            piece = os.read(key.fd, 65536)
            if not piece:
                selector.unregister(key.fileobj)
            output += piece[: MAX_OUTPUT_BYTES - len(output)]
            if len(output) == MAX_OUTPUT_BYTES:
                time.sleep(_FLOOD_S)


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    """Return whether the program has ended; it stays a zombie, so that its number is not reused."""
    try:
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:  # already reaped elsewhere
        return True
