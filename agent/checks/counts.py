"""Counts of an agent's checks. They outlive the checks: no reload and no change of an address takes back any. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Final

from agent.checks.result import CheckOutcome, NotChecked
from agent.checks.spec import CheckKind, CheckSpec
from registry_core.domain.records import Status
from registry_core.telemetry.bucket_counts import BucketCounts

# The result of a check that the agent could not carry out.
NOT_CHECKED: Final = "not_checked"
RESULTS: Final = (Status.PASSING, Status.WARNING, Status.CRITICAL, NOT_CHECKED)
# Upper bounds of the durations of checks.
DURATIONS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class CheckCounts:
    """Results by kind and status, durations by kind, and how often a check was put on hold for flapping."""

    def __init__(self) -> None:
        self.results: Counter[tuple[CheckKind, str]] = Counter()
        self.durations: defaultdict[CheckKind, BucketCounts] = defaultdict(lambda: BucketCounts(DURATIONS_S))
        self.flaps = 0

    def expect(self, specs: Iterable[CheckSpec]) -> None:
        """Begin with 0 for the results of these checks, so that the first of each shows as an increase."""
        for spec in specs:
            self.results.update(dict.fromkeys(((spec.kind, result) for result in RESULTS), 0))
            if spec.kind is not CheckKind.TTL:  # a report takes no time
                _ = self.durations[spec.kind]

    def seen(self, kind: CheckKind, outcome: CheckOutcome) -> None:
        """Count a result."""
        self.results[kind, NOT_CHECKED if isinstance(outcome, NotChecked) else outcome.status] += 1

    def took(self, kind: CheckKind, duration_s: float) -> None:
        """Count the duration of a check at one address."""
        self.durations[kind].observe(duration_s)
