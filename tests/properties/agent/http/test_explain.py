"""Instances explained as `in` are exactly those that lookups return, over HTTP and DNS, for any service and filters."""

from __future__ import annotations

import random
from typing import Any

import dnslib
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.checks.group import CheckReport
from agent.checks.spec import CheckKind
from agent.http.explain import Explanation
from agent.http.lookups import Lookups
from agent.registration.decisions import MemberState, Phase
from agent.registration.member import Member
from agent.settings.settings import ServiceSpec
from agent.view.view import AgentView
from dns.answers import Zone, ZoneSettings
from dns.codec import CLASS_IN, Query, Type
from registry_core.domain.catalog import Catalog
from registry_core.domain.names import label_of, short_id
from registry_core.domain.records import Instance, Status
from registry_core.domain.selection import ANY, Filter, WhenNonePass
from registry_core.errors import NotFound
from registry_core.watch.changes import Replaced
from registry_core.watch.cursor import Cursor
from tests.samples import FakeClock, claim, instance, instances, lived

SERVICE = "ip_intel"
APEX = (b"vertice", b"internal")


@st.composite
def services(draw: st.DrawFn) -> list[Instance]:
    """Return the instances of one service, each with its own address, IPv4, IPv6, both or none."""
    found = []
    for number, record in enumerate(draw(st.lists(instances(), max_size=6))):
        v4, v6 = f"10.0.1.{number}", f"fd00::{number + 1}"
        addresses = draw(st.sampled_from([(v4,), (v6,), (v4, v6), ()]))
        host = f"host-{number}"
        found.append(
            msgspec.structs.replace(
                record, service_name=SERVICE, instance_id=f"i{number}", host=host, addresses=addresses
            )
        )
    return found


FILTERS = st.builds(
    Filter,
    tag=st.sampled_from(("", "canary", "none-has-it")),
    version=st.sampled_from(("", "1.4", "2", "1.4.2")),
    zone=st.sampled_from(("", "z1")),
    status=st.sampled_from((None, *Status)),
)


def holding(records: list[Instance]) -> AgentView:
    """Return a view that got all of these from a ready registry."""
    view = AgentView(FakeClock())
    catalog = Catalog()
    catalog.merge(lived(record) for record in records)
    view.apply(Replaced(tuple(lived(i) for i in catalog), Cursor(), catalog.digest, "ready", "start"))
    return view


def named(explanation: Explanation, answer: str) -> set[str]:
    return {one.instance_id for one in explanation.instances if answer in one.answers}


@given(
    records=services(), wanted=FILTERS, when=st.sampled_from(list(WhenNonePass)), zone=st.sampled_from(("", "z1", "z2"))
)
def test_instances_explained_as_in_are_exactly_those_returned_over_http(
    records: list[Instance], wanted: Filter, when: WhenNonePass, zone: str
) -> None:
    lookups = Lookups(holding(records), zone=zone, when_none_pass=when, random=random.Random(1))
    try:
        given_ = [one.instance_id for one in lookups.service(SERVICE, wanted).instances]
    except NotFound:
        given_ = []
    explanation = lookups.explain(SERVICE, wanted)
    assert [one.instance_id for one in explanation.instances if one.verdict == "in"] == given_  # in the same order
    assert named(explanation, "http") == set(given_)
    assert explanation.found == bool(records)
    assert len(explanation.instances) == len(records)
    assert all(one.why for one in explanation.instances)


