"""Work on something large, a part at a time, with turns of the loop for everybody else in between."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

from registry_core.domain.catalog import Catalog
from registry_core.domain.records import InstanceKey
from registry_core.store.redis.held import Held

# Instances that are compared or put into a catalogue before others have a turn: about 3 ms.
PART: Final = 250


def parts(keys: list[InstanceKey]) -> Iterator[list[InstanceKey]]:
    """Yield the keys in parts so small that nobody notices the work on one."""
    for start in range(0, len(keys), PART):
        yield keys[start : start + PART]


async def shed(old: Held | Catalog) -> None:
    """Let go of what nobody reads any more, with turns for the others."""
    for _ in range(len(old) // PART + 1):
        old.shed(PART)
        await asyncio.sleep(0)
