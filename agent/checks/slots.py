"""Limits how many checks run at once, so that they fit the descriptors and the processors of the agent.

A check whose service hangs holds its slot for the whole timeout. Services that are known to hang share at most half of
the slots, however many they are: the others wait only for each other. The time limit of a check starts with its slot.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from agent.checks.result import CheckOutcome, CheckResult, Probe
from registry_core.domain.records import Status

# A service that has been well counts as hanging after this many slow failures in a row; one that never was, after one.
SLOW_FAILURES: Final = 2
# A failure is slow when it takes this share of the timeout or more.
SLOW_SHARE: Final = 0.5


class CheckSlots:
    """At least two slots, or hanging services could take them all."""

    def __init__(self, most: int) -> None:
        self.most = max(2, most)
        self.taken = self.waiting = 0
        self._all = asyncio.Semaphore(self.most)
        self._for_hanging = asyncio.Semaphore(self.most // 2)

    @contextlib.asynccontextmanager
    async def slot(self, *, hangs: bool) -> AsyncIterator[None]:
        """Wait for a slot, and hold it. `hangs`: the service is known to hang."""
        async with contextlib.AsyncExitStack() as stack:
            self.waiting += 1
            try:
                if hangs:
                    await stack.enter_async_context(self._for_hanging)
                await stack.enter_async_context(self._all)
            finally:
                self.waiting -= 1
            self.taken += 1
            try:
                yield
            finally:
                self.taken -= 1


class SlottedProbe:
    """A probe that waits for a slot, and remembers whether its service hangs."""

    def __init__(self, probe: Probe, slots: CheckSlots, timeout_s: float) -> None:
        self._probe = probe
        self._slots = slots
        self._slow_s = SLOW_SHARE * timeout_s
        self._slow_failures = SLOW_FAILURES - 1

    async def __call__(self) -> CheckOutcome:
        loop = asyncio.get_running_loop()
        async with self._slots.slot(hangs=self._slow_failures >= SLOW_FAILURES):
            began = loop.time()
            outcome = await self._probe()
        if isinstance(outcome, CheckResult):
            is_slow = outcome.status is Status.CRITICAL and loop.time() - began >= self._slow_s
            self._slow_failures = self._slow_failures + 1 if is_slow else 0
        return outcome
