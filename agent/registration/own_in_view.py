"""Compares this agent's own instances in the view with what the registry has confirmed.

`decisions.py` decides what follows from a difference. An intended change does not count as one: a newer owner, or
an operator who drains an instance at the registry or puts it into maintenance.
"""

from __future__ import annotations

from typing import Final

from agent.registration.decisions import Sight
from agent.view.view import AgentView
from registry_core.domain.freshness import Freshness
from registry_core.domain.records import Claimed, Instance, Registration, Status
from registry_core.watch.trust import READY

# An operator may have set these at the registry. They stay until the agent sends another status.
_OPERATORS: Final = (Status.DRAINING, Status.MAINTENANCE)
# The key is the same, and the other two have rules of their own.
_APART: Final = ("instance_id", "addresses", "status")
_FIELDS: Final = tuple(field for field in Claimed.__struct_fields__ if field not in _APART)


def sight_in(view: AgentView, claim: Registration, told: Status) -> Sight:
    """Return how `view` shows the instance registered as `claim` with the status `told`."""
    is_current = view.trust.live and view.trust.state == READY and view.freshness is Freshness.FRESH
    return sight(claim, told, view.catalog.get(claim.key), is_current=is_current, is_complete=view.complete)


def sight(claim: Registration, told: Status, shown: Instance | None, *, is_current: bool, is_complete: bool) -> Sight:
    """Return how `shown` differs from `claim` and `told`.

    `is_current`: the view follows a registry that is ready. `is_complete`: what the view lacks does not exist.
    """
    if not is_current or (shown is None and not is_complete):
        return Sight.UNKNOWN
    if shown is None:
        return Sight.RECORD
    if shown.epoch > (claim.epoch or 0) or (shown.status in _OPERATORS and shown.status is not told):
        return Sight.SAME
    if shown.epoch != claim.epoch or any(getattr(shown, field) != getattr(claim, field) for field in _FIELDS):
        return Sight.RECORD
    # The registry resolves the addresses itself if the claim has none.
    if claim.addresses and shown.addresses != claim.addresses:
        return Sight.RECORD
    return Sight.SAME if shown.status is told else Sight.STATUS
