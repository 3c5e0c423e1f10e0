"""The metrics of the program itself: version, settings, tasks, certificates and registries. It only reads. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from agent.certificates.part import CertificatesPart
from agent.http.samples import CounterSample, GaugeSample, Sample, by_word, gauge
from agent.settings.reload import ReloadReport
from registry_core.security.certificate_health import CertificateHealth
from registry_core.supervision import BackgroundReport
from registry_core.upstreams.choice import Trouble, Use
from registry_core.upstreams.pool import Upstreams


def program_samples(version: str, zone: str, started_at: float, uptime_s: float) -> Iterable[Sample]:
    """Return what says which program this is, and how long it has run; `started_at` is in Unix seconds."""
    build: dict[tuple[str, ...], float] = {(version, "agent", zone): 1.0}
    yield GaugeSample("vertice_build_info", "1, with the version.", ("version", "component", "zone"), build)
    yield gauge("vertice_start_time_seconds", "When this program started, in Unix seconds.", started_at)
    yield gauge("agent_uptime_seconds", "Seconds since this agent started.", uptime_s)


def reload_samples(reload: ReloadReport) -> Iterable[Sample]:
    """Return the metrics of the reloads of settings."""
    yield gauge("agent_config_reload_failed", "1 if the last reload was rejected.", bool(reload.problem))
    results: dict[tuple[str, ...], float] = {("taken",): reload.taken, ("kept",): reload.kept}
    yield CounterSample("agent_config_reloads", "Reloads of settings, by result.", ("result",), results)


def background_samples(report: Iterable[BackgroundReport]) -> Iterable[Sample]:
    """Return the metrics of the background tasks."""
    tasks = list(report)
    restarts: dict[tuple[str, ...], float] = {(one.task,): one.restarts for one in tasks}
    failures: dict[tuple[str, ...], float] = {(one.task,): one.failures for one in tasks}
    yield CounterSample("agent_background_restarts", "Background tasks restarted after a failure.", ("task",), restarts)
    yield CounterSample("agent_background_failures", "Background tasks that failed.", ("task",), failures)


def certificate_samples(
    own: CertificateHealth | None, certificates: CertificatesPart | None, wall: float
) -> Iterable[Sample]:
    """Return the metrics of the agent's `own` certificate, and of those of its services."""
    if own is not None and own.expires_at is not None:
        yield gauge(
            "agent_tls_certificate_ends_seconds",
            "Seconds until the certificate ends that this agent shows to the registry.",
            own.expires_at - wall,
        )
    if certificates is None:
        return
    ends: dict[tuple[str, ...], float] = {
        (one.service_name,): one.ends_in_seconds for one in certificates.report() if one.ends_in_seconds is not None
    }
    yield GaugeSample(
        "agent_certificate_ends_seconds", "Seconds until a service's certificate ends.", ("service",), ends
    )
    outcomes = by_word(certificates.outcomes)
    yield CounterSample("agent_certificate_requests", "Requests for certificates, by outcome.", ("outcome",), outcomes)


def registry_samples(upstreams: Upstreams) -> Iterable[Sample]:
    """Return the metrics of each registry: at most MAX_ADDRESSES at a time."""
    known = upstreams.report().known
    used: dict[tuple[str, ...], float] = {(one.url, use): float(use in one.used_for) for one in known for use in Use}
    well: dict[tuple[str, ...], float] = {
        (one.url, use): float(one.reachable and use not in one.resting) for one in known for use in Use
    }
    far: dict[tuple[str, ...], float] = {
        (one.url,): one.latency_seconds for one in known if one.latency_seconds is not None
    }
    failed: dict[tuple[str, ...], float] = {
        (one.url, trouble): float(one.failures[trouble]) for one in known for trouble in Trouble
    }
    moves: dict[tuple[str, ...], float] = {(use, why): count for (use, why), count in upstreams.moves.items()}
    yield GaugeSample("agent_registry_in_use", "1 for the registry in use.", ("registry", "use"), used)
    yield GaugeSample("agent_registry_well", "1 if the registry may be chosen.", ("registry", "use"), well)
    yield GaugeSample("agent_registry_latency_seconds", "Measured latency of a registry.", ("registry",), far)
    yield CounterSample("agent_registry_failures", "Failures of a registry, by kind.", ("registry", "trouble"), failed)
    yield CounterSample("agent_registry_moves", "Moves to another registry, by reason.", ("use", "why"), moves)
