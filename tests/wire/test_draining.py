"""Leaving instances: in SRV with weight zero, and left out of answers without weights."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from dns import codec
from dns.answers import Zone, ZoneSettings
from registry_core.domain.names import short_id
from registry_core.domain.records import Instance, Status
from registry_core.domain.selection import WhenNonePass
from tests.samples import instance
from tests.views import StandingView
from tests.wire.asking import ZONE, ask, data, question, rcode, responder

STAYS = instance(host="10.0.0.1", weight=4)
LEAVES = instance(host="10.0.0.2", weight=9, status=Status.DRAINING, metadata={"who": "leaves"})
FAILS = instance(host="10.0.0.3", status=Status.CRITICAL)
RESTS = instance(host="10.0.0.4", status=Status.MAINTENANCE)
SRV = f"_ip-intel._tcp.{ZONE}"


def short(i: Instance) -> str:
    return f"i-{short_id(i.service_name, i.instance_id)}.{ZONE}."


def priorities(*instances: Instance, **settings: Any) -> dict[str, tuple[int, int]]:
    """Return (priority, weight) of the SRV records, by their targets."""
    answer = ask(responder(StandingView(instances), **settings), SRV, "SRV", edns=1232)
    return {str(rr.rdata.target): (rr.rdata.priority, rr.rdata.weight) for rr in answer.rr}


def test_draining_instances_lead_in_turn_when_no_others_are_left() -> None:
    leaving = [instance(host=f"10.0.0.{n}", status=Status.DRAINING) for n in (2, 3)]
    server = responder(StandingView(leaving))
    for name, qtype in ((f"_ip-intel._tcp.{ZONE}", "SRV"), (f"ip-intel.{ZONE}", "A")):
        first = [str(ask(server, name, qtype).rr[0].rdata) for _ in range(100)]
        assert sorted(first.count(one) for one in set(first)) in ([48, 52], [49, 51], [50, 50]), qtype


def test_a_draining_instance_has_srv_weight_zero_and_comes_last() -> None:
    answer = ask(responder(StandingView([LEAVES, STAYS])), SRV, "SRV", edns=1232)
    assert [str(rr.rdata) for rr in answer.rr] == [f"0 1024 8034 {short(STAYS)}", f"0 0 8034 {short(LEAVES)}"]
    assert data(answer, "ar") == ["10.0.0.1", "10.0.0.2"], "it can still be reached by who is bound to it"


@pytest.mark.parametrize("name", ["ip-intel", "ip_intel"])
def test_a_draining_instance_is_left_out_of_addresses_and_texts(name: str) -> None:
    server = responder(StandingView([LEAVES, STAYS]))
    assert data(ask(server, f"{name}.{ZONE}")) == ["10.0.0.1"]
    assert "leaves" not in str(data(ask(server, f"{name}.{ZONE}", "TXT")))


def test_a_draining_instance_is_returned_when_there_is_no_other() -> None:
    server = responder(StandingView([LEAVES, RESTS]))
    assert data(ask(server, f"ip-intel.{ZONE}")) == ["10.0.0.2"]
    # With its own weight: HAProxy sends no client at all to servers of weight 0.
    assert data(ask(server, SRV, "SRV")) == [f"0 2304 8034 {short(LEAVES)}"]


@pytest.mark.parametrize("when_none_pass", list(WhenNonePass))
def test_a_draining_instance_beats_failing_ones(when_none_pass: WhenNonePass) -> None:
    fails_too = instance(host="10.0.0.5", status=Status.CRITICAL)
    server = responder(StandingView([LEAVES, FAILS, fails_too]), when_none_pass=when_none_pass)
    assert data(ask(server, f"ip-intel.{ZONE}")) == ["10.0.0.2"]
    assert data(ask(server, SRV, "SRV")) == [f"0 2304 8034 {short(LEAVES)}"]


def test_one_that_fell_silent_while_it_drained_does_not() -> None:
    silent = msgspec.structs.replace(LEAVES, suspect=True)
    server = responder(StandingView([silent, FAILS]))
    assert data(ask(server, f"ip-intel.{ZONE}")) == ["10.0.0.2", "10.0.0.3"]


def test_who_has_drained_for_a_moment_has_left_srv_too() -> None:
    view = StandingView([LEAVES, STAYS])
    server = responder(view)
    for name in (SRV, f"ip-intel.{ZONE}"):
        assert len(ask(server, name, "SRV").rr) == 2
    view.leave(LEAVES)
    for name in (SRV, f"ip-intel.{ZONE}"):
        assert data(ask(server, name, "SRV")) == [f"0 1024 8034 {short(STAYS)}"]
    assert data(ask(server, short(LEAVES))) == ["10.0.0.2"], "but can be found by its own name"


def test_who_has_drained_is_named_again_when_the_last_other_goes() -> None:
    view = StandingView([LEAVES, STAYS])
    view.leave(LEAVES)
    server = responder(view)
    view.become(LEAVES)
    assert data(ask(server, SRV, "SRV")) == [f"0 2304 8034 {short(LEAVES)}"]
    assert data(ask(server, f"ip-intel.{ZONE}")) == ["10.0.0.2"]


@pytest.mark.parametrize("stays", [(), (STAYS,)], ids=["all of them", "all but one"])
def test_no_more_draining_instances_are_written_out_than_fit(stays: tuple[Instance, ...]) -> None:
    leaving = [instance(host=f"10.1.{n // 250}.{n % 250}", status=Status.DRAINING) for n in range(1000)]
    zone = Zone(StandingView([*leaving, *stays]), ZoneSettings())
    query = codec.read(question(SRV, "SRV"))
    assert isinstance(query, codec.Query)
    assert len(zone.answer(query, random.Random(7), size=512).answer.answers) < 50


def test_none_returns_nothing() -> None:
    server = responder(StandingView([RESTS, FAILS]), when_none_pass=WhenNonePass.NONE)
    for name, qtype in ((f"ip-intel.{ZONE}", "A"), (SRV, "SRV")):
        answer = ask(server, name, qtype)
        assert (rcode(answer), data(answer)) == ("NOERROR", [])


def test_an_instance_in_maintenance_is_not_returned_even_when_alone() -> None:
    answer = ask(responder(StandingView([RESTS])), SRV, "SRV")
    assert (rcode(answer), data(answer), len(answer.auth)) == ("NOERROR", [], 1)
    assert data(ask(responder(StandingView([RESTS])), short(RESTS))) == ["10.0.0.4"], "but can be found by its own name"


@pytest.mark.parametrize("unusable", [RESTS, FAILS], ids=["in maintenance", "failing"])
def test_while_others_may_exist_no_usable_instance_is_not_called_none(unusable: Instance) -> None:
    server = responder(StandingView([unusable], complete=False), when_none_pass=WhenNonePass.NONE)
    for name, qtype in ((f"ip-intel.{ZONE}", "A"), (SRV, "SRV")):
        assert rcode(ask(server, name, qtype)) == "SERVFAIL"


@pytest.mark.parametrize(("weight", "shown"), [(1, 256), (2, 512), (100, 25600), (1000, 65535)])
def test_weights_leave_room_below_the_smallest(weight: int, shown: int) -> None:
    """A weight beyond 100 is no weight of this release; a later one may know it."""
    one = instance(host="10.0.0.9", weight=weight)
    assert priorities(one) == {short(one): (0, shown)}


def test_the_only_near_instance_does_not_draw_everybody_when_it_leaves() -> None:
    """An asker takes the best priority there is: alone in it, a record of weight 0 would get every request."""
    near = instance(host="10.0.0.5", zone="z1", status=Status.DRAINING)
    far = instance(host="10.0.0.6", zone="z2", weight=3)
    assert priorities(near, far, local_zone="z1") == {short(far): (10, 3 * 256), short(near): (10, 0)}
    stays = instance(host="10.0.0.7", zone="z1", weight=5)
    gone_far = instance(host="10.0.0.8", zone="z2", status=Status.DRAINING)
    assert priorities(near, stays, gone_far, local_zone="z1") == {
        short(stays): (0, 5 * 256),
        short(near): (0, 0),
        short(gone_far): (10, 0),
    }
