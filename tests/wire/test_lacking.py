"""Existing but unheld services: their answers are sent once they are fetched, and delay no other."""

from __future__ import annotations

import asyncio

import pytest

from registry_core.domain.names import short_id
from registry_core.domain.records import Protocol
from tests.samples import instance, lived
from tests.views import StandingView
from tests.wire.asking import ZONE, ask, data, extended_errors, parsed, question, rcode, responder

HELD = instance("held", "10.0.0.1")
LACKING = instance("lacking", "10.0.0.2")


def view() -> StandingView:
    standing = StandingView([HELD])
    standing.lacking["lacking"] = asyncio.get_running_loop().create_future()
    return standing


def fetched(standing: StandingView) -> None:
    waited = standing.lacking.pop("lacking")
    assert waited is not None
    standing.put(LACKING)
    waited.set_result(None)


async def test_the_answer_is_sent_when_the_service_was_fetched() -> None:
    standing = view()
    server = responder(standing)
    for answer_of in (server.udp, server.tcp):
        assert answer_of(question(f"lacking.{ZONE}")) is None
    later = server.take_later()
    assert later is not None
    assert not later.done()
    assert data(ask(server, f"held.{ZONE}")) == ["10.0.0.1"], "others do not wait"
    fetched(standing)
    assert data(parsed(await later)) == ["10.0.0.2"]
    assert data(ask(server, f"lacking.{ZONE}")) == ["10.0.0.2"]


async def test_a_failed_fetch_is_servfail_and_is_retried() -> None:
    standing = view()
    server = responder(standing)
    assert server.udp(question(f"lacking.{ZONE}", edns=1232)) is None
    later = server.take_later()
    waited = standing.lacking["lacking"]
    assert later is not None
    assert waited is not None
    waited.set_result(None)
    answer = parsed(await later)
    assert (rcode(answer), extended_errors(answer)) == ("SERVFAIL", [14])
    standing.lacking["lacking"] = asyncio.get_running_loop().create_future()
    assert server.udp(question(f"lacking.{ZONE}", edns=1232)) is None, "no answer was cached"


async def test_without_a_registry_the_answer_is_immediate_and_not_cached() -> None:
    standing = view()
    standing.lacking["lacking"] = None
    server = responder(standing)
    assert rcode(ask(server, f"lacking.{ZONE}")) == "SERVFAIL"
    assert server.take_later() is None
    assert server.cache_entries == 0


async def test_nonexistent_names_are_nxdomain() -> None:
    assert rcode(ask(responder(view()), f"nobody.{ZONE}")) == "NXDOMAIN"


async def test_a_short_name_is_undecided_while_services_are_missing() -> None:
    server = responder(view())
    name = f"i-{short_id(LACKING.service_name, LACKING.instance_id)}.{ZONE}"
    assert rcode(ask(server, name)) == "SERVFAIL"
    assert rcode(ask(responder(StandingView([HELD])), name)) == "NXDOMAIN"


async def test_the_list_of_services_includes_unheld_ones() -> None:
    class Told(StandingView):
        def transports(self, label: str) -> frozenset[Protocol]:
            return frozenset({Protocol.UDP}) if label in self.lacking else super().transports(label)

    standing = Told([HELD])
    standing.lacking["lacking"] = None
    answer = ask(responder(standing), f"_services._dns-sd._udp.{ZONE}", "PTR")
    assert data(answer) == [f"_held._tcp.{ZONE}.", f"_lacking._udp.{ZONE}."]


@pytest.mark.parametrize("name", ["canary.lacking", "_lacking._tcp", "_tcp.lacking", "x._lacking._tcp"])
async def test_a_static_entry_denies_no_name_of_an_unheld_service(name: str) -> None:
    """The entry has neither this tag nor TCP. The service may: only the registry can tell, and it is away."""
    standing = StandingView([HELD])
    standing.lacking["lacking"] = None
    standing.fallback.merge([lived(instance("lacking", "10.0.0.3", protocol=Protocol.UDP, tags=()))])
    answer = ask(responder(standing), f"{name}.{ZONE}", edns=1232)
    assert (rcode(answer), extended_errors(answer)) == ("SERVFAIL", [14])
