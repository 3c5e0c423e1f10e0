"""Sums services up for a list: how many instances each has, how they are, and where. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

import msgspec

from registry_core.domain.records import Service
from registry_core.domain.selection import SERVING

# Of a service with more instances, a list shows where a few of them are.
MOST_ENDPOINTS: Final = 20


class ServiceSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One service. Of one that is not held here (`held`), only the name is known."""

    service_name: str
    held: bool
    instances: int
    statuses: dict[str, int]  # the number of instances at each status that occurs
    endpoints: tuple[str, ...]  # of up to 20 instances, those in use first


def summary(name: str, service: Service | None) -> ServiceSummary:
    """Return the summary of a service; of its name alone when it is not held."""
    if service is None:
        return ServiceSummary(service_name=name, held=False, instances=0, statuses={}, endpoints=())
    statuses = Counter(instance.status.value for instance in service.instances)
    return ServiceSummary(
        service_name=service.name,
        held=True,
        instances=len(service.instances),
        statuses=dict(statuses),
        endpoints=tuple(_unique(i.endpoint for i in sorted(service.instances, key=lambda i: i.status not in SERVING))),
    )


def _unique(endpoints: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(endpoints))[:MOST_ENDPOINTS]
