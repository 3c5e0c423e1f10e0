"""To which peers an acknowledgement is passed on whose watcher this replica does not have. Pure.

The id of a watcher begins with that of its replica. So an acknowledgement goes to one peer, once it is known which peer
that is; until then to all of them. Both are limited, since anybody may invent ids.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from cachetools import LRUCache

from registry_core.api.limit_settings import RequestRate
from registry_core.api.limits import RateLimiter
from registry_core.errors import Overloaded

# The ids of the release before have no replica.
_WATCHER: Final = re.compile(r"(?:([0-9a-f]{16})-)?[0-9a-f]{32}", re.ASCII)
# Acknowledgements that go to all peers: one for each replica that starts, and those of the release before.
TO_ALL: Final = RequestRate(50, 1)
# Acknowledgements and questions about drains under way at once, over all peers.
MAX_UNDER_WAY: Final = 32
# Replicas that are remembered; each has a new id when it starts.
MAX_REPLICAS: Final = 256
RETRY_AFTER_S: Final = 1.0


def watcher_id(replica: str, random: str) -> str:
    """Return the id of a watcher of the replica with this id (16 hexadecimal digits); `random` has 32 of them."""
    return f"{replica}-{random}"


class AckRoutes:
    """The routes of the replica called `own`, whose peers are at `urls`."""

    def __init__(self, own: str, urls: Iterable[str]) -> None:
        self._own = own
        self._urls = tuple(urls)
        self._known: LRUCache[str, str] = LRUCache(MAX_REPLICAS)
        self._to_all = RateLimiter("acknowledgements", TO_ALL)
        self.under_way = 0

    def check(self) -> None:
        """Raise Overloaded when as many requests to peers are under way as may be."""
        if self.under_way >= MAX_UNDER_WAY:
            raise _overloaded()

    def targets(self, watcher: str, now: float) -> tuple[str, ...]:
        """Return where a watcher of that id may be; empty when it is nowhere.

        Raises Overloaded when too many acknowledgements are passed on at present.
        """
        match = _WATCHER.fullmatch(watcher)
        if match is None or match[1] == self._own or not self._urls:
            return ()
        self.check()
        known = self._known.get(match[1] or "")
        if known is not None:
            return (known,)
        if not self._to_all.take("", now).admitted:
            raise _overloaded()
        return self._urls

    def found(self, watcher: str, url: str) -> None:
        """Note that the replica at `url` has this watcher."""
        replica, dash, _ = watcher.partition("-")
        if dash:
            self._known[replica] = url


def _overloaded() -> Overloaded:
    return Overloaded("this replica asks its peers as much as it can", retry_after_s=RETRY_AFTER_S)
