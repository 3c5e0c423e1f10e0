"""An agent's report about itself: each degraded state shows in /health, in /self and in the metrics."""

from __future__ import annotations

import random
from collections.abc import Mapping

import msgspec
import pytest

from agent.http.about import About
from agent.http.lookups import Lookups
from agent.http.samples import HistogramSample
from agent.registration.decisions import Phase, RequestOutcome, Timings
from agent.registration.session import Session
from agent.registration.session_settings import SessionSettings
from agent.registries.client import RegistryClient, RegistryReply
from agent.registries.srv import RegistryLookup
from agent.settings.settings import ServiceSpec
from agent.view.sync import WatchSync
from agent.view.view import AgentView
from dns.codec import Name
from dns.dns_settings import DnsSettings
from dns.foreign import ForeignReply
from dns.resolver_client import Unanswered
from dns.responder import Responder
from registry_core.domain.catalog import Catalog
from registry_core.domain.freshness import DEFAULT_LIMITS, Freshness
from registry_core.domain.records import Instance, Status
from registry_core.domain.selection import WhenNonePass
from registry_core.supervision import Background
from registry_core.upstreams.choice import RegistryAddress
from registry_core.upstreams.pool import Upstreams
from registry_core.watch.changes import PassedOver, Replaced, Synced
from registry_core.watch.cursor import cursor_of
from registry_core.watch.trust import SILENT_AFTER_S
from tests.books import book_of
from tests.samples import FakeClock, claim, instance, lived
from tests.watch_lines import at

URL = "http://10.0.0.250:8080"
FLEET = tuple(instance(f"service{n}", f"10.0.0.{n + 1}") for n in range(4))


class Following(WatchSync):
    """A watch of which only the report is used."""

    def __init__(self) -> None:
        self.connected_to = URL
        self.resyncs, self.losses = 2, 3


class NoClient(RegistryClient):
    """A registry that gets no requests."""

    def __init__(self) -> None:
        pass


async def _unanswered(name: Name, qtype: int) -> ForeignReply | Unanswered:
    raise AssertionError((name, qtype))


def digest(instances: tuple[Instance, ...]) -> str:
    catalog = Catalog()
    catalog.merge(map(lived, instances))
    return catalog.digest


def everything(*instances: Instance, state: str = "ready", epoch: str = "e1", whole: bool = True) -> Replaced:
    records = tuple(map(lived, instances))
    return Replaced(records, cursor_of([at(7, epoch)]), digest(instances), state, "start", whole=whole)


def sign(*instances: Instance, unread: tuple[str, ...] = (), store_age_s: float | None = 0.0) -> Synced:
    return Synced(cursor_of([at(7)]), digest(instances), "ready", store_age_s, unread)


