"""For which other instance a service was refused, and what makes it try again."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from agent.registration.decisions import MemberState, Phase, RequestOutcome, Timings
from agent.registration.member import Member
from agent.registration.rivals import Rivals
from agent.registries.client import RegistryReply
from agent.settings.settings import ServiceSpec
from registry_core.domain.records import Instance, InstanceKey, Status
from tests.samples import FakeClock, claim, instance

HOLDER = instance("billing", "10.0.0.9", instance_id="b1")
OWNER = instance("orders", "10.0.0.9", instance_id="orders-1", epoch=7)
EVERYTHING = frozenset[str]()


class Seen:
    """One refused service, and a view that shows what it is told."""

    def __init__(self, *shown: Instance) -> None:
        self.clock = FakeClock()
        self.catalog = {one.key: one for one in shown}
        mine = claim("orders", instance_id="orders-1", epoch=5)
        state = MemberState(phase=Phase.DUE, status=Status.PASSING, failures=3, due_at=self.clock.monotonic() + 60.0)
        self.member = Member(ServiceSpec(mine), mine, state)
        self.rivals = Rivals(
            {mine.key: self.member},
            self.catalog.get,
            clock=self.clock,
            random=random.Random(1),
            timings=lambda: Timings(reassert_spread_s=0.0),
        )

    def refused(self, by: Instance, outcome: RequestOutcome = RequestOutcome.REFUSED) -> bool:
        return self.rivals.met(self.member, RegistryReply(outcome, "no", holder=by.holder))

    def shows(self, key: InstanceKey, now: Instance | None, labels: frozenset[str] | None = None) -> bool:
        """Change the view; return whether the service tries again at once."""
        self.catalog.pop(key, None)
        if now is not None:
            self.catalog[key] = now
        retries = self.rivals.news(frozenset({key.label}) if labels is None else labels)
        assert retries is (self.member.state.due_at <= self.clock.monotonic())
        return retries


@pytest.mark.parametrize(
    "change",
    [
        None,
        {"status": Status.CRITICAL},
        {"suspect": True},
        {"host": "10.0.0.10", "addresses": ("10.0.0.10",)},
        {"port": 9000},
    ],
)
@pytest.mark.parametrize("labels", [None, EVERYTHING])
def test_it_tries_again_when_the_holder_of_its_address_changes(
    change: dict[str, Any] | None, labels: frozenset[str] | None
) -> None:
    seen = Seen(HOLDER)
    assert not seen.refused(HOLDER)
    assert seen.member.report().refused_for == HOLDER.holder
    assert not seen.shows(HOLDER.key, HOLDER)
    assert seen.shows(HOLDER.key, None if change is None else msgspec.structs.replace(HOLDER, **change), labels)


def test_other_instances_are_none_of_its_business() -> None:
    seen = Seen(HOLDER)
    seen.refused(HOLDER)
    assert not seen.shows(instance("billing", "10.0.0.8").key, instance("billing", "10.0.0.8"))
    assert not seen.rivals.news(frozenset({"geo-ip"}))


@pytest.mark.parametrize(
    ("after", "retries"),
    [
        (None, True),
        (msgspec.structs.replace(OWNER, epoch=4), True),
        (msgspec.structs.replace(OWNER, epoch=8), False),
        (msgspec.structs.replace(OWNER, status=Status.CRITICAL), False),
    ],
)
def test_a_fenced_service_tries_again_when_the_newer_owner_is_gone(after: Instance | None, retries: bool) -> None:
    seen = Seen(OWNER)
    assert not seen.refused(OWNER, RequestOutcome.FENCED)
    assert seen.shows(OWNER.key, after) is retries


def test_the_owner_is_looked_up_where_the_reply_does_not_name_it() -> None:
    seen = Seen(OWNER)
    seen.rivals.met(seen.member, RegistryReply(RequestOutcome.FENCED, "a newer owner"))
    assert seen.member.rival == OWNER.holder
    assert seen.shows(OWNER.key, None)


def test_a_holder_that_the_view_does_not_show_is_told() -> None:
    seen = Seen()
    assert seen.refused(HOLDER)
    assert seen.shows(HOLDER.key, HOLDER), "it came after the refusal"


def test_a_service_that_is_registered_has_no_rival_any_more() -> None:
    seen = Seen(HOLDER)
    seen.refused(HOLDER)
    seen.rivals.met(seen.member, RegistryReply(RequestOutcome.UNAVAILABLE, "away"))
    assert seen.member.rival == HOLDER.holder, "an outage says nothing about it"
    seen.rivals.met(seen.member, RegistryReply(RequestOutcome.DONE))
    assert seen.member.report().refused_for is None
    assert not seen.shows(HOLDER.key, None)


def test_all_that_failed_is_repeated_on_request() -> None:
    seen = Seen(HOLDER)
    seen.refused(HOLDER)
    seen.rivals.retry()
    assert seen.member.state.due_at <= seen.clock.monotonic()
