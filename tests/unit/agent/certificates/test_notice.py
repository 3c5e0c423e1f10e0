"""Telling a program that its certificate changed."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

from agent.certificates.notice import Notice, SignalTo, environment_for, read_signal, told
from registry_core.blocking import Threads
from tests.programs import running, wait_until


@pytest.mark.parametrize("value", ["HUP:/run/nginx.pid", "hup:/run/nginx.pid", "SIGHUP:/run/nginx.pid"])
def test_a_signal_is_read(value: str) -> None:
    assert read_signal(value) == SignalTo(signal.SIGHUP, "/run/nginx.pid")


@pytest.mark.parametrize("wrong", ["", "HUP", "HUP:", "HUP:nginx.pid", "KILL:/run/nginx.pid", "1:/run/nginx.pid"])
def test_what_is_no_signal_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match=r"signal|pid file"):
        read_signal(wrong)


async def test_a_command_learns_the_service_and_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_SECRET", "hidden")
    notice = Notice(("/bin/sh", "-c", f"env > {tmp_path}/said"))
    assert await told(notice, "billing", Path("/certs/billing.crt"), Threads("test", 1)) == ""
    said = (tmp_path / "said").read_text().splitlines()
    assert {"SERVICE_NAME=billing", "CERTIFICATE=/certs/billing.crt"} <= set(said)
    assert not [line for line in said if "hidden" in line]


async def test_a_command_that_fails_is_reported(tmp_path: Path) -> None:
    threads = Threads("test", 1)
    failing = Notice(("/bin/sh", "-c", "echo key mismatch; exit 1"))
    problem = await told(failing, "billing", tmp_path / "c", threads)
    assert problem == "AGENT_CERT_COMMAND: exit code 1: key mismatch"
    missing = await told(Notice(("/no/such/program",)), "billing", tmp_path / "c", threads)
    assert missing == "AGENT_CERT_COMMAND: /no/such/program cannot be started: No such file or directory"


async def test_a_signal_reaches_the_process_of_a_pid_file(tmp_path: Path) -> None:
    pid, got = tmp_path / "pid", tmp_path / "got"
    program = (
        "import signal, sys, pathlib, time\n"
        f"signal.signal(signal.SIGHUP, lambda *_: pathlib.Path({str(got)!r}).write_text('HUP'))\n"
        f"pathlib.Path({str(tmp_path / 'ready')!r}).touch()\n"
        "time.sleep(30)\n"
    )
    with running([sys.executable, "-c", program], tmp_path / "log") as receiver:
        pid.write_text(f"{receiver.pid}\n")
        wait_until((tmp_path / "ready").exists, "it is ready")
        notice = Notice(signal_to=SignalTo(signal.SIGHUP, str(pid)))
        assert await told(notice, "billing", tmp_path / "c", Threads("test", 1)) == ""
        wait_until(got.exists, "the signal arrived")


@pytest.mark.parametrize(
    ("content", "because"),
    [
        ("", "it holds no process's number"),
        ("nginx", "it holds no process's number"),
        ("1", "it holds no process's number"),
        ("-1", "it holds no process's number"),
        (None, "No such file or directory"),
    ],
)
async def test_a_pid_file_that_names_no_process_is_reported(tmp_path: Path, content: str | None, because: str) -> None:
    pid = tmp_path / "pid"
    if content is not None:
        pid.write_text(content)
    notice = Notice(signal_to=SignalTo(signal.SIGHUP, str(pid)))
    assert await told(notice, "billing", tmp_path / "c", Threads("test", 1)) == f"AGENT_CERT_SIGNAL: {pid}: {because}"


def test_the_environment_of_a_command_has_a_path_even_if_the_agent_has_none() -> None:
    assert environment_for("billing", Path("/c"), {})["PATH"]
