"""Reports to the replica of the watch how this agent is, and which services its programs asked for.

It goes on for as long as a watch lasts. A replica that takes reports says how often it wants one; to one that does not
say so nothing is sent. A report that fails is not repeated: the next one has all of it.
"""

from __future__ import annotations

import asyncio
import math
import secrets
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import msgspec
import structlog

from agent.registration.decisions import RequestOutcome
from agent.registries.client import RegistryReply
from registry_core.domain.selection import Random
from registry_core.installed import VERSION
from registry_core.ports.clock import Clock
from registry_core.usage.book import UsageCounts
from registry_core.usage.limits import (
    KEY_DIGITS,
    LEAST_EVERY_S,
    MAX_HOST,
    MAX_NAMED,
    MAX_REPORT_PAIRS,
    MOST_EVERY_S,
)
from registry_core.usage.report import AgentReport, Asked

# Agents that connect at the same time send their first reports over this part of the period.
FIRST_WITHIN: Final = 1 / 6
# Each pause varies by this part of the period.
VARIES_BY: Final = 0.1
# After a refusal, which a change of a key or of the registry may end.
REFUSED_PERIODS: Final = 10
# The last report, at shutdown.
END_S: Final = 0.5

SendReport = Callable[[AgentReport], Awaitable[RegistryReply]]
_log = structlog.get_logger(component="agent.usage")


class AgentFacts(msgspec.Struct, frozen=True, kw_only=True):
    """How an agent is now: its zone, its own services' labels, and how fresh its view is ("" before it has one)."""

    zone: str
    services: tuple[str, ...]
    freshness: str
    age_s: float | None


def _nothing(_now: float) -> UsageCounts:
    return UsageCounts()


class Reporter:
    """Reports about one agent, from its start to its end."""

    def __init__(
        self,
        facts: Callable[[], AgentFacts],
        counts: Callable[[float], UsageCounts] = _nothing,
        *,
        clock: Clock,
        random: Random,
    ) -> None:
        self._facts = facts
        self._counts = counts
        self._clock = clock
        self._random = random
        self._key = secrets.token_hex(KEY_DIGITS // 2)
        self._host = _shown(socket.gethostname())
        self._sequence = 0
        self._stream: _Stream | None = None

    async def report_to(self, send: SendReport, every_s: float) -> None:
        """Report to one replica until cancelled, every `every_s` seconds."""
        stream = self._stream = _Stream(send)
        every_s = min(max(every_s, LEAST_EVERY_S), MOST_EVERY_S)
        wait_s = every_s * FIRST_WITHIN * self._random.random()
        try:
            while True:
                await asyncio.sleep(wait_s)
                wait_s = every_s * (1 - VARIES_BY + 2 * VARIES_BY * self._random.random())
                outcome = await self._report(stream)
                if outcome is RequestOutcome.REFUSED:
                    wait_s *= REFUSED_PERIODS
        finally:
            if self._stream is stream:
                self._stream = None

    async def end(self) -> None:
        """Send the last report, if a replica can be reached at once."""
        if self._stream is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(END_S):
                    await self._report(self._stream, ending=True)

    async def _report(self, stream: _Stream, *, ending: bool = False) -> RequestOutcome:
        """Send what the replica has not taken yet, in as many reports as that needs."""
        counts = self._counts(self._clock.monotonic())
        for usage in stream.news(counts.asked):
            reply = await stream.send(self._made(usage, counts, ending=ending))
            if reply.outcome is not RequestOutcome.DONE:
                if reply.outcome is RequestOutcome.REFUSED and not stream.is_refused:
                    _log.warning("reports_refused", because=reply.said)
                stream.is_refused = reply.outcome is RequestOutcome.REFUSED
                return reply.outcome
            stream.took(usage)
        return RequestOutcome.DONE

    def _made(self, usage: tuple[Asked, ...], counts: UsageCounts, *, ending: bool) -> AgentReport:
        self._sequence += 1
        facts = self._facts()
        return AgentReport(
            key=self._key,
            sequence=self._sequence,
            version=_shown(VERSION),
            zone=_shown(facts.zone),
            host=self._host,
            freshness=facts.freshness,
            age_s=facts.age_s if facts.age_s is not None and math.isfinite(facts.age_s) else None,
            services=facts.services[:MAX_NAMED],
            service_count=len(facts.services),
            counted_s=counts.counted_s,
            usage=usage,
            left_out=counts.left_out,
            ending=ending,
        )


class _Stream:
    """One watch: where to send its reports, and which counts the replica has."""

    def __init__(self, send: SendReport) -> None:
        self.send = send
        self.is_refused = False
        self._taken: dict[tuple[str, str], int] = {}

    def news(self, asked: tuple[Asked, ...]) -> list[tuple[Asked, ...]]:
        """Return what the replica does not have yet, in parts that fit into a report; at least one, perhaps empty."""
        fresh = tuple(one for one in asked if self._taken.get((one.label, one.face)) != one.count)
        return [fresh[at : at + MAX_REPORT_PAIRS] for at in range(0, max(1, len(fresh)), MAX_REPORT_PAIRS)]

    def took(self, usage: tuple[Asked, ...]) -> None:
        self._taken |= {(one.label, one.face): one.count for one in usage}


def _shown(text: str) -> str:
    """Return `text` as a report may have it: printable ASCII without spaces."""
    return "".join(one if "!" <= one <= "~" else "?" for one in text[:MAX_HOST])
