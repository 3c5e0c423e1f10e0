"""Acknowledges drains to the registry: tells it the cursor at which no answer names the draining instances any more.

Only drains wait for an acknowledgement, so only they are worth a request: a fleet of ten thousand agents must
not answer every heartbeat and check of its services.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import structlog

from agent.registration.decisions import RequestOutcome
from agent.registries.client import RegistryReply
from registry_core.domain.events import Registered, StatusChanged
from registry_core.domain.records import Status
from registry_core.domain.selection import Random
from registry_core.ports.clock import Clock
from registry_core.telemetry.spans import traced
from registry_core.watch.changes import (
    Happened,
    Heard,
    Moved,
    PassedOver,
    Replaced,
    SentOn,
    Synced,
    UnknownEvent,
    WatchChange,
)
from registry_core.watch.cursor import Cursor
from registry_core.watch.limits import LEAST_ACK_EVERY_S

# One address may lead to several replicas, and only one of them has our watch: the next try may reach it.
TRIES: Final = 5
# Acknowledgements that wait, while drains go on and the registry does not answer; further drains join the last.
MOST_PENDING: Final = 16

_log = structlog.get_logger(component="agent.sync")


def is_waited_for(change: WatchChange) -> bool:
    """Return whether the change is part of a drain, which waits until agents have applied it."""
    match change:
        case Happened(event=StatusChanged(status=status)):
            return status is Status.DRAINING
        case Happened(event=Registered(instance=instance)):
            return instance.status is Status.DRAINING
        case Replaced(instances=instances, rest=rest):
            # An instance may drain in a service that the view does not hold.
            return bool(rest.absent) or any(lived.instance.status is Status.DRAINING for lived in instances)
        case Moved(instances=instances, is_resumed=True):
            return any(lived.instance.status is Status.DRAINING for lived in instances)
        case Moved():  # earlier drains wait again, under the new history's name
            return True
        case Happened() | UnknownEvent() | PassedOver() | Heard() | Synced() | SentOn():
            return False


class _Pending(msgspec.Struct):
    """Drains that share an acknowledgement: when the first was seen, and when the last has left SRV answers."""

    seen_at: float
    left_at: float
    cursor: Cursor


class Acknowledger:
    """Acknowledges one watch while `run` runs.

    A drain is acknowledged once it has left SRV answers. `taken` returns the cursor that has been applied, and
    `tick` has the instances leave whose time is up.
    """

    def __init__(
        self,
        send: Callable[[Cursor], Awaitable[RegistryReply]],
        taken: Callable[[], Cursor],
        random: Random,
        *,
        clock: Clock,
        tick: Callable[[], None],
        drain_srv_s: Callable[[], float],
        asked: bool = True,
        pace_s: float = LEAST_ACK_EVERY_S,
    ) -> None:
        """`asked` is false for a registry that does not want acknowledgements.

        Changes within `pace_s` share one; a random delay of up to as long spreads the agents' requests.
        """
        self._send = send
        self._taken = taken
        self._random = random
        self._clock = clock
        self._tick = tick
        self._drain_srv_s = drain_srv_s
        self._asked = asked
        self._pace_s = pace_s
        self._due = asyncio.Event()
        self._pending: deque[_Pending] = deque()

    def see(self, change: WatchChange) -> None:
        """Schedule an acknowledgement of `change`, which has just been applied, if a drain waits for it."""
        if not self._asked or not is_waited_for(change):
            return
        now, cursor = self._clock.monotonic(), self._taken()
        last = self._pending[-1] if self._pending else None
        if last is None or (now >= last.seen_at + self._pace_s and len(self._pending) < MOST_PENDING):
            self._pending.append(_Pending(now, now + self._drain_srv_s(), cursor))
        else:
            last.left_at, last.cursor = now + self._drain_srv_s(), cursor
        self._due.set()

    async def run(self) -> None:
        """Acknowledge until cancelled, one request at a time."""
        while True:
            await self._due.wait()
            await asyncio.sleep(self._random.random() * self._pace_s)
            cursor = await self._left()
            if not self._pending:
                self._due.clear()
            try:
                self._tick()
                await self._acknowledge(cursor)
            except Exception:  # noqa: BLE001 - the top of the loop: the next drain is acknowledged all the same
                _log.exception("acknowledgement_failed")

    async def _left(self) -> Cursor:
        """Wait until the first pending drains have left SRV answers; return the cursor up to which all have."""
        while True:
            now = self._clock.monotonic()
            if now >= self._pending[0].left_at:
                break
            # Later drains may join the first meanwhile, and move its time.
            await asyncio.sleep(self._pending[0].left_at - now)
        cursor = self._pending.popleft().cursor
        while self._pending and self._pending[0].left_at <= now:
            cursor = self._pending.popleft().cursor
        return cursor

    @traced("agent.acknowledge")
    async def _acknowledge(self, cursor: Cursor) -> None:
        reply = RegistryReply(RequestOutcome.UNAVAILABLE)
        for _ in range(TRIES):
            reply = await self._send(cursor)
            if reply.outcome is RequestOutcome.DONE:
                break
            await asyncio.sleep(self._pace_s)
        else:
            # The drain then waits until its time limit. The acknowledgement of the next drain covers this one too.
            _log.warning("not_acknowledged", because=reply.said)
            return
        await asyncio.sleep(self._pace_s)
