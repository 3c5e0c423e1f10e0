"""How every store restores a saved record."""

from __future__ import annotations

from typing import Any

import pytest

from registry_core.domain.catalog import Catalog
from registry_core.domain.events import Registered
from registry_core.domain.records import Instance, Status
from registry_core.domain.restoration import RestoreOutcome
from registry_core.errors import Conflict
from registry_core.ports.store import Beat
from tests.contract.harness import StoreUnderTest
from tests.samples import claim, instance


def saved(name: str = "ip_intel", **more: Any) -> Instance:
    """Return a record as it was saved a while ago."""
    return instance(name, **{"registered_at": 1_700_000_000.25, "epoch": 5, **more})


async def test_a_missing_record_is_restored_unchanged(under_test: StoreUnderTest) -> None:
    record = saved(status=Status.DRAINING, version="1.4.2", tags=("canary",), metadata={"a": [1, None]}, weight=7)
    assert await under_test.store.restore(record) is RestoreOutcome.RESTORED
    assert list(under_test.feed.catalog) == [record]
    assert [type(e) for e in under_test.feed.events] == [Registered], "it is delivered before it returns"
    whole = Catalog()
    whole.replace((await under_test.store.snapshot()).instances)
    assert list(whole) == [record]


async def test_a_second_restore_changes_nothing(under_test: StoreUnderTest) -> None:
    await under_test.store.restore(saved())
    events = len(under_test.feed.events)
    assert await under_test.store.restore(saved()) is RestoreOutcome.PRESENT
    assert len(under_test.feed.events) == events


async def test_a_restored_record_has_exactly_one_full_lease(under_test: StoreUnderTest) -> None:
    await under_test.store.restore(saved())
    await under_test.pass_time(70)
    assert await under_test.store.restore(saved()) is RestoreOutcome.PRESENT, "it does not renew an overdue lease"
    await under_test.pass_time(2)
    assert len(under_test.feed.catalog) == 1
    await under_test.pass_time(4)
    assert len(under_test.feed.catalog) == 0


async def test_the_owner_of_a_restored_record_continues_with_heartbeats(under_test: StoreUnderTest) -> None:
    await under_test.store.restore(saved())
    (renewed,) = await under_test.store.renew([Beat("ip_intel", "10.0.0.7:8034", 5)])
    (fenced,) = await under_test.store.renew([Beat("ip_intel", "10.0.0.7:8034", 4)])
    assert (renewed.outcome, fenced.outcome) == ("renewed", "fenced")


async def test_a_heartbeat_without_an_id_still_renews_the_latest_registration(under_test: StoreUnderTest) -> None:
    await under_test.store.restore(saved(port=8002, registered_at=1_700_000_002.0))
    await under_test.store.restore(saved(port=8001, registered_at=1_700_000_001.0))
    (renewed,) = await under_test.store.renew([Beat("ip_intel")])
    assert renewed.key is not None
    assert renewed.key.instance_id == "10.0.0.7:8002"


@pytest.mark.parametrize(
    ("epoch", "outcome"), [(4, RestoreOutcome.RESTORED), (5, RestoreOutcome.PRESENT), (6, RestoreOutcome.NEWER)]
)
async def test_a_restore_replaces_only_an_older_owners_record(
    under_test: StoreUnderTest, epoch: int, outcome: RestoreOutcome
) -> None:
    held = (await under_test.store.register(claim(epoch=epoch, version="2.0.0", port=9000, instance_id="a"))).instance
    record = saved(instance_id="a", version="1.0.0")
    assert await under_test.store.restore(record) is outcome
    assert list(under_test.feed.catalog) == [record if outcome is RestoreOutcome.RESTORED else held]
    # A released address is free, a held one is not.
    await under_test.store.register(claim("other", port=8034 if outcome is not RestoreOutcome.RESTORED else 9000))


async def test_a_name_that_is_one_with_another_is_a_conflict(under_test: StoreUnderTest) -> None:
    await under_test.store.register(claim("ip-intel"))
    with pytest.raises(Conflict, match="one name in DNS"):
        await under_test.store.restore(saved("ip_intel"))


async def test_a_restore_takes_no_address_from_any_instance(under_test: StoreUnderTest) -> None:
    held = (await under_test.store.register(claim("billing", status=Status.CRITICAL))).instance
    with pytest.raises(Conflict, match=r"10\.0\.0\.7:8034 is registered as instance"):
        await under_test.store.restore(saved())
    await under_test.pass_time(65)
    with pytest.raises(Conflict):
        await under_test.store.restore(saved())
    assert list(under_test.feed.catalog) == [held]
