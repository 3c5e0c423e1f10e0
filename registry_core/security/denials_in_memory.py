"""The deny list of a replica without Redis: in this process's memory, and gone when it ends. Pure but for the clock."""

from __future__ import annotations

from registry_core.errors import Overloaded
from registry_core.ports.clock import Clock
from registry_core.ports.denials import Denial, DenialsRead
from registry_core.security.denied import MAX_DENIALS, merged


class DenialsInMemory:
    """A `DenialStore` in memory."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._denials: tuple[Denial, ...] = ()

    async def add(self, denial: Denial) -> None:
        """Keep `denial`. Raises Overloaded when the list is full."""
        held = merged((self._denials,), self._clock.wall())
        if len(held) >= MAX_DENIALS and all(one.subject != denial.subject for one in held):
            raise Overloaded(f"the deny list is full: it has {MAX_DENIALS} entries", retry_after_s=60.0)
        self._denials = merged((held, (denial,)), self._clock.wall())

    async def read(self) -> DenialsRead:
        """Return what counts."""
        self._denials = merged((self._denials,), self._clock.wall())
        return DenialsRead(self._denials)
