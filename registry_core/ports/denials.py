"""Denials, and the interface of a store of them: the deny list that all replicas of a deployment share."""

from __future__ import annotations

from typing import Protocol

import msgspec


class Denial(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of the list. `at` and `until` are in Unix seconds; the newer of two about one subject counts.

    `subject` is `serial:<hexadecimal>` or the SPIFFE id of a service; a service has one entry for both spellings of its
    name. Not `denied`: an earlier denial was withdrawn, which is kept as long as the denial would have been.
    """

    subject: str
    at: float
    until: float
    denied: bool = True
    reason: str = ""


class DenialsRead(msgspec.Struct, frozen=True):
    """What a store holds, withdrawals among it, and the parts of the store that could not be read, each with a reason.

    Of a part that cannot be read, what it held before is included.
    """

    denials: tuple[Denial, ...]
    unread: tuple[tuple[str, str], ...] = ()
    known: bool = True  # False: no part of the store was ever read


class DenialStore(Protocol):
    """Where denials are kept, a bounded number of them."""

    async def add(self, denial: Denial) -> None:
        """Keep `denial`, unless a newer entry about its subject is there. Raises Unavailable, also when it is full."""
        ...

    async def read(self) -> DenialsRead:
        """Return everything that counts at present. Raises nothing."""
        ...
