"""Reads what a run of the benchmark measured for the service levels: bench/results/*.json."""

from __future__ import annotations

import json
import re
from typing import Any

from cli.slo.levels import LEVELS, Level
from cli.slo.verdicts import Measurement
from registry_core.errors import CallerError


class UnusableBenchFile(CallerError):
    """Raised when a file is none that a run of the benchmark wrote; its text is a clause."""


def bench_measurements(text: bytes) -> dict[str, Measurement]:
    """Return the measurement of each level that a row of the file has. Raises UnusableBenchFile."""
    try:
        rows: list[dict[str, Any]] = json.loads(text)["rows"]
        named = [(str(row["name"]), row) for row in rows]
    except (ValueError, RecursionError, KeyError, TypeError):
        raise UnusableBenchFile("it is not a file of `make bench`") from None
    return {level.name: _measurement(level, named) for level in LEVELS if level.bench is not None}


def _measurement(level: Level, rows: list[tuple[str, dict[str, Any]]]) -> Measurement:
    bench = level.bench
    assert bench is not None
    for name, row in rows:
        if re.fullmatch(bench.pattern, name):
            part = row.get("measured")
            value = part.get(bench.field) if isinstance(part, dict) else part
            if isinstance(value, int | float) and not isinstance(value, bool):
                return Measurement(float(value) * bench.scale, decides=bench.decides)
    return Measurement(None, "the run has no row for it")
