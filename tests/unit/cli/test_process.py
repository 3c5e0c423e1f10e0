"""How a long-lived program starts and ends. The program sends each signal to itself."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal

import pytest

from cli.process import add_parent_flag, run_until_signal
from registry_core.causes import cause_of
from registry_core.errors import CannotListen, SettingsError


def signal_myself(number: signal.Signals = signal.SIGTERM) -> None:
    os.kill(os.getpid(), number)


class Running:
    """A program that records that it was closed."""

    def __init__(self) -> None:
        self.closed = False

    async def close(self) -> None:
        await asyncio.sleep(0)
        self.closed = True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_closes_the_program(number: signal.Signals) -> None:
    program = Running()

    async def start() -> Running:
        asyncio.get_running_loop().call_soon(signal_myself, number)
        return program

    assert run_until_signal(start) == 0
    assert program.closed


def test_a_signal_during_the_start_ends_it() -> None:
    async def start() -> Running:
        signal_myself()
        await asyncio.sleep(3600)
        raise AssertionError

    assert run_until_signal(start) == 0


def test_a_signal_right_after_the_start_still_closes_the_program() -> None:
    program = Running()

    async def start() -> Running:
        signal_myself()
        return program

    assert run_until_signal(start) == 0
    assert program.closed


def test_a_closed_terminal_closes_the_program() -> None:
    program = Running()

    async def start() -> Running:
        asyncio.get_running_loop().call_soon(signal_myself, signal.SIGHUP)
        return program

    assert run_until_signal(start) == 0
    assert program.closed


def test_a_program_that_was_started_by_nohup_ignores_its_terminal() -> None:
    program = Running()

    async def start() -> Running:
        loop = asyncio.get_running_loop()
        loop.call_soon(signal_myself, signal.SIGHUP)
        loop.call_later(0.1, signal_myself)
        return program

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert run_until_signal(start) == 0
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_the_end_of_what_it_waits_for_closes_the_program() -> None:
    program = Running()

    async def start() -> Running:
        return program

    async def until() -> None:
        await asyncio.sleep(0)

    assert run_until_signal(start, until=until) == 0
    assert program.closed


def test_the_end_of_what_it_waits_for_ends_the_start() -> None:
    async def start() -> Running:
        await asyncio.sleep(3600)
        raise AssertionError

    async def until() -> None:
        await asyncio.sleep(0)

    assert run_until_signal(start, until=until) == 0


def test_a_second_signal_ends_it_without_waiting(capsys: pytest.CaptureFixture[str]) -> None:
    class Stubborn(Running):
        async def close(self) -> None:
            signal_myself()
            await asyncio.sleep(3600)

    async def start() -> Running:
        asyncio.get_running_loop().call_soon(signal_myself)
        return Stubborn()

    assert run_until_signal(start) == 1
    assert capsys.readouterr().err == "vertice: ended without waiting for the rest\n"


@pytest.mark.parametrize(
    "error", [CannotListen("cannot listen on x: the port is taken"), OSError(None, "no such thing")]
)
def test_a_failed_start_is_one_line(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    async def start() -> Running:
        raise error

    assert run_until_signal(start) == 1
    assert capsys.readouterr().err == f"vertice: {cause_of(error)}\n"


def test_an_invalid_setting_is_raised_to_the_caller() -> None:
    async def start() -> Running:
        raise SettingsError("X: no")

    with pytest.raises(SettingsError):
        run_until_signal(start)


def test_the_flag_for_children_is_hidden() -> None:
    parser = argparse.ArgumentParser()
    add_parent_flag(parser)
    assert "die" not in parser.format_help()
    assert parser.parse_args(["--die-with-parent"]).die_with_parent is True
