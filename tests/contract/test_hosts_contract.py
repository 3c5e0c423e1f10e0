"""Hosts are names as often as addresses: every kind of host behaves alike, in every store."""

from __future__ import annotations

from typing import Any

import pytest

from registry_core.domain.host_port import host_port
from registry_core.domain.records import Instance, Registration, Status
from registry_core.errors import Conflict
from registry_core.ports.store import Beat
from tests.contract.harness import TERMS, StoreUnderTest
from tests.samples import claim

HOSTS = pytest.mark.parametrize(
    ("host", "addresses"),
    [
        pytest.param("10.0.0.7", ("10.0.0.7",), id="IPv4"),
        pytest.param("2001:db8::7", ("2001:db8::7",), id="IPv6"),
        pytest.param("orders_1", ("172.18.0.5", "fd00::5"), id="container"),
        pytest.param("orders-1.prod.example", (), id="name that is not resolved"),
    ],
)


def at(host: str, addresses: tuple[str, ...], service: str = "orders", **more: Any) -> Registration:
    more.setdefault("instance_id", host_port(host, 8034))
    return claim(service, host, addresses=addresses, **more)


def shown(under_test: StoreUnderTest, service: str = "orders") -> list[Instance]:
    found = under_test.feed.catalog.find(service)
    return list(found.instances) if found is not None else []


@HOSTS
async def test_a_record_is_shown_as_registered(
    under_test: StoreUnderTest, host: str, addresses: tuple[str, ...]
) -> None:
    grant = await under_test.store.register(at(host, addresses))
    assert shown(under_test) == [grant.instance]
    assert (grant.instance.host, grant.instance.addresses) == (host, addresses)
    assert grant.instance.endpoint == f"http://{host_port(host, 8034)}"
    for address in addresses:
        assert under_test.feed.catalog.by_ip(address) == (grant.instance,)
    assert [lived.instance for lived in (await under_test.store.snapshot()).instances] == [grant.instance]


@HOSTS
async def test_renewal_status_and_removal_work_by_id(
    under_test: StoreUnderTest, host: str, addresses: tuple[str, ...]
) -> None:
    key = (await under_test.store.register(at(host, addresses))).instance.key
    await under_test.pass_time(TERMS.ttl_s - 1)
    (renewed,) = await under_test.store.renew([Beat("orders", key.instance_id)])
    assert (renewed.outcome, renewed.key) == ("renewed", key)
    assert (await under_test.store.set_status(key, Status.WARNING)).status is Status.WARNING
    await under_test.pass_time(TERMS.ttl_s - 1)
    assert [one.status for one in shown(under_test)] == [Status.WARNING]
    await under_test.store.deregister(key)
    assert shown(under_test) == []


@HOSTS
async def test_an_address_belongs_to_one_instance_until_that_is_critical(
    under_test: StoreUnderTest, host: str, addresses: tuple[str, ...]
) -> None:
    first = await under_test.store.register(at(host, addresses))
    newcomer = at(host, addresses, "billing")
    with pytest.raises(Conflict) as refused:
        await under_test.store.register(newcomer)
    assert refused.value.provided == host_port(host, 8034)
    await under_test.store.set_status(first.instance.key, Status.CRITICAL)
    await under_test.store.register(newcomer)
    assert shown(under_test) == []
    assert [one.host for one in shown(under_test, "billing")] == [host]


@HOSTS
async def test_a_silent_instance_expires(under_test: StoreUnderTest, host: str, addresses: tuple[str, ...]) -> None:
    await under_test.store.register(at(host, addresses))
    await under_test.pass_time(TERMS.removed_after_s + 2 * TERMS.sweep_every_s)
    assert shown(under_test) == []
