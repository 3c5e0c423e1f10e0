"""The reports of an agent about itself, as `GET /self` and `GET /health` show them."""

from __future__ import annotations

import msgspec

from agent.certificates.reports import CertificateReport
from agent.registration.member import ServiceReport
from agent.registries.srv import SrvReport
from agent.settings.reload import ReloadReport
from agent.view.snapshot_writer import SnapshotReport
from dns.forwarding import ForwardingReport
from registry_core.domain.freshness import Freshness
from registry_core.security.certificate_health import CertificateHealth
from registry_core.supervision import BackgroundReport
from registry_core.upstreams.pool import UpstreamsReport


class SyncReport(msgspec.Struct, kw_only=True):
    """The watch: its registry, and the time since it last received something."""

    connected: bool
    registry: str
    registries: tuple[str, ...]
    silent_seconds: float
    losses: int
    resyncs: int
    mismatches: int


class LossGuardReport(msgspec.Struct, kw_only=True):
    """A rejected snapshot of a registry that has just started: the services it lacks are still served."""

    known_services: int  # before it
    missing_services: int
    held_seconds: float


class ViewReport(msgspec.Struct, kw_only=True):
    """The view: what it holds, and how far it can be trusted."""

    freshness: Freshness
    age_seconds: float
    complete: bool
    registry_state: str
    services: int  # known
    held_services: int  # fewer if the fleet exceeds the view's limits: then those that are looked up
    instances: int  # of held services
    largest_service: str  # the held service with the most instances; "" if there is none
    largest_instances: int
    bytes: int  # measured, including the names of all services
    cursor: str
    loss_guard: LossGuardReport | None  # None: nothing is held back
    unread_shards: list[str]  # of the registry's store: it does not know their services yet
    unreadable: str  # the last part of the registry's stream that could not be read; "" if there is none


class SelfView(msgspec.Struct, kw_only=True):
    """`GET /self`."""

    status: str  # as in `GET /health`
    reasons: list[str]
    uptime_seconds: float
    epoch: int
    services: list[ServiceReport]
    view: ViewReport
    sync: SyncReport
    registries: UpstreamsReport
    registry_names: list[SrvReport]
    tls: CertificateHealth | None  # None: it speaks no TLS to registries
    reload: ReloadReport | None  # None: settings are not reloaded
    snapshot: SnapshotReport | None  # None: nothing is kept on disk
    forwarding: ForwardingReport | None
    certificates: list[CertificateReport] | None  # None: the agent gets none
    background: list[BackgroundReport]


class Components(msgspec.Struct, kw_only=True):
    """The parts of an agent's health."""

    view: ViewReport
    sync: SyncReport
    registrations: dict[str, int]
    forwarding: ForwardingReport | None


class AgentHealthView(msgspec.Struct, kw_only=True):
    """`GET /health`."""

    status: str  # "healthy" | "degraded" | "unhealthy"
    reasons: list[str]  # one sentence for each fault; none when it is healthy
    timestamp: str
    uptime_seconds: float
    components: Components
