"""Holds services at a status that an operator sets, whatever their checks say."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from agent.registration import decisions
from agent.registration.departures import call_off
from agent.registration.member import Member
from registry_core.domain.records import Status

_log = structlog.get_logger(component="agent.session")


def hold(members: Iterable[Member], status: Status, now: float) -> None:
    """Hold these services at `status` until they are released."""
    for member in members:
        _hold(member, status, now)


def let_go(members: Iterable[Member], status: Status, now: float) -> None:
    """Release those of these services that are held at `status`."""
    for member in members:
        if member.state.held is status:
            _hold(member, None, now)


def _hold(member: Member, held: Status | None, now: float) -> None:
    claim = member.claim
    if held is member.state.held:
        return
    _log.info("held", service=claim.service_name, instance=claim.instance_id, at=held)
    member.state = decisions.after_hold(member.state, held, now)
    if held is not None and claim.addresses:
        call_off(member)  # a registration that is still resolving addresses would delay the status
