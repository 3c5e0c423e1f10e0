"""The signed request on whose behalf the current task writes: a store that outlives this process lets it write once.

A store writes the mark with the first write of the request, atomically with it. Of two requests with one mark the
second changes nothing and ends in Replayed. The attempt tells a replay from the store's own retries.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Final

import msgspec


class SignedOnce(msgspec.Struct, frozen=True):
    """One signed request."""

    mark: str  # follows from its key and its nonce: the same at every replica
    attempt: str  # of this replica to carry it out
    keep_ms: int  # how long the mark has to be remembered


# None: the request is not signed.
signed_once: Final[ContextVar[SignedOnce | None]] = ContextVar("signed_once", default=None)
