"""Reports the agent's own state: `/self`, `/health` and the metrics. It only reads the parts."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from agent.certificates.part import CertificatesPart
from agent.http.dns_samples import dns_samples, forwarding_samples, port_samples
from agent.http.health import AgentHealth, judged
from agent.http.lookups import Lookups
from agent.http.reports import AgentHealthView, Components, LossGuardReport, SelfView, SyncReport, ViewReport
from agent.http.samples import Sample, gauge
from agent.http.session_samples import phase_samples, session_samples
from agent.http.state_samples import (
    background_samples,
    certificate_samples,
    program_samples,
    registry_samples,
    reload_samples,
)
from agent.http.view_samples import (
    cache_samples,
    guard_samples,
    limit_samples,
    load_samples,
    lookup_samples,
    snapshot_samples,
    view_samples,
)
from agent.registration.decisions import Phase
from agent.registration.session import Session
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
from registry_core.api.connections import Connections
from registry_core.installed import VERSION
from registry_core.ports.clock import Clock
from registry_core.security.certificate_health import CertificateHealth
from registry_core.supervision import Background
from registry_core.upstreams.choice import Use
from registry_core.upstreams.pool import Upstreams


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

    def samples(self) -> Iterable[Sample]:
        """Return the metrics as they are now."""
        zone, session, view, sync = self._upstreams.zone, self._session, self._view_report(), self._sync_report()
        started_at = self._clock.wall() - self._uptime_s
        yield from program_samples(VERSION, zone, started_at, self._uptime_s)
        yield gauge(
            "agent_healthy", "1 if /health gives no reason to the contrary.", not self._judged(view, sync).reasons
        )
        yield from view_samples(self._view, sync)
        if self._keeper is not None:
            yield from snapshot_samples(self._keeper)
        if self._reloader is not None:
            yield from reload_samples(self._reloader.report())
        yield from background_samples(self._background.report())
        yield from certificate_samples(self.certificate(), self.certificates, self._clock.wall())
        yield from registry_samples(self._upstreams)
        yield from lookup_samples(self._lookups, self._responder)
        yield from dns_samples(self._responder)
        if self._forwarder is not None:
            yield from forwarding_samples(self._forwarder)
        if self._udp is not None and self._tcp is not None and self._http is not None:
            yield from port_samples(self._udp, self._tcp, self._http)
        yield from cache_samples(self._view, self._lookups, self._responder)
        if self._loader is not None:
            yield from load_samples(self._loader)
        yield from guard_samples(self._view, session)
        yield from limit_samples(self._view, self._forwarder, self._tcp, self._http)
        yield from phase_samples(self._phases())
        if session is not None:
            yield from session_samples(session)

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