@given(
    records=services(),
    tag=st.sampled_from(("", "canary")),
    when=st.sampled_from(list(WhenNonePass)),
    seed=st.integers(),
)
def test_instances_explained_as_named_by_dns_are_exactly_those_returned_by_dns(
    records: list[Instance], tag: str, when: WhenNonePass, seed: int
) -> None:
    view = holding(records)
    lookups = Lookups(view, zone="z1", when_none_pass=when, random=random.Random(seed))
    zone = Zone(view, ZoneSettings(local_zone="z1", when_none_pass=when))
    name = (*((tag.encode(),) if tag else ()), label_of(SERVICE).encode(), *APEX)
    explanation = lookups.explain(SERVICE, Filter(tag=tag))

    def data_of(qtype: Type) -> list[bytes]:
        answer = zone.answer(Query(1, 0, name, qtype, CLASS_IN, b"", None), random.Random(seed)).answer
        return [record.data for record in answer.answers]

    by_v4 = {ip: i.instance_id for i in records for ip in i.addresses if ":" not in ip}
    by_v6 = {dnslib.AAAA(ip).data: i.instance_id for i in records for ip in i.addresses if ":" in ip}
    assert named(explanation, "a") == {by_v4[".".join(map(str, data))] for data in data_of(Type.A)}
    assert named(explanation, "aaaa") == {by_v6[tuple(data)] for data in data_of(Type.AAAA)}
    by_target = {f"i-{short_id(SERVICE, i.instance_id)}": i.instance_id for i in records}
    by_target |= {i.host: i.instance_id for i in records}
    targets = {data[7 : 7 + data[6]].decode() for data in data_of(Type.SRV)}
    assert named(explanation, "srv") == {by_target[target] for target in targets}
    # An instance that is out is named by no answer, and one that leaves only by DNS.
    assert all(one.answers == () for one in explanation.instances if one.verdict == "out")
    assert all("http" not in one.answers for one in explanation.instances if one.verdict == "leaving")


# -- the words


def of(record: Instance, *others: Instance, wanted: Filter = ANY, when: WhenNonePass = WhenNonePass.ALL) -> str:
    """Return the explanation of one instance of a service."""
    lookups = Lookups(holding([record, *others]), zone="z1", when_none_pass=when, random=random.Random(1))
    (why,) = [one.why for one in lookups.explain(SERVICE, wanted).instances if one.instance_id == record.instance_id]
    return why


PASSES = instance(SERVICE, port=9000, zone="z1")


@pytest.mark.parametrize(
    ("more", "wanted", "when", "word"),
    [
        ({}, ANY, WhenNonePass.ALL, "its owner reports it as passing"),
        ({"status": Status.WARNING}, ANY, WhenNonePass.ALL, "its owner reports it as warning; it is used anyway"),
        ({"status": Status.CRITICAL}, ANY, WhenNonePass.ALL, "others pass"),
        ({"status": Status.DRAINING}, ANY, WhenNonePass.ALL, "weight 0"),
        ({"status": Status.MAINTENANCE}, ANY, WhenNonePass.ALL, "maintenance"),
        ({"status": Status.MAINTENANCE}, Filter(status=Status.MAINTENANCE), WhenNonePass.ALL, "as requested"),
        ({"suspect": True}, ANY, WhenNonePass.ALL, "suspect"),
        ({"zone": "z2"}, ANY, WhenNonePass.ALL, "other zone: z2"),
        ({"tags": ("blue",)}, Filter(tag="canary"), WhenNonePass.ALL, "no tag 'canary'"),
        ({"version": "1.0.0"}, Filter(version="2"), WhenNonePass.ALL, "version is 1.0.0"),
        ({"zone": "z2"}, Filter(zone="z1"), WhenNonePass.ALL, "zone is z2"),
        ({}, Filter(status=Status.WARNING), WhenNonePass.ALL, "passing, and warning was requested"),
    ],
)
def test_the_reason_is_given_in_words(more: dict[str, Any], wanted: Filter, when: WhenNonePass, word: str) -> None:
    assert word in of(instance(SERVICE, **{"zone": "z1", **more}), PASSES, wanted=wanted, when=when)


