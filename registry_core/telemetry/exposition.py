"""The text of `/metrics`, made a bounded number of times a second.

To make it takes milliseconds of the thread that answers lookups, and anybody who may look up may scrape. It is
Prometheus' text format, or OpenMetrics 1.0, which also has exemplars, for a scraper whose Accept header prefers that.
"""

from __future__ import annotations

import enum
import math
from collections import deque
from collections.abc import Callable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.openmetrics.exposition import CONTENT_TYPE_LATEST
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics_latest

from registry_core.ports.clock import Clock

MOST_A_SECOND: Final = 10
_SECOND_S: Final = 1.0
# An Accept header names a few types. More of it is not read.
MAX_ACCEPT: Final = 1000
_OPENMETRICS: Final = "application/openmetrics-text"
_PLAIN: Final = "text/plain"


class MetricsFormat(enum.StrEnum):
    """The formats, by their content types."""

    PLAIN = CONTENT_TYPE_PLAIN_0_0_4
    OPENMETRICS = CONTENT_TYPE_LATEST


_MAKERS: Final[Mapping[MetricsFormat, Callable[[CollectorRegistry], bytes]]] = {
    MetricsFormat.PLAIN: generate_latest,
    MetricsFormat.OPENMETRICS: openmetrics_latest,
}


def format_for(accept: str) -> MetricsFormat:
    """Return the format that an Accept header asks for (RFC 9110 section 12.5.1).

    OpenMetrics only when it is named and not less welcome than plain text: wildcards and anything unreadable get the
    plain format, which every scraper reads.
    """
    welcome = {_OPENMETRICS: 0.0, _PLAIN: 0.0}
    for part in accept[:MAX_ACCEPT].split(","):
        media_type, *parameters = (word.strip().lower() for word in part.split(";"))
        if media_type in welcome:
            welcome[media_type] = max(welcome[media_type], _quality(parameters))
    if 0 < welcome[_OPENMETRICS] >= welcome[_PLAIN]:
        return MetricsFormat.OPENMETRICS
    return MetricsFormat.PLAIN


def _quality(parameters: list[str]) -> float:
    given = next((word.partition("=")[2].strip() for word in parameters if word.startswith("q=")), "1")
    try:
        quality = float(given)
    except ValueError:
        return 0.0
    return quality if math.isfinite(quality) and 0.0 <= quality <= 1.0 else 0.0


class Exposition:
    """The metrics of a registry as a scraper reads them."""

    def __init__(self, registry: CollectorRegistry, clock: Clock) -> None:
        self._registry = registry
        self._clock = clock
        self._made_at: deque[float] = deque(maxlen=MOST_A_SECOND)  # whatever the format
        self._last: dict[MetricsFormat, bytes] = {}

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """Return the metrics as they are now, and their content type, for a request with this Accept header.

        Beyond ten texts within a second, it is the last one of that format.
        """
        form = format_for(accept)
        if form not in self._last or self.is_due():
            self._last[form] = _MAKERS[form](self._registry)
            self._made_at.append(self._clock.monotonic())
        return self._last[form], form.value

    def is_due(self) -> bool:
        """Return whether the next text is made anew."""
        return len(self._made_at) < MOST_A_SECOND or self._clock.monotonic() - self._made_at[0] >= _SECOND_S
