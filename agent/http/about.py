"""Reports the agent's own state: `/self`, `/health` and the metrics. It only reads the parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

from agent.certificates.part import CertificatesPart
from agent.http.health import AgentHealth, judged
from agent.http.lookups import Lookups
from agent.http.metrics import CounterSample, GaugeSample, counter, gauge
from agent.http.reports import AgentHealthView, Components, LossGuardReport, SelfView, SyncReport, ViewReport
from agent.registration.decisions import Phase
from agent.registration.session import Session
from agent.registries.choice import Trouble, Use
from agent.registries.pool import Upstreams
from agent.registries.srv import RegistryLookup
from agent.settings.reload import Reloader
from agent.view.loader import ServiceLoader
from agent.view.snapshot_writer import SnapshotKeeper
from agent.view.sync import WatchSync
from agent.view.view import AgentView
from dns.forwarding import Forwarder, ForwardingReport
from dns.responder import Responder
from dns.tcp import TcpServer
from dns.udp import UdpServer
from dns.upstreams import ResolverState
from registry_core.api.connections import Connections
from registry_core.domain.connection_slots import Closing
from registry_core.ports.clock import Clock
from registry_core.security.certificate_health import CertificateHealth
from registry_core.supervision import Background


class About:
    """Reads the parts of one agent. Later parts join once they exist."""

    def __init__(
        self,
        view: AgentView,
        lookups: Lookups,
        responder: Responder,
        upstreams: Upstreams,
        lookup: RegistryLookup,
        *,
        clock: Clock,
        background: Background,
        forwarder: Forwarder | None = None,
        reloader: Reloader | None = None,
    ) -> None:
        self._view = view
        self._lookups = lookups
        self._responder = responder
        self._forwarder = forwarder
        self._reloader = reloader
        self._upstreams = upstreams
        self._lookup = lookup
        self._clock = clock
        self._background = background
        self._started_at = clock.monotonic()
        self._session: Session | None = None
        self._sync: WatchSync | None = None
        self._keeper: SnapshotKeeper | None = None
        self._loader: ServiceLoader | None = None
        self._udp: UdpServer | None = None
        self._tcp: TcpServer | None = None
        self._http: Connections | None = None
        self.certificate: Callable[[], CertificateHealth | None] = lambda: None
        self.certificates: CertificatesPart | None = None

    def answers_on(self, udp: UdpServer, tcp: TcpServer, http: Connections) -> None:
        """Include these servers from now on."""
        self._udp, self._tcp, self._http = udp, tcp, http

    def join(
        self, session: Session, sync: WatchSync, keeper: SnapshotKeeper | None, loader: ServiceLoader | None = None
    ) -> None:
        """Include these parts from now on."""
        self._session, self._sync, self._keeper, self._loader = session, sync, keeper, loader

    def report(self) -> SelfView:
        """Return the agent's state, for people."""
        session, view, sync = self._session, self._view_report(), self._sync_report()
        health = self._judged(view, sync)
        return SelfView(
            status=health.status,
            reasons=health.reasons,
            uptime_seconds=self._uptime_s,
            epoch=session.epoch if session is not None else 0,
            services=session.report() if session is not None else [],
            view=view,
            sync=sync,
            registries=self._upstreams.report(),
            registry_names=self._lookup.report(),
            tls=self.certificate(),
            reload=self._reloader.report() if self._reloader is not None else None,
            snapshot=self._keeper.report() if self._keeper is not None else None,
            forwarding=self._forwarding_report(),
            certificates=self.certificates.report() if self.certificates is not None else None,
            background=self._background.report(),
        )

    def health(self) -> tuple[bool, AgentHealthView]:
        """Return whether lookups can be answered, and the health of the parts."""
        view, sync = self._view_report(), self._sync_report()
        health = self._judged(view, sync)
        return self._view.loaded, AgentHealthView(
            status=health.status,
            reasons=health.reasons,
            timestamp=datetime.fromtimestamp(self._clock.wall(), UTC).isoformat(),
            uptime_seconds=self._uptime_s,
            components=Components(
                view=view, sync=sync, registrations=self._phases(), forwarding=self._forwarding_report()
            ),
        )

    def _judged(self, view: ViewReport, sync: SyncReport) -> AgentHealth:
        services = self._session.report() if self._session is not None else []
        tls = self.certificate()
        return judged(
            view,
            sync,
            services,
            loaded=self._view.loaded,
            tls_problem=tls.problem if tls is not None else "",
            certificates=self.certificates.faults() if self.certificates is not None else (),
        )

    def samples(self) -> Iterable[CounterSample | GaugeSample]:
        """Return the metrics as they are now."""
        view, sync = self._view, self._sync_report()
        yield gauge("agent_view_known_services", "Known services.", view.known)
        yield gauge("agent_view_services", "Services held in the view.", view.catalog.service_count)
        yield gauge("agent_view_instances", "Instances in the view.", len(view.catalog))
        yield gauge("agent_view_complete", "1 if a missing name is known not to exist.", view.complete)
        yield gauge(
            "agent_loss_guard_holding", "1 while a rejected snapshot is held back.", view.loss_guard is not None
        )
        yield counter("agent_loss_guard", "Snapshots rejected by the loss guard.", view.losses_prevented)
        yield gauge("cache_age_seconds", "Seconds since the registry last confirmed the view.", view.age_s())
        yield gauge("agent_sync_connected", "1 if the watch is connected.", sync.connected)
        yield gauge("agent_sync_lag_seconds", "Seconds since anything was received from the registry.", view.lag_s)
        yield counter("agent_sync_losses", "Times that the watch was lost.", sync.losses)
        yield counter("agent_sync_resyncs", "Full resyncs of the view.", sync.resyncs)
        yield counter("agent_sync_mismatches", "Times the view did not match the digest.", sync.mismatches)
        yield counter("agent_sync_snapshots", "Snapshots applied to the view.", view.snapshots)
        yield counter("agent_sync_passed_over", "Lines of the watch that could not be read.", view.passed_over)
        yield counter("agent_sync_events", "Events applied to the view.", view.events)
        if self._keeper is not None:
            kept = self._keeper.report()
            yield counter("agent_snapshot_saves", "Snapshots written to disk.", kept.saves)
            yield counter("agent_snapshot_failures", "Snapshots that could not be written.", kept.failures)
        if self._reloader is not None:
            reload = self._reloader.report()
            yield gauge("agent_config_reload_failed", "1 if the last reload was rejected.", bool(reload.problem))
            results: dict[tuple[str, ...], float] = {("taken",): reload.taken, ("kept",): reload.kept}
            yield CounterSample("agent_config_reloads", "Reloads of settings, by result.", ("result",), results)
        yield from self._background_samples()
        yield from self._certificate_samples()
        yield from self._registry_samples()
        dns = self._responder
        yield from self._dns_samples()
        yield from self._forwarding_samples()
        yield CounterSample(
            "cache_hits",
            "Lookups answered from memory: HTTP lookups of known names, DNS lookups with a ready answer.",
            ("cache",),
            {("view",): self._lookups.hits, ("dns",): dns.hits},
        )
        yield CounterSample(
            "cache_misses",
            "HTTP lookups of unknown names; DNS lookups without a ready answer.",
            ("cache",),
            {("view",): self._lookups.misses, ("dns",): dns.misses},
        )
        yield CounterSample(
            "cache_evictions",
            "Services and ready DNS answers evicted to make room.",
            ("cache",),
            {("view",): self._view.evictions, ("dns",): dns.evictions},
        )
        yield GaugeSample(
            "registry_cache_size_bytes",
            "Measured memory of held services and ready DNS answers.",
            ("cache",),
            {("view",): self._view.bytes, ("dns",): dns.cache_bytes},
        )
        if self._loader is not None:
            outcomes: dict[tuple[str, ...], float] = {
                ("read",): self._loader.loads,
                ("failed",): self._loader.failures,
                ("refused",): self._loader.refusals,
            }
            yield CounterSample(
                "agent_view_loads",
                "Reads of services that were looked up but not held, by outcome.",
                ("outcome",),
                outcomes,
            )
        health = self._judged(self._view_report(), sync)
        yield gauge("agent_healthy", "1 if /health gives no reason to the contrary.", not health.reasons)
        phases: dict[tuple[str, ...], float] = {(phase,): count for phase, count in self._phases().items()}
        yield GaugeSample("agent_registrations", "Services of this agent, by phase.", ("phase",), phases)
        if self._session is not None:
            yield gauge(
                "agent_refused_services",
                "Services of this agent whose registration or heartbeat the registry refused.",
                sum(service.refused for service in self._session.report()),
            )
            yield CounterSample(
                "agent_check_results",
                "Check results, by kind and status.",
                ("kind", "result"),
                {(kind, status): float(count) for (kind, status), count in self._session.check_results.items()},
            )
            checks = [check for service in self._session.report() for check in service.checks]
            yield counter(
                "agent_check_flaps", "Times a check was put on hold for flapping.", sum(c.flaps for c in checks)
            )
            yield gauge(
                "agent_check_held", "Checks held critical for flapping.", sum(c.held_seconds > 0 for c in checks)
            )
            yield CounterSample(
                "agent_heartbeats",
                "Heartbeats, by outcome.",
                ("outcome",),
                {(outcome.value,): float(count) for outcome, count in self._session.beats.items()},
            )

    def _background_samples(self) -> Iterable[CounterSample | GaugeSample]:
        report = self._background.report()
        restarts: dict[tuple[str, ...], float] = {(one.task,): one.restarts for one in report}
        failures: dict[tuple[str, ...], float] = {(one.task,): one.failures for one in report}
        yield CounterSample(
            "agent_background_restarts", "Background tasks restarted after a failure.", ("task",), restarts
        )
        yield CounterSample("agent_background_failures", "Background tasks that failed.", ("task",), failures)

    def _certificate_samples(self) -> Iterable[CounterSample | GaugeSample]:
        if self.certificates is None:
            return
        ends: dict[tuple[str, ...], float] = {
            (one.service_name,): one.ends_in_seconds
            for one in self.certificates.report()
            if one.ends_in_seconds is not None
        }
        outcomes: dict[tuple[str, ...], float] = {(word,): n for word, n in self.certificates.outcomes.items()}
        yield GaugeSample(
            "agent_certificate_ends_seconds", "Seconds until a service's certificate ends.", ("service",), ends
        )
        yield CounterSample(
            "agent_certificate_requests", "Requests for certificates, by outcome.", ("outcome",), outcomes
        )

    def _registry_samples(self) -> Iterable[CounterSample | GaugeSample]:
        # At most MAX_ADDRESSES at a time.
        known = self._upstreams.report().known
        used: dict[tuple[str, ...], float] = {
            (one.url, use): float(use in one.used_for) for one in known for use in Use
        }
        well: dict[tuple[str, ...], float] = {
            (one.url, use): float(one.reachable and use not in one.resting) for one in known for use in Use
        }
        far: dict[tuple[str, ...], float] = {
            (one.url,): one.latency_seconds for one in known if one.latency_seconds is not None
        }
        failed: dict[tuple[str, ...], float] = {
            (one.url, trouble): float(one.failures[trouble]) for one in known for trouble in Trouble
        }
        moves: dict[tuple[str, ...], float] = {(use, why): count for (use, why), count in self._upstreams.moves.items()}
        yield GaugeSample("agent_registry_in_use", "1 for the registry in use.", ("registry", "use"), used)
        yield GaugeSample("agent_registry_well", "1 if the registry may be chosen.", ("registry", "use"), well)
        yield GaugeSample("agent_registry_latency_seconds", "Measured latency of a registry.", ("registry",), far)
        yield CounterSample(
            "agent_registry_failures", "Failures of a registry, by kind.", ("registry", "trouble"), failed
        )
        yield CounterSample("agent_registry_moves", "Moves to another registry, by reason.", ("use", "why"), moves)

    def _dns_samples(self) -> Iterable[CounterSample | GaugeSample]:
        dns = self._responder
        queries: dict[tuple[str, ...], float] = dict(dns.counters.items())
        yield CounterSample("agent_dns_queries", "DNS queries, by type and rcode.", ("type", "rcode"), queries)
        yield counter("agent_dns_malformed", "DNS queries that could not be parsed.", dns.malformed)
        yield counter("agent_dns_prohibited", "DNS queries from networks that are not allowed.", dns.prohibited)
        yield counter("agent_dns_limited", "DNS answers over the rate limit.", dns.limited)
        yield counter("agent_dns_failures", "DNS queries that hit an internal error.", dns.failures)
        dropped = self._udp.dropped if self._udp is not None else 0
        yield counter("agent_dns_dropped", "DNS answers that could not be sent.", dropped)
        if self._tcp is not None and self._http is not None:
            yield gauge("agent_dns_tcp_connections", "Open connections for DNS.", self._tcp.connections)
            yield CounterSample(
                "agent_dns_tcp_connections_closed",
                "Connections for DNS that were closed or not accepted for want of room, by reason.",
                ("reason",),
                _by_reason(self._tcp.closed),
            )
            yield gauge("agent_http_connections", "Open connections of the localhost port.", len(self._http.open))
            yield CounterSample(
                "agent_http_connections_closed",
                "Connections that were closed or not accepted for a limit, by reason.",
                ("reason",),
                _by_reason(self._http.closed),
            )
        late = self._udp.too_late if self._udp is not None else 0
        yield counter("agent_dns_too_late", "DNS datagrams that had waited too long in the socket.", late)
        shed: dict[tuple[str, ...], float] = {("no_room",): dns.work.shed, ("too_late",): dns.work.late}
        yield CounterSample("agent_dns_not_done", "Work for answers that was not done, by reason.", ("reason",), shed)
        yield gauge("agent_dns_work_waiting", "Pieces of work for answers that wait for their turn.", dns.work.waiting)
        yield gauge("agent_dns_ready_answers", "Ready DNS answers.", dns.cache_entries)
        yield gauge("agent_dns_ready_answers_bytes", "Memory of ready DNS answers.", dns.cache_bytes)

    def _forwarding_samples(self) -> Iterable[CounterSample | GaugeSample]:
        forwarder = self._forwarder
        if forwarder is None:
            return
        report = forwarder.report()
        results: dict[tuple[str, ...], float] = {(word,): count for word, count in forwarder.counts.items()}
        yield CounterSample("agent_dns_forwarded", "Queries outside the zone, by result.", ("result",), results)
        yield gauge("agent_dns_forwarding_in_flight", "Queries to resolvers in flight.", report.in_flight)
        yield gauge("agent_dns_forwarding_cached", "Cached answers of resolvers.", report.cached)
        # As many as configured or listed in resolv.conf: a few.
        states: dict[tuple[str, ...], float] = {
            (one.server, state.value): float(one.state is state) for one in report.upstreams for state in ResolverState
        }
        outcomes: dict[tuple[str, ...], float] = {
            (one.server, outcome): float(count)
            for one in report.upstreams
            for outcome, count in (("answered", one.answered), ("failed", one.failed), ("looped", one.loops))
        }
        yield GaugeSample(
            "agent_dns_upstream_state", "1 for the current state of a resolver.", ("upstream", "state"), states
        )
        yield CounterSample(
            "agent_dns_upstream_outcomes", "Queries to a resolver, by outcome.", ("upstream", "outcome"), outcomes
        )

    def _forwarding_report(self) -> ForwardingReport | None:
        return self._forwarder.report() if self._forwarder is not None else None

    @property
    def _uptime_s(self) -> float:
        return round(self._clock.monotonic() - self._started_at, 3)

    def _phases(self) -> dict[str, int]:
        phases = self._session.phases() if self._session is not None else {}
        return {phase.value: phases.get(phase, 0) for phase in Phase}

    def _view_report(self) -> ViewReport:
        view = self._view
        largest = max(view.catalog.labels(), key=view.catalog.instance_count, default="")
        return ViewReport(
            freshness=view.freshness,
            age_seconds=round(view.age_s(), 3),
            complete=view.complete,
            registry_state=view.trust.state or "unknown",
            services=view.known,
            held_services=view.catalog.service_count,
            instances=len(view.catalog),
            largest_service=largest,
            largest_instances=view.catalog.instance_count(largest),
            bytes=view.bytes,
            cursor=str(view.cursor),
            loss_guard=self._loss_guard_report(),
            unread_shards=list(view.trust.unread),
            unreadable=view.unreadable,
        )

    def _loss_guard_report(self) -> LossGuardReport | None:
        guard = self._view.loss_guard
        if guard is None:
            return None
        held_s = round(self._clock.monotonic() - guard.since, 3)
        return LossGuardReport(known_services=guard.known, missing_services=guard.missing, held_seconds=held_s)

    def _sync_report(self) -> SyncReport:
        sync = self._sync
        connected_to = sync.connected_to if sync is not None else None
        return SyncReport(
            connected=connected_to is not None,
            registry=connected_to or self._upstreams.current(Use.WATCH) or "",
            registries=self._upstreams.urls,
            silent_seconds=round(self._view.lag_s, 3),
            losses=sync.losses if sync is not None else 0,
            resyncs=sync.resyncs if sync is not None else 0,
            mismatches=self._view.trust.mismatches,
        )


def _by_reason(closed: Mapping[Closing, int]) -> dict[tuple[str, ...], float]:
    return {(why.value,): float(count) for why, count in closed.items()}
