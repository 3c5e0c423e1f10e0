"""Command checks, with real programs: good, bad, slow, stubborn, chatty, and with children."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from agent.checks import command
from agent.checks.command import CommandProbe, environment_of
from agent.checks.probes import CheckProbes
from agent.checks.result import WELL, CheckResult, NotChecked
from agent.checks.spec import CheckPace, CheckSpec, CommandCheck
from registry_core.blocking import Threads
from registry_core.domain.records import Status
from tests.integration.agent.checks.results import result
from tests.programs import eventually
from tests.samples import claim


@pytest.fixture(autouse=True)
def _no_child_is_left() -> Iterator[None]:
    yield
    left = [child for child in psutil.Process().children(recursive=True) if child.status() == psutil.STATUS_ZOMBIE]
    assert left == [], "zombies"


def probe(*argv: str, timeout_s: float = 5.0) -> CommandProbe:
    return CommandProbe(CommandCheck(argv), claim(), timeout_s, Threads("command check", 16))


def python(code: str, timeout_s: float = 5.0) -> CommandProbe:
    return probe(sys.executable, "-S", "-c", code, timeout_s=timeout_s)


def runs(pid: int) -> bool:
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


@pytest.mark.parametrize(
    ("code", "status"),
    [(0, Status.PASSING), (1, Status.WARNING), (2, Status.CRITICAL), (3, Status.CRITICAL), (127, Status.CRITICAL)],
)
async def test_the_exit_code_gives_the_status(code: int, status: Status) -> None:
    assert (await result(probe("/bin/sh", "-c", f"exit {code}"))).status is status


async def test_the_output_is_the_reason() -> None:
    result = await probe("/bin/sh", "-c", "echo; echo 'disk  93 % full'; echo oh >&2; exit 1")()
    assert result == CheckResult(Status.WARNING, "exit code 1: disk 93 % full oh")


async def test_a_program_killed_by_a_signal_is_critical() -> None:
    assert (await python("import os; os.abort()")()).because.startswith("ended by signal 6")


@pytest.mark.parametrize("name", ["/nowhere/check", "/etc/hostname", "/"])
async def test_a_program_that_cannot_start_is_critical_with_the_reason(name: str) -> None:
    ran = await result(probe(name))
    assert ran.status is Status.CRITICAL
    assert ran.because.startswith(f"{name} cannot be started: ")


async def test_no_shell_reads_it(tmp_path: Path) -> None:
    assert await probe("/bin/echo", f"$(touch {tmp_path}/made)", f"; touch {tmp_path}/made")() == WELL
    assert await probe("/usr/bin/test", "!", "-e", f"{tmp_path}/made")() == WELL


async def test_a_program_over_its_timeout_is_ended_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    script = f"sleep 300 & echo $! >{pids}; echo $$ >>{pids}; echo waiting; wait"
    ran = await result(probe("/bin/sh", "-c", script, timeout_s=0.5))
    assert ran.status is Status.CRITICAL
    assert ran.because == "not done within 0.5 s: waiting"
    child, leader = map(int, pids.read_text().split())
    await eventually(lambda: not runs(child) and not runs(leader), "both are gone")


async def test_a_program_that_ignores_sigterm_is_killed(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    ignoring = "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    code = f"{ignoring}; open({str(pid)!r}, 'w').write(str(os.getpid())); time.sleep(300)"
    assert (await python(code, timeout_s=1.0)()).because.startswith("not done within 1 s")
    await eventually(lambda: not runs(int(pid.read_text())), "it is gone")


async def test_children_left_by_a_program_end_with_it_and_delay_nothing(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    # The child keeps the program's output open, so that waiting for its end would mean waiting for the child.
    assert await probe("/bin/sh", "-c", f"sleep 300 & echo $! >{pid}")() == WELL
    await eventually(lambda: not runs(int(pid.read_text())), "the child is gone")


async def test_endless_output_does_not_fill_the_memory() -> None:
    assert await python("import sys; sys.stdout.write('x' * 5_000_000); sys.stdout.flush()")() == WELL
    result = await python("import sys; sys.stdout.write('x' * 5_000_000); sys.stdout.flush(); sys.exit(2)")()
    assert len(result.because) == 200


async def test_a_flood_of_output_is_read_at_a_bounded_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = 0
    really = os.read

    def counted(descriptor: int, size: int) -> bytes:
        nonlocal reads
        reads += 1
        return really(descriptor, size)

    monkeypatch.setattr(os, "read", counted)
    assert (await result(probe("/usr/bin/yes", timeout_s=0.5))).because.startswith("not done within 0.5 s: y y y")
    assert reads < 500, "one every 2 ms, for 0.8 s"


async def test_a_program_that_ended_while_the_agent_stood_still_was_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses = iter([2.0])
    monkeypatch.setattr(command, "_read", lambda *_: time.sleep(next(pauses, 0.01)))
    monkeypatch.setattr(command, "REAP_S", 30.0)
    assert await probe("/bin/sleep", "0.2", timeout_s=1.0)() == WELL


async def test_a_program_that_runs_on_when_the_agent_has_stood_still_was_not_checked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses = iter([2.0])
    monkeypatch.setattr(command, "_read", lambda *_: time.sleep(next(pauses, 0.01)))
    monkeypatch.setattr(command, "REAP_S", 30.0)
    outcome = await probe("/bin/sleep", "60", timeout_s=0.5)()
    assert isinstance(outcome, NotChecked)
    assert outcome.because.startswith("the agent itself stood still for ")


async def test_a_program_that_closes_its_output_is_still_waited_for() -> None:
    assert await python("import os, time; os.close(1); os.close(2); time.sleep(0.2)")() == WELL


async def test_a_check_that_is_cancelled_ends_its_program(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    task = asyncio.create_task(probe("/bin/sh", "-c", f"echo $$ >{pid}; exec sleep 300", timeout_s=300.0)())
    await eventually(lambda: pid.exists() and pid.read_text().strip().isdigit(), "it runs")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await eventually(lambda: not psutil.pid_exists(int(pid.read_text())), "it is gone, and reaped")


async def test_concurrent_checks_are_limited_and_waiting_does_not_count_as_run_time(
    tmp_path: Path,
) -> None:
    probe_for = CheckProbes(most_commands=2)
    count = f"touch {tmp_path}/$$; ls {tmp_path} | wc -l; sleep 0.3; rm {tmp_path}/$$; exit 2"
    check = CheckSpec("command", CommandCheck(("/bin/sh", "-c", count)), CheckPace(timeout_s=2.0))
    probes = [probe_for(claim(), check) for _ in range(6)]
    results = await asyncio.gather(*(probe_at("")() for probe_at in probes if probe_at is not None))
    assert len(results) == 6
    assert {result.because for result in results} <= {"exit code 2: 1", "exit code 2: 2"}


@pytest.mark.usefixtures("no_threads")
async def test_a_check_that_gets_no_thread_is_not_made_and_says_so() -> None:
    result = await probe("/bin/true")()
    assert isinstance(result, NotChecked)
    assert "the system allows no more threads" in result.because


def test_a_command_gets_the_service_in_its_environment_and_none_of_the_agents_secrets() -> None:
    own = {"PATH": "/opt/bin", "TZ": "UTC", "VERTICE_REGISTRY_TOKEN": "s3cret", "LD_PRELOAD": "x"}
    assert environment_of(claim(host="10.0.0.7", port=8034, instance_id="a"), own) == {
        "PATH": "/opt/bin",
        "TZ": "UTC",
        "SERVICE_NAME": claim().service_name,
        "SERVICE_INSTANCE_ID": "a",
        "SERVICE_HOST": "10.0.0.7",
        "SERVICE_PORT": "8034",
    }
