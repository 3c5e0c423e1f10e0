"""Tells the registry up to where its watch is in use here, when somebody waits to hear that.

Only whoever drains waits, so only such changes are worth a request: a fleet of ten thousand agents does
not answer every heartbeat and check of its services.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog

from agent.registration.decisions import RequestOutcome
from agent.registries.client import RegistryReply
from registry_core.domain.events import Registered, StatusChanged
from registry_core.domain.records import Status
from registry_core.domain.selection import Random
from registry_core.watch.changes import Happened, Heard, Moved, PassedOver, Replaced, Synced, UnknownEvent, WatchChange
from registry_core.watch.cursor import Cursor

# What comes within this time is acknowledged together, and not by all agents at once.
PACE_S: Final = 0.2
# Behind one address there may be several replicas, of which one has our watch: the next try may meet it.
TRIES: Final = 5

_log = structlog.get_logger(component="agent.sync")


def is_waited_for(change: WatchChange) -> bool:
    """Return whether somebody drains by this change, and waits until it has been taken."""
    match change:
        case Happened(event=StatusChanged(status=status)):
            return status is Status.DRAINING
        case Happened(event=Registered(instance=instance)):
            return instance.status is Status.DRAINING
        case Replaced(instances=instances):
            return any(lived.instance.status is Status.DRAINING for lived in instances)
        case Moved():  # whoever drained before that is waited for anew, under the new name of the history
            return True
        case Happened() | UnknownEvent() | PassedOver() | Heard() | Synced():
            return False


class Acknowledger:
    """Acknowledges one watch while `run` runs. `taken` says up to where it is in use now."""

    def __init__(
        self,
        send: Callable[[Cursor], Awaitable[RegistryReply]],
        taken: Callable[[], Cursor],
        random: Random,
        *,
        asked: bool = True,
        pace_s: float = PACE_S,
    ) -> None:
        """Not `asked`: the registry does not want to know."""
        self._send = send
        self._taken = taken
        self._random = random
        self._asked = asked
        self._pace_s = pace_s
        self._due = asyncio.Event()

    def see(self, change: WatchChange) -> None:
        """Have `change`, which has just been taken, acknowledged soon if that is waited for."""
        if self._asked and is_waited_for(change):
            self._due.set()

    async def run(self) -> None:
        """Acknowledge until cancelled, one request at a time."""
        while True:
            await self._due.wait()
            await asyncio.sleep(self._random.random() * self._pace_s)
            self._due.clear()
            try:
                await self._acknowledge()
            except Exception:  # noqa: BLE001 - the top of the loop: the next drain is acknowledged all the same
                _log.exception("acknowledgement_failed")

    async def _acknowledge(self) -> None:
        reply = RegistryReply(RequestOutcome.UNAVAILABLE)
        for _ in range(TRIES):
            reply = await self._send(self._taken())
            if reply.outcome is RequestOutcome.DONE:
                break
            await asyncio.sleep(self._pace_s)
        else:
            # Whoever drains waits for its limit instead. The next drain acknowledges this one, too.
            _log.warning("not_acknowledged", because=reply.said)
            return
        await asyncio.sleep(self._pace_s)