class Agent:
    """The parts of an agent that are read, with nothing running."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.view = AgentView(self.clock)
        draws = random.Random(1)
        self.upstreams = Upstreams([RegistryAddress(URL)], clock=self.clock, random=draws)
        background = Background(self.clock)
        self.about = About(
            self.view,
            Lookups(self.view, zone="", when_none_pass=WhenNonePass.ALL, random=draws),
            Responder(self.view, DnsSettings(), draws, clock=self.clock),
            self.upstreams,
            RegistryLookup([URL], self.upstreams, _unanswered, draws),
            clock=self.clock,
            background=background,
        )
        self.session = Session(
            [ServiceSpec(claim("billing"))],
            NoClient(),
            settings=SessionSettings(Timings(), lambda _claim, _check: None),
            clock=self.clock,
            random=draws,
            hosts=book_of(lambda _host: []),
        )
        self.sync = Following()

    def join(self) -> Agent:
        self.about.join(self.session, self.sync, None)
        return self

    @property
    def status(self) -> str:
        answers, health = self.about.health()
        assert answers is (health.status != "unhealthy")
        return health.status

    @property
    def metrics(self) -> dict[str, Mapping[tuple[str, ...], float]]:
        samples = self.about.samples()
        return {sample.name: sample.values for sample in samples if not isinstance(sample, HistogramSample)}

    def metric(self, name: str) -> float:
        return self.metrics[name][()]


def healthy() -> Agent:
    agent = Agent().join()
    agent.view.apply(everything(*FLEET))
    assert agent.status == "healthy"
    return agent


def test_an_agent_that_has_read_nothing_cannot_answer() -> None:
    agent = Agent()
    assert agent.status == "unhealthy"
    view = agent.about.report().view
    assert (view.registry_state, view.complete, view.services, view.cursor) == ("unknown", False, 0, "")
    assert (view.loss_guard, view.unread_shards, view.unreadable) == (None, [], "")


def test_before_its_parts_have_joined_it_reports_what_it_has() -> None:
    agent = Agent()
    report = agent.about.report()
    assert (report.epoch, report.services, report.reload, report.snapshot, report.forwarding) == (
        0,
        [],
        None,
        None,
        None,
    )
    assert (report.sync.connected, report.sync.registry, report.sync.registries) == (False, URL, (URL,))
    assert (report.registry_names, report.background) == ([], [])
    assert "agent_heartbeats" not in agent.metrics
    assert "agent_dns_forwarded" not in agent.metrics


def test_an_agent_that_has_read_but_not_joined_is_degraded() -> None:
    agent = Agent()
    agent.view.apply(everything(*FLEET))
    assert agent.status == "degraded"


def test_an_agent_that_follows_its_fleet_is_healthy() -> None:
    agent = healthy()
    view, sync = agent.about.report().view, agent.about.report().sync
    assert (view.freshness, view.age_seconds, view.complete) == (Freshness.FRESH, 0.0, True)
    assert (view.services, view.held_services, view.instances, view.registry_state) == (4, 4, 4, "ready")
    assert view.cursor == "0.e1.7"
    assert view.bytes > 0
    assert (sync.connected, sync.registry, sync.losses, sync.resyncs) == (True, URL, 3, 2)
    assert (agent.metric("agent_view_instances"), agent.metric("agent_view_complete")) == (4, True)
    assert (agent.metric("agent_sync_losses"), agent.metric("agent_sync_resyncs")) == (3, 2)


def test_an_empty_fleet_is_healthy() -> None:
    agent = Agent().join()
    agent.view.apply(everything())
    assert agent.status == "healthy"


def test_a_lost_watch_is_degraded() -> None:
    agent = healthy()
    agent.sync.connected_to = None
    assert agent.status == "degraded"
    sync = agent.about.report().sync
    assert (sync.connected, sync.registry) == (False, URL), "the one that is tried next"
    assert agent.metric("agent_sync_connected") is False


def test_unread_shards_are_named_and_degraded() -> None:
    agent = healthy()
    agent.view.apply(sign(*FLEET, unread=("alpha", "beta")))
    assert agent.status == "degraded"
    view = agent.about.report().view
    assert (view.unread_shards, view.complete, view.freshness) == (["alpha", "beta"], False, Freshness.FRESH)
    agent.view.apply(sign(*FLEET))
    assert agent.status == "healthy"
    assert agent.about.report().view.unread_shards == []


def test_an_unreadable_line_is_degraded_until_everything_is_read_again() -> None:
    agent = healthy()
    agent.view.apply(PassedOver("a line cannot be read: truncated"))
    assert agent.status == "degraded"
    assert agent.about.report().view.unreadable == "a line cannot be read: truncated"
    assert agent.metric("agent_sync_passed_over") == 1
    agent.view.apply(sign(*FLEET))
    assert agent.status == "degraded"
    agent.view.apply(everything(*FLEET, whole=False))
    assert agent.status == "degraded"
    agent.view.apply(everything(*FLEET))
    assert agent.status == "healthy"
    assert agent.metric("agent_sync_passed_over") == 1, "the counter keeps its value"


def test_a_refused_snapshot_is_degraded_and_shown_in_numbers() -> None:
    agent = healthy()
    agent.view.apply(everything(FLEET[0], epoch="e2"))
    agent.clock.pass_time(2.5)
    assert agent.status == "degraded"
    view = agent.about.report().view
    assert view.loss_guard is not None
    assert (view.loss_guard.known_services, view.loss_guard.missing_services, view.loss_guard.held_seconds) == (
        4,
        3,
        2.5,
    )
    assert view.services == 4, "they are still served"
    assert (agent.metric("agent_loss_guard_holding"), agent.metric("agent_loss_guard")) == (True, 1)


def test_a_snapshot_accepted_in_the_end_is_healthy_again() -> None:
    agent = healthy()
    agent.view.apply(everything(FLEET[0], epoch="e2"))
    agent.view.apply(everything(FLEET[0], epoch="e2"))
    assert agent.status == "healthy"
    view = agent.about.report().view
    assert (view.loss_guard, view.services) == (None, 1)
    assert (agent.metric("agent_loss_guard_holding"), agent.metric("agent_loss_guard")) == (False, 1)


@pytest.mark.parametrize(
    ("silent_s", "freshness"),
    [
        (SILENT_AFTER_S, Freshness.FRESH),
        (DEFAULT_LIMITS.fresh_s + 0.5, Freshness.STALE),
        (DEFAULT_LIMITS.stale_s + 0.5, Freshness.EXPIRED),
    ],
)
def test_an_ageing_view_shows_its_age(silent_s: float, freshness: Freshness) -> None:
    agent = healthy()
    agent.clock.pass_time(silent_s)
    view = agent.about.report().view
    assert view.freshness is freshness
    assert agent.status == ("healthy" if freshness is Freshness.FRESH else "degraded")
    assert view.age_seconds == (0.0 if freshness is Freshness.FRESH else silent_s)
    assert view.complete is (freshness is not Freshness.EXPIRED)
    assert agent.about.report().sync.silent_seconds == agent.metric("agent_sync_lag_seconds") == silent_s
    assert agent.metric("cache_age_seconds") == view.age_seconds


def test_a_registry_whose_own_view_is_old_makes_ours_old() -> None:
    agent = healthy()
    agent.view.apply(sign(*FLEET, store_age_s=DEFAULT_LIMITS.stale_s + 1.0))
    assert agent.status == "degraded"
    assert agent.about.report().view.freshness is Freshness.EXPIRED


def test_a_service_with_a_newer_owner_is_degraded() -> None:
    agent = healthy()
    (member,) = agent.session._members.values()
    member.state = msgspec.structs.replace(member.state, phase=Phase.FENCED)
    assert agent.status == "degraded"
    _, health = agent.about.health()
    assert health.components.registrations == {"waiting": 0, "due": 0, "registered": 0, "fenced": 1}
    assert agent.metrics["agent_registrations"][("fenced",)] == 1


def test_a_refused_service_is_degraded_with_the_reason_in_health_self_and_metrics() -> None:
    agent = healthy()
    (member,) = agent.session._members.values()
    refused = RegistryReply(RequestOutcome.REFUSED, "Unauthorized: X-Registry-Token: the token is wrong")
    agent.session._said.of_request(member, refused, registered_as=Status.PASSING)
    assert agent.status == "degraded"
    _, health = agent.about.health()
    report = agent.about.report()
    assert (
        health.reasons
        == report.reasons
        == ["billing (10.0.0.7:8034) is refused by the registry: Unauthorized: X-Registry-Token: the token is wrong"]
    )
    assert report.status == "degraded"
    assert (agent.metric("agent_healthy"), agent.metric("agent_refused_services")) == (False, 1)
    agent.session._said.of_request(member, RegistryReply(RequestOutcome.DONE), registered_as=Status.PASSING)
    assert (agent.status, agent.about.report().reasons) == ("healthy", [])
    assert (agent.metric("agent_healthy"), agent.metric("agent_refused_services")) == (True, 0)


def test_its_services_are_listed_with_its_epoch() -> None:
    agent = healthy()
    report = agent.about.report()
    assert report.epoch == agent.session.epoch > 0
    (service,) = report.services
    assert (service.service_name, service.phase, service.status) == ("billing", Phase.DUE, Status.PASSING)


def test_every_phase_is_counted_even_without_services() -> None:
    _, health = Agent().about.health()
    assert health.components.registrations == dict.fromkeys(("waiting", "due", "registered", "fenced"), 0)


def test_the_time_is_the_wall_clocks_and_the_uptime_is_not() -> None:
    agent = healthy()
    agent.clock.pass_time(1.5)
    agent.clock.step_wall(3600.0)
    _, health = agent.about.health()
    assert (health.timestamp, health.uptime_seconds) == ("2025-11-24T17:00:01.500000+00:00", 1.5)


def test_the_reports_can_be_encoded_as_json() -> None:
    agent = healthy()
    said = msgspec.json.decode(msgspec.json.encode(agent.about.report()))
    assert said["view"]["freshness"] == "fresh"
    assert said["view"]["loss_guard"] is None
    assert said["registries"]["known"][0]["url"] == URL


def test_no_metric_appears_twice_and_each_value_has_its_labels() -> None:
    samples = list(healthy().about.samples())
    assert len({sample.name for sample in samples}) == len(samples)
    assert all(len(labels) == len(sample.labels) for sample in samples for labels in sample.values)
    assert all(sample.meaning.endswith(".") for sample in samples)
