"""Makes the probes of an agent's checks. The verdict over several results is formed elsewhere.

A probe connects only to the instance's own host and port.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias, assert_never

from agent.checks.command import CommandProbe
from agent.checks.http import HttpRequest
from agent.checks.result import (
    WELL,
    CheckOutcome,
    CheckResult,
    Judgement,
    NotChecked,
    ProbeAt,
    after_error,
    after_timeout,
)
from agent.checks.slots import CheckSlots, SlottedProbe
from agent.checks.spec import CheckSpec, CommandCheck, GrpcCheck, HttpCheck, TcpCheck, TtlCheck
from registry_core.blocking import Threads
from registry_core.domain.records import Registration

MAX_CHECKS_AT_ONCE: Final = 256
# Programs are expensive: the others wait for their turn.
MAX_COMMANDS_AT_ONCE: Final = 8

CheckAt: TypeAlias = Callable[[str], Awaitable[CheckOutcome | Judgement]]


class AddressProbe:
    """Checks an instance at one address, where `at` checks it. It may raise OSError: there is no connection."""

    def __init__(self, address: str, timeout_s: float, at: CheckAt) -> None:
        self._address = address
        self._timeout_s = timeout_s
        self._at = at

    async def __call__(self) -> CheckOutcome:
        loop = asyncio.get_running_loop()
        ends_at = loop.time() + self._timeout_s
        try:
            async with asyncio.timeout_at(ends_at):
                found = await self._at(self._address)
        except TimeoutError as error:
            if error.errno == errno.ETIMEDOUT:
                return after_error(error)
            return after_timeout(f"no answer within {self._timeout_s:g} s", loop.time() - ends_at)
        except (OSError, MemoryError) as error:
            return after_error(error)
        return found if isinstance(found, CheckResult | NotChecked) else await found()


class TcpConnection:
    """One TCP connection: healthy if it is accepted."""

    def __init__(self, claim: Registration) -> None:
        self._port = claim.port

    async def __call__(self, address: str) -> CheckOutcome:
        """Return the outcome at `address`. Raises OSError when there is no connection to it."""
        _, writer = await asyncio.open_connection(address, self._port)
        # No data was sent, so aborting loses nothing.
        writer.transport.abort()
        return WELL


class CheckProbes:
    """Makes the probes of one agent, which share slots."""

    def __init__(self, *, most: int = MAX_CHECKS_AT_ONCE, most_commands: int = MAX_COMMANDS_AT_ONCE) -> None:
        self.slots = CheckSlots(most)
        self.command_slots = CheckSlots(most_commands)
        # More threads than slots, so that programs that cannot be killed do not block the others.
        self._threads = Threads("command check", 2 * self.command_slots.most)

    def __call__(self, claim: Registration, check: CheckSpec) -> ProbeAt | None:
        """Return what makes the probes of a check; None for ttl, where the service reports by itself."""
        timeout_s = check.pace.timeout_s
        at: CheckAt
        match check.how:
            case HttpCheck() as how:
                at = HttpRequest(claim, how, timeout_s)
            case TcpCheck():
                at = TcpConnection(claim)
            case GrpcCheck() as how:
                # Imported late: only agents with such a check load HTTP/2.
                from agent.checks.grpc import GrpcCall  # noqa: PLC0415 - most agents check nothing by gRPC

                at = GrpcCall(claim, how, timeout_s)
            case CommandCheck() as how:
                command = CommandProbe(how, claim, timeout_s, self._threads)
                return lambda _address: SlottedProbe(command, self.command_slots, timeout_s)
            case TtlCheck():
                return None
            case other:
                assert_never(other)
        return lambda address: SlottedProbe(AddressProbe(address, timeout_s, at), self.slots, timeout_s)
