"""Tells the upstream what only a follower knows: which drains all its readers know of, and how those below are.

It runs beside the stream of the watch, since all of it is about that one watcher of the upstream.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine, Iterable
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import aiohttp
import msgspec
import structlog

from registry_core.api.deployment_schemas import ReplicaSummary
from registry_core.api.follower_book import MAX_NODES, REPORT_EVERY_S, trimmed
from registry_core.api.follower_schemas import FollowerReport
from registry_core.api.hub import WatchHub
from registry_core.api.schemas import MAX_BODY_BYTES, Problem
from registry_core.api.usage import AgentReports
from registry_core.bodies import decoded
from registry_core.causes import cause_of
from registry_core.domain.chain import CHAIN_HEADER
from registry_core.follow.acknowledging import to_acknowledge
from registry_core.follow.link import UpstreamLink
from registry_core.ports.clock import Clock
from registry_core.usage.followed import entries_since, in_batches, usage_of
from registry_core.watch.cursor import Cursor
from registry_core.watch.limits import WATCHER_HEADER

# How often drains are looked at. Agents take as long between two acknowledgements.
PACE_S: Final = 0.2
WITHIN: Final = aiohttp.ClientTimeout(total=2.0, sock_connect=1.0)
# Before a stop: the upstream forgets this follower by itself later.
LEAVE_S: Final = 0.5
_MAX_ANSWER: Final = 64 * 1024
# Of a body, beside the report.
_ENVELOPE: Final = 1024
_ENCODER: Final = msgspec.json.Encoder()

_log = structlog.get_logger(component="follow")


class _Watcher(NamedTuple):
    """The watcher at the upstream that is this follower; `takes_reports` where that one is of a release that does."""

    url: str
    id: str
    takes_reports: bool


class UpstreamReports:
    """What one follower tells its upstream. `beside` runs as long as a stream."""

    def __init__(
        self,
        link: UpstreamLink,
        own: str,
        hub: WatchHub,
        *,
        applied: Callable[[], Cursor],
        drains: Callable[[], Iterable[tuple[str, Cursor]]],
        agents: AgentReports,
        summary: Callable[[], ReplicaSummary],
        above: Callable[[str, str], None],
        clock: Clock,
    ) -> None:
        """`applied` returns the view's cursor, `drains` what drains and since when, `summary` how this one is.

        `above` takes the chain of the upstream at a URL, as its answers name it; it raises when that is a circle.
        """
        self._above = above
        self._link = link
        self._own = own
        self._agents = agents
        self._agents_told_at = -math.inf  # to the upstream of this watch
        self._hub = hub
        self._applied = applied
        self._drains = drains
        self._summary = summary
        self._clock = clock
        self._watcher: _Watcher | None = None
        self._said = ""  # the last refusal
        self._chain: str | None = None  # of the upstream, in its last answer
        self.problem = ""  # why the upstream does not take reports; "" when it does

    def beside(self, url: str, response: aiohttp.ClientResponse) -> Coroutine[Any, Any, None] | None:
        """Return what runs beside a stream from `url`; None for one that wants no acknowledgements."""
        watcher = response.headers.get(WATCHER_HEADER, "")
        if not watcher:
            return None
        self._watcher = _Watcher(url, watcher, CHAIN_HEADER in response.headers)
        self._agents_told_at = -math.inf
        return self._run(self._watcher)

    async def leave(self) -> None:
        """Tell the upstream that this follower stops. Does not wait long."""
        watcher, self._watcher = self._watcher, None
        if watcher is not None and watcher.takes_reports:
            try:
                async with asyncio.timeout(LEAVE_S):
                    await self._post(watcher, _body(FollowerReport(id=self._own, ending=True)))
            except TimeoutError:
                pass

    async def _run(self, watcher: _Watcher) -> None:
        sent, report_at = Cursor(), self._clock.monotonic()
        while True:
            is_due = self._clock.monotonic() >= report_at
            try:
                cursor = to_acknowledge(self._applied(), sent, self._drains(), self._is_known)
                if cursor is not None and await self._post(watcher, {"cursor": str(cursor)}):
                    sent = cursor
                if watcher.takes_reports and is_due:
                    report_at = self._clock.monotonic() + REPORT_EVERY_S
                    await self._report(watcher)
                    if self.problem:  # only what it takes is answered with its chain
                        await self._post(watcher, {"cursor": ""})
            except Exception:  # noqa: BLE001 - the top of the loop: the watch goes on, whatever it was
                _log.exception("upstream_report_failed", upstream=watcher.url)
            if (chain := self._chain_heard()) is not None:
                # Two that begin to follow each other at one moment see it here: their chains have changed since.
                self._above(watcher.url, chain)
            await asyncio.sleep(PACE_S)

    def _chain_heard(self) -> str | None:
        """Return the chain of the upstream if it was named since the last time."""
        chain, self._chain = self._chain, None
        return chain

    def _is_known(self, label: str, said_at: Cursor) -> bool:
        readers, acknowledged = self._hub.acknowledgements(label, said_at)
        return readers == acknowledged

    async def _report(self, watcher: _Watcher) -> None:
        """Tell the upstream how this follower and those below are, and what it has heard of agents since."""
        summary, room = self._summary(), MAX_NODES
        usage = usage_of(self._agents.frame(with_usage=True))
        while True:
            report = FollowerReport(id=self._own, replica=trimmed(summary, room), usage=usage)
            if room <= 1 or len(_ENCODER.encode(report)) <= MAX_BODY_BYTES - _ENVELOPE:
                break
            room //= 2
        before, self.problem = self.problem, ""
        if not await self._post(watcher, _body(report)):
            self.problem = self._said
            if self.problem != before:
                _log.warning("upstream_takes_no_report", upstream=watcher.url, because=self.problem)
            return
        now = self._agents.now()
        entries = entries_since(self._agents.ledger, self._agents_told_at, now, self._agents.every_s)
        for batch in in_batches(list(entries)):
            if batch and not await self._post(watcher, _body(FollowerReport(id=self._own, agents=batch))):
                return
        self._agents_told_at = now

    async def _post(self, watcher: _Watcher, body: dict[str, Any]) -> bool:
        """Send an acknowledgement of the watch, or a report with it; return whether it was taken."""
        data = _ENCODER.encode({"watcher": watcher.id, **body})
        try:
            answer = await self._link.requests.open("POST", watcher.url, "/watch/ack", body=data, within=WITHIN)
            async with answer.response as response:
                said = await answer.read(_MAX_ANSWER)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            self._said = cause_of(error)
            return False
        problem = decoded(said or b"", Problem)
        self._said = problem.message if problem is not None else f"it answers {response.status}"
        if response.status != HTTPStatus.OK:
            return False
        self._chain = response.headers.get(CHAIN_HEADER, self._chain)
        return True


def _body(report: FollowerReport) -> dict[str, Any]:
    return {"cursor": "", "follower": report}
