"""Finds what an operator should change about a master, from its INFO, and logs each finding once.

No finding stops the registry. Each one costs registrations on the day that server is full, restarts or is cut off.
Only `MasterNotes.look` does I/O; `findings` decides.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping
from typing import Any, Final

import structlog
from redis.asyncio import Redis

from registry_core.ports.clock import Clock
from registry_core.store.redis.probes import ask_sections
from registry_core.store.redis.url import ServerAddress

# How often settings are checked: they may be fixed at run time.
LOOK_EVERY_S: Final = 30.0
# The check runs between two probes of the same server, and those must notice at once when it stops answering.
LOOK_TIMEOUT_S: Final = 0.25
SECTIONS: Final = ("memory", "persistence", "replication")
_MOST_REMEMBERED: Final = 1_000

_log = structlog.get_logger(component="store.redis")


def findings(info: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what to change at a master with this INFO (the SECTIONS), and how. Pure.

    INFO is allowed to all users of the server; CONFIG mostly is not.
    """
    found = []
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        found.append(
            f"maxmemory-policy is {policy}: when full, it evicts registrations instead of refusing new ones; "
            "set maxmemory-policy noeviction"
        )
    if not int(info.get("aof_enabled", 1)):
        found.append(
            "appendonly is no: after a restart it has lost recent or all registrations, and its replicas copy that; "
            "set appendonly yes"
        )
    # Only a master that has the setting counts its good replicas.
    if int(info.get("connected_slaves", 0)) and "min_slaves_good_slaves" not in info:
        found.append(
            "min-replicas-to-write is 0: when cut off from its replicas, it keeps taking writes that are then lost; "
            "set min-replicas-to-write 1"
        )
    return tuple(found)


class MasterNotes:
    """The findings about one shard's current master."""

    def __init__(self, shard: str, clock: Clock) -> None:
        self._shard = shard
        self._clock = clock
        self._seen: tuple[ServerAddress, str] | None = None
        self._looked_at = -math.inf
        self._logged: set[tuple[ServerAddress, str]] = set()
        self.current: tuple[str, ...] = ()

    async def look(self, client: Redis, master: ServerAddress, run_id: str) -> None:
        """Check `master` if it has changed, or LOOK_EVERY_S have passed since the last check."""
        now = self._clock.monotonic()
        if (master, run_id) == self._seen and now - self._looked_at < LOOK_EVERY_S:
            return
        if (master, run_id) != self._seen:
            self.current = ()
        self._seen, self._looked_at = (master, run_id), now
        try:
            async with asyncio.timeout(LOOK_TIMEOUT_S):
                info = await ask_sections(client, SECTIONS)
        except TimeoutError:
            return  # the next probe reports it
        if info is None or self._seen != (master, run_id):
            return
        self.current = findings(info)
        for finding in self.current:
            if (master, finding) not in self._logged and len(self._logged) < _MOST_REMEMBERED:
                self._logged.add((master, finding))
                _log.warning("redis_settings_unsafe", shard=self._shard, master=str(master), because=finding)
