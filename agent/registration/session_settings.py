"""The settings of a session that may change while it runs. Frozen data only."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from agent.checks.result import ProbeAt
from agent.checks.spec import CheckSpec
from agent.registration.decisions import Timings
from agent.registration.leave import DrainWaits
from registry_core.domain.records import Registration


class SessionSettings(msgspec.Struct, frozen=True):
    """How a session's services are timed, checked and drained. `_s` means seconds."""

    timings: Timings
    probe_for: Callable[[Registration, CheckSpec], ProbeAt | None]
    drain_confirm_s: float = 3.0
    drain_wait_s: float = 5.0

    @property
    def drain_waits(self) -> DrainWaits:
        """How long a service that leaves is waited for."""
        return DrainWaits(confirm_s=self.drain_confirm_s, srv_s=self.timings.drain_srv_s, wait_s=self.drain_wait_s)