def test_when_no_instance_passes_the_reason_is_the_choice_among_the_others() -> None:
    ill, leaves = instance(SERVICE, status=Status.CRITICAL), instance(SERVICE, port=9, status=Status.DRAINING)
    assert "a doubtful address is better than none" in of(ill)
    assert "AGENT_WHEN_NONE_PASS is none" in of(ill, when=WhenNonePass.NONE)
    assert "another one drains, which is well" in of(ill, leaves)
    for when in WhenNonePass:
        assert "answers contain it because no other one passes" in of(leaves, ill, when=when)
    silent = msgspec.structs.replace(leaves, suspect=True)
    assert "fell silent while it drained" in of(silent)
    assert "even if there is no other" in of(instance(SERVICE, status=Status.MAINTENANCE))


@pytest.mark.parametrize(
    ("status", "is_checked", "word"),
    [
        (Status.PASSING, True, "it passes its checks"),
        (Status.PASSING, False, "nobody checks it (AGENT_CHECK=none), so it counts as passing"),
        (Status.WARNING, True, "its checks warn; it is used anyway"),
        (Status.CRITICAL, True, "it fails its checks, and so do all others"),
        (Status.CRITICAL, False, "its owner reports it as critical, and so do all others"),
    ],
)
def test_of_its_own_instances_an_agent_knows_whether_they_are_checked(
    status: Status, is_checked: bool, word: str
) -> None:
    record = instance(SERVICE, status=status)
    lookups = Lookups(holding([record]), zone="", when_none_pass=WhenNonePass.ALL, random=random.Random(1))
    claimed = claim(SERVICE)
    member = Member(ServiceSpec(claimed), claimed, MemberState(phase=Phase.REGISTERED))
    check = CheckReport(name="http", kind=CheckKind.HTTP, status=status, last="", flaps=0, held_seconds=0.0)
    report = msgspec.structs.replace(member.report(), checks=[check] if is_checked else [])
    lookups.own = lambda: [report]
    assert word in lookups.explain(SERVICE).instances[0].why


def test_a_host_without_an_address_is_explained() -> None:
    nowhere = instance(SERVICE, "ip-intel-9", addresses=())
    lookups = Lookups(holding([nowhere]), zone="", when_none_pass=WhenNonePass.ALL, random=random.Random(1))
    (explained,) = lookups.explain(SERVICE).instances
    assert (explained.verdict, explained.answers) == ("in", ("http", "srv"))
    assert "no address of its host 'ip-intel-9' is known: A and AAAA leave it out" in explained.why


def test_an_own_instance_that_the_registry_lacks_is_explained() -> None:
    view = holding([instance(SERVICE, "10.0.0.9")])
    view.use_own_instances([instance(SERVICE, "10.0.0.8"), instance("billing", "10.0.0.8", 8035)])
    lookups = Lookups(view, zone="", when_none_pass=WhenNonePass.ALL, random=random.Random(1))
    own, other = lookups.explain(SERVICE).instances
    assert (own.verdict, own.ttl_remaining, other.verdict) == ("in", None, "in")
    assert "only this agent answers it, for its own service" in own.why
    assert "only this agent" not in other.why
    assert (lookups.explain(SERVICE).source, lookups.explain("billing").source) == ("view", "own")


def test_a_missing_name_is_explained_with_similar_names() -> None:
    view = holding([instance("parcel_tracker"), instance("billing", port=1)])
    lookups = Lookups(view, zone="", when_none_pass=WhenNonePass.ALL, random=random.Random(1))
    for name in ("parcel_traker", "Parcel-Tracker!", "parceltracker"):
        explanation = lookups.explain(name)
        assert (explanation.found, explanation.similar, explanation.source) == (False, ("parcel_tracker",), "")
        assert name in explanation.summary
    assert lookups.explain("x" * 10_000).similar == ()


def test_an_undecided_name_is_reported_as_unknown() -> None:
    clock = FakeClock()
    view = AgentView(clock)
    lookups = Lookups(view, zone="", when_none_pass=WhenNonePass.ALL, random=random.Random(1))
    explanation = lookups.explain("billing")
    assert (explanation.found, explanation.complete) == (False, False)
    assert "cannot tell whether 'billing' exists" in explanation.summary
