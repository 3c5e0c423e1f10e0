"""Logs who has what a refused claim is for: two hosts that claim one id, or two instances at one address.

Agents repeat a refused claim, so each dispute is logged once, until another instance holds the claimed thing.
"""

from __future__ import annotations

from typing import Final

import structlog

from registry_core.domain.records import InstanceKey
from registry_core.errors import Conflict, Fenced, Holder

# Disputes remembered; the bound matters, since ids are the callers' choice.
MAX_DISPUTES: Final = 1_000

log = structlog.get_logger()


class Disputes:
    """The disputes of one replica."""

    def __init__(self) -> None:
        self._logged: dict[tuple[InstanceKey, bool], Holder] = {}

    def refused(self, key: InstanceKey, claimed: str, error: Conflict) -> None:
        """Log that the instance `key` at the address `claimed` was refused because of another one's record."""
        if isinstance(error.holder, Holder):
            self._note(key, claimed, error.holder, is_fenced=isinstance(error, Fenced))

    def fenced(self, key: InstanceKey, owner: Holder) -> None:
        """Log that a heartbeat of an older owner was refused. A heartbeat does not tell its address."""
        self._note(key, "", owner, is_fenced=True)

    def _note(self, key: InstanceKey, claimed: str, holder: Holder, *, is_fenced: bool) -> None:
        known = key, is_fenced
        if self._logged.get(known) == holder:
            return
        if len(self._logged) >= MAX_DISPUTES:
            self._logged.clear()
        self._logged[known] = holder
        because = (
            "it has a newer owner: two hosts use one instance id"
            if is_fenced
            else "another instance is registered at its address"
        )
        log.warning(
            "claim refused",
            service=key.label,
            instance=key.instance_id,
            address=claimed,
            because=because,
            holder=f"{holder.service_name}/{holder.instance_id}",
            holder_address=str(holder),
        )
