"""The metrics of the view and of lookups: contents, age, watch, snapshot, guards and limits. It only reads. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from agent.http.lookups import Lookups
from agent.http.reports import SyncReport
from agent.http.samples import (
    CLEAR,
    HOLDING,
    CounterSample,
    GaugeSample,
    HistogramSample,
    Sample,
    by_word,
    counter,
    gauge,
    one_of,
)
from agent.registration.session import Session
from agent.view.loader import ServiceLoader
from agent.view.snapshot_writer import SnapshotKeeper
from agent.view.view import AgentView
from dns.forwarding import Forwarder
from dns.responder import Responder
from dns.tcp import TcpServer
from registry_core.api.connections import Connections


def view_samples(view: AgentView, sync: SyncReport) -> Iterable[Sample]:
    """Return what the view holds, how old it is, and how its watch goes."""
    yield gauge("agent_view_known_services", "Known services.", view.known)
    yield gauge("agent_view_services", "Services held in the view.", view.catalog.service_count)
    yield gauge("agent_view_instances", "Instances in the view.", len(view.catalog))
    yield gauge("agent_view_bytes", "Measured memory of the services held in the view.", view.bytes)
    yield gauge("agent_view_complete", "1 if a missing name is known not to exist.", view.complete)
    yield gauge("cache_age_seconds", "Seconds since the registry last confirmed the view.", view.age_s())
    yield gauge("agent_sync_connected", "1 if the watch is connected.", sync.connected)
    yield gauge("agent_sync_lag_seconds", "Seconds since anything was received from the registry.", view.lag_s)
    yield counter("agent_sync_losses", "Times that the watch was lost.", sync.losses)
    yield counter("agent_sync_resyncs", "Full resyncs of the view.", sync.resyncs)
    yield counter("agent_sync_mismatches", "Times the view did not match the digest.", sync.mismatches)
    yield counter("agent_sync_snapshots", "Snapshots applied to the view.", view.snapshots)
    yield counter("agent_sync_passed_over", "Lines of the watch that could not be read.", view.passed_over)
    yield counter("agent_sync_events", "Events applied to the view.", view.events)


def snapshot_samples(keeper: SnapshotKeeper) -> Iterable[Sample]:
    """Return how current the snapshot on disk is, and how often it was written."""
    kept = keeper.report()
    yield gauge(
        "agent_snapshot_age_seconds",
        "Seconds since the snapshot on disk was written, or, if by an earlier run, confirmed; NaN without one.",
        keeper.age_s,
    )
    yield gauge(
        "agent_snapshot_behind_seconds",
        "Seconds for which the snapshot on disk has lacked a change of the view; 0 while it lacks none.",
        keeper.behind_s,
    )
    yield counter("agent_snapshot_saves", "Snapshots written to disk.", kept.saves)
    yield counter("agent_snapshot_failures", "Snapshots that could not be written.", kept.failures)


def guard_samples(view: AgentView, session: Session | None) -> Iterable[Sample]:
    """Return the state of what keeps a fault elsewhere from emptying this agent's answers."""
    holds = view.loss_guard is not None
    flapping = session is not None and any(
        check.held_seconds > 0 for service in session.report() for check in service.checks
    )
    states = {
        (guard, *state): value
        for guard, held in (("loss", holds), ("flap", flapping))
        for state, value in one_of(HOLDING if held else CLEAR, (CLEAR, HOLDING)).items()
    }
    yield GaugeSample(
        "agent_guard_state",
        "1 for the state of a guard: `loss` holds back a snapshot that lacks too much, `flap` keeps a check critical.",
        ("guard", "state"),
        states,
    )
    yield gauge("agent_loss_guard_holding", "1 while a rejected snapshot is held back.", holds)
    yield counter("agent_loss_guard", "Snapshots rejected by the loss guard.", view.losses_prevented)


def lookup_samples(lookups: Lookups, dns: Responder) -> Iterable[Sample]:
    """Return the answers that were given from the view, by how fresh it was."""
    http = lookups.counts
    dns.counts.fold()
    faces = (("dns", dns.counts.answers), ("http", http.answers))
    answers: dict[tuple[str, ...], float] = {
        (face, freshness): float(count) for face, counts in faces for freshness, count in counts.items()
    }
    yield CounterSample(
        "agent_answers",
        "Answers from the view, by its freshness; `unknown` where it could not tell.",
        ("face", "freshness"),
        answers,
    )
    yield HistogramSample(
        "agent_answer_age_seconds",
        "Age of the view at each answer from it, over DNS to the second.",
        ("face",),
        {("dns",): dns.counts.ages, ("http",): http.ages},
    )
    requests: dict[tuple[str, ...], float] = {labels: float(count) for labels, count in http.requests.items()}
    yield CounterSample(
        "agent_http_requests", "Requests to the localhost port, by path and status.", ("path", "status"), requests
    )


def cache_samples(view: AgentView, lookups: Lookups, dns: Responder) -> Iterable[Sample]:
    """Return how the two caches do: the services held, and the ready DNS answers."""
    yield CounterSample(
        "cache_hits",
        "Lookups answered from memory: HTTP lookups of known names, DNS lookups with a ready answer.",
        ("cache",),
        {("view",): lookups.hits, ("dns",): dns.hits},
    )
    yield CounterSample(
        "cache_misses",
        "HTTP lookups of unknown names; DNS lookups without a ready answer.",
        ("cache",),
        {("view",): lookups.misses, ("dns",): dns.misses},
    )
    yield CounterSample(
        "cache_evictions",
        "Services and ready DNS answers evicted to make room.",
        ("cache",),
        {("view",): view.evictions, ("dns",): dns.evictions},
    )
    yield GaugeSample(
        "registry_cache_size_bytes",
        "Measured memory of held services and ready DNS answers.",
        ("cache",),
        {("view",): view.bytes, ("dns",): dns.cache_bytes},
    )


def load_samples(loader: ServiceLoader) -> Iterable[Sample]:
    """Return how the reads of services went that were looked up but not held."""
    yield CounterSample(
        "agent_view_loads",
        "Reads of services that were looked up but not held, by outcome.",
        ("outcome",),
        by_word({"read": loader.loads, "failed": loader.failures, "refused": loader.refusals}),
    )


def limit_samples(
    view: AgentView, forwarder: Forwarder | None, tcp: TcpServer | None, http: Connections | None
) -> Iterable[Sample]:
    """Return the limits, and how much of each is used."""
    limits: dict[str, tuple[float, float]] = {
        "view_services": (view.catalog.service_count, view.limits.services),
        "view_bytes": (view.bytes, view.limits.bytes),
    }
    if forwarder is not None:
        limits["forwarded_queries"] = (forwarder.report().in_flight, forwarder.limit)
    if tcp is not None:
        limits["dns_tcp_connections"] = (tcp.connections, tcp.most_connections)
    if http is not None:
        limits["http_connections"] = (len(http.open), http.limits.connections)
    yield GaugeSample(
        "agent_limit", "The limits of this agent.", ("limit",), by_word({k: v[1] for k, v in limits.items()})
    )
    yield GaugeSample(
        "agent_limit_used", "How much of each limit is used.", ("limit",), by_word({k: v[0] for k, v in limits.items()})
    )
