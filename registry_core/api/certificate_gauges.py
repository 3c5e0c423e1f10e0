"""Exports when the certificates of a replica end, read at each scrape."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from registry_core.telemetry.metrics import ReplicaMetrics

# The Unix time at which each certificate ends, by its use; None where there is none.
CertificateEnds = Callable[[], Mapping[str, float | None]]


def add_certificate_gauges(metrics: ReplicaMetrics, ends: CertificateEnds, wall: Callable[[], float]) -> None:
    """Add the ends of certificates to `metrics`; `wall` is the present in Unix seconds."""
    metrics.gauges(
        "registry_certificate_ends_seconds",
        "Seconds until a certificate in use ends: of the port, of the authority, for its peers, for its store.",
        "use",
        lambda: {use: at - wall() for use, at in ends().items() if at is not None},
    )
