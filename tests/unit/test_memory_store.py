"""What is particular to the memory store: which of its process's clocks decides."""

from __future__ import annotations

import pytest

from tests.contract.harness import TERMS, MemoryUnderTest
from tests.samples import claim


@pytest.mark.parametrize("step_s", [3600.0, -3600.0])
async def test_a_step_of_the_wall_clock_expires_nobody_and_keeps_nobody(step_s: float) -> None:
    tested = MemoryUnderTest()
    await tested.start()
    await tested.store.register(claim())
    tested.clock.step_wall(step_s)
    await tested.pass_time(TERMS.ttl_s)
    assert len(tested.feed.catalog) == 1
    await tested.pass_time(TERMS.grace_s)
    assert len(tested.feed.catalog) == 0
    await tested.close()
