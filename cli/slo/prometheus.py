"""Asks a Prometheus what was measured for the service levels, over its HTTP API."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import Final
from urllib.parse import urlencode

from cli.client import MOST_SHOWN, Unreachable, ask
from cli.slo.levels import LEVELS, PromQuery
from cli.slo.verdicts import Measurement
from cli.terminal import printable

TIMEOUT_S: Final = 30.0
# Each answer is one number.
MOST_BYTES: Final = 1024 * 1024


def prometheus_measurements(url: str, window_s: float) -> dict[str, Measurement]:
    """Return what Prometheus knows of each level over the last `window_s` seconds. Raises Unreachable."""
    window = f"{max(1, round(window_s))}s"
    return {level.name: _measurement(url, level.prometheus, window) for level in LEVELS if level.prometheus is not None}


def _measurement(url: str, query: PromQuery, window: str) -> Measurement:
    condition = instant(url, query.condition.replace("{window}", window))
    if condition is None:
        return Measurement(None, "Prometheus has no such metric in the window")
    if not condition >= query.least:
        return Measurement(None, query.otherwise)
    value = instant(url, query.value.replace("{window}", window))
    return Measurement(value, "Prometheus has no such metric in the window", query.decides)


def instant(url: str, expression: str) -> float | None:
    """Return the one value of an instant query; None when there is none. Raises Unreachable."""
    answer = ask(
        "GET",
        url,
        f"/api/v1/query?{urlencode({'query': expression})}",
        timeout_s=TIMEOUT_S,
        most_bytes=MOST_BYTES,
    )
    try:
        said = answer.json()
        if answer.status == HTTPStatus.OK and said["status"] == "success":
            found = said["data"]["result"]
            value = float(found[0]["value"][1]) if found else math.nan
            return value if math.isfinite(value) else None
        why = str(said["error"])
    except (Unreachable, LookupError, TypeError, ValueError):
        raise Unreachable(f"{url} answers, but is not a Prometheus") from None
    raise Unreachable(f"{url} refuses a query: {printable(why, most=MOST_SHOWN)}")
