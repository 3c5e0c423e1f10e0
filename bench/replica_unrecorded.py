"""Runs a registry that records nothing of its requests, with the arguments of `vertice`; for the benchmark alone."""

from __future__ import annotations

import sys
from types import TracebackType
from unittest import mock

from cli.main import main
from registry_core import replica
from registry_core.telemetry.metrics import CountAtOnce, MeasuredOperation, ReplicaMetrics


class UnmeasuredOperation(MeasuredOperation):
    """A `with` block that costs next to nothing."""

    __slots__ = ()

    def __init__(self) -> None:
        """Keep nothing."""

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _at: TracebackType | None
    ) -> None:
        """Count nothing."""


class UncountedAtOnce(CountAtOnce):
    """Counts nothing."""

    __slots__ = ()

    def __init__(self) -> None:
        """Keep nothing."""

    def add(self, took_s: float) -> None:
        """Count nothing."""


class UnrecordedMetrics(ReplicaMetrics):
    """The metrics of a replica without those of requests and operations."""

    def request(self, endpoint: str, method: str, status: int, duration_s: float, trace: str | None = None) -> None:
        """Count nothing."""

    def at_once(self, _endpoint: str, _status: int, _operation: str = "") -> CountAtOnce:
        """Count nothing."""
        return UncountedAtOnce()

    def operation(self, _name: str) -> MeasuredOperation:
        return _UNMEASURED


_UNMEASURED = UnmeasuredOperation()

if __name__ == "__main__":
    with mock.patch.object(replica, "ReplicaMetrics", UnrecordedMetrics):
        sys.exit(main(sys.argv[1:]))
