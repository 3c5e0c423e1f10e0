"""The settings of a session that may change while it runs. Frozen data only."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from agent.checks.result import ProbeAt
from agent.checks.spec import CheckSpec
from agent.registration.decisions import Timings
from agent.registration.leave import DrainWaits
from agent.settings.settings import AgentSettings
from registry_core.domain.records import Registration

ProbeFor = Callable[[Registration, CheckSpec], ProbeAt | None]


class SessionSettings(msgspec.Struct, frozen=True):
    """How a session's services are timed, checked and drained. `_s` means seconds."""

    timings: Timings
    probe_for: ProbeFor
    drain_confirm_s: float = 3.0
    drain_wait_s: float = 5.0

    @property
    def drain_waits(self) -> DrainWaits:
        """How long a service that leaves is waited for."""
        return DrainWaits(confirm_s=self.drain_confirm_s, srv_s=self.timings.drain_srv_s, wait_s=self.drain_wait_s)


def session_settings(settings: AgentSettings, probe_for: ProbeFor) -> SessionSettings:
    """Return what a session needs of an agent's settings; `probe_for` returns what carries out a check."""
    timings = Timings(
        heartbeat_s=settings.heartbeat_s, initial_wait_s=settings.initial_wait_s, drain_srv_s=settings.drain_srv_s
    )
    return SessionSettings(timings, probe_for, settings.drain_confirm_s, settings.drain_wait_s)
