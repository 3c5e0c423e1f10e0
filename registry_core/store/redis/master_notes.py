"""What an operator should change about a master: found in its INFO, said in plain words, logged once.

None of it stops the registry, which goes on with what it has; each of it costs registrations on the day on which
that server is full, restarts, or is cut off. Only `MasterNotes.look` asks; what is found is decided by `findings`.
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

# Settings are looked at this often: somebody may mend them while everything runs.
LOOK_EVERY_S: Final = 30.0
# It stands between two probes of the same server, which are to notice at once when that falls silent.
LOOK_TIMEOUT_S: Final = 0.25
SECTIONS: Final = ("memory", "persistence", "replication")
_MOST_REMEMBERED: Final = 1_000

_log = structlog.get_logger(component="store.redis")


def findings(info: Mapping[str, Any]) -> tuple[str, ...]:
    """Return what is to be changed at a master with this INFO (the SECTIONS), with the cure. PURE.

    INFO is allowed to all users of the server, where CONFIG mostly is not.
    """
    found = []
    policy = info.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        found.append(
            f"maxmemory-policy is {policy}: once it is full it throws registrations away instead of refusing new ones; "
            "set maxmemory-policy noeviction"
        )
    if not int(info.get("aof_enabled", 1)):
        found.append(
            "appendonly is no: when it restarts it comes back with less, or with nothing, and its replicas follow it; "
            "set appendonly yes"
        )
    # Only a master that has the setting counts its good replicas.
    if int(info.get("connected_slaves", 0)) and "min_slaves_good_slaves" not in info:
        found.append(
            "min-replicas-to-write is 0: cut off from its replicas it goes on taking writes that are lost in the end; "
            "set min-replicas-to-write 1"
        )
    return tuple(found)


class MasterNotes:
    """The findings about the master in place of one shard."""

    def __init__(self, shard: str, clock: Clock) -> None:
        self._shard = shard
        self._clock = clock
        self._seen: tuple[ServerAddress, str] | None = None
        self._looked_at = -math.inf
        self._logged: set[tuple[ServerAddress, str]] = set()
        self.current: tuple[str, ...] = ()

    async def look(self, client: Redis, master: ServerAddress, run_id: str) -> None:
        """Look at `master` if that is due: it is another one than before, or LOOK_EVERY_S have passed."""
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
            return  # the next probe tells
        if info is None or self._seen != (master, run_id):
            return
        self.current = findings(info)
        for finding in self.current:
            if (master, finding) not in self._logged and len(self._logged) < _MOST_REMEMBERED:
                self._logged.add((master, finding))
                _log.warning("redis_settings_unsafe", shard=self._shard, master=str(master), because=finding)
