"""How many requests a replica has carried out, by what they were for: read from its metrics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from prometheus_client.samples import Sample

from registry_core.api.deployment_schemas import RequestTotals
from registry_core.api.endpoints import ENDPOINTS
from registry_core.security.rights import Right

_LOOKUPS: Final = frozenset(one.path for one in ENDPOINTS if one.right is Right.LOOK_UP)
_WRITES: Final = frozenset((one.method, one.path) for one in ENDPOINTS if one.writes)


def request_counts(samples: Iterable[Sample]) -> RequestTotals:
    """Return the counts in the samples of the histogram of requests."""
    counts = RequestTotals()
    for sample in samples:
        if not sample.name.endswith("_count"):
            continue
        method, path, status = sample.labels["method"], sample.labels["endpoint"], sample.labels["status"]
        count = int(sample.value)
        if (method, path) in _WRITES:
            counts.writes += count
        elif path in _LOOKUPS:
            counts.lookups += count
        else:
            counts.other += count
        counts.refused += count if status.startswith("4") else 0
        counts.failed += count if status.startswith("5") else 0
    return counts
