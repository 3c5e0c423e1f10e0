"""What only the memory store does: which of its process's clocks it uses, and what it forgets."""

from __future__ import annotations

import pytest

from registry_core.domain.records import InstanceKey, Status
from registry_core.store.memory import MemoryStore
from tests.contract.harness import TERMS, MemoryUnderTest
from tests.samples import claim


@pytest.mark.parametrize("step_s", [3600.0, -3600.0])
async def test_a_step_of_the_wall_clock_expires_no_lease_and_extends_none(step_s: float) -> None:
    tested = MemoryUnderTest()
    await tested.start()
    await tested.store.register(claim())
    tested.clock.step_wall(step_s)
    await tested.pass_time(TERMS.ttl_s)
    assert len(tested.feed.catalog) == 1
    await tested.pass_time(TERMS.grace_s)
    assert len(tested.feed.catalog) == 0
    await tested.close()


async def test_no_sequence_is_kept_for_a_gone_instance() -> None:
    tested = MemoryUnderTest()
    await tested.start()
    store = tested.store
    assert isinstance(store, MemoryStore)
    await store.register(claim(port=8001), sequence=1)
    await store.register(claim(port=8002), sequence=1)
    await store.register(claim(port=8003, status=Status.CRITICAL), sequence=1)
    await store.deregister(InstanceKey("ip-intel", "10.0.0.7:8002"), sequence=2)
    await store.register(claim("billing", port=8003))  # takes the address over
    assert list(store._sequences) == [InstanceKey("ip-intel", "10.0.0.7:8001")]
    await tested.pass_time(TERMS.ttl_s + TERMS.grace_s)
    assert store._sequences == {}
    await tested.close()
