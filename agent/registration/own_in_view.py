"""How the view shows this agent's own instances, beside what the registry has confirmed of them.

It only compares; what follows from a difference stands in `decisions.py`. Whatever somebody else may have meant is
no difference: a newer owner, and an operator who drains an instance at the registry or holds it for maintenance.
"""

from __future__ import annotations

from typing import Final

from agent.registration.decisions import Sight
from agent.view.trust import READY
from agent.view.view import AgentView
from registry_core.domain.freshness import Freshness
from registry_core.domain.records import Claimed, Instance, Registration, Status

# What an operator may have said at the registry. It stands until the agent has something else to say.
_OPERATORS: Final = (Status.DRAINING, Status.MAINTENANCE)
# The key is the same, and the other two are looked at by rules of their own.
_APART: Final = ("instance_id", "addresses", "status")
_FIELDS: Final = tuple(field for field in Claimed.__struct_fields__ if field not in _APART)


def sight_in(view: AgentView, claim: Registration, told: Status) -> Sight:
    """Return how `view` shows what was registered as `claim`, with the status `told`."""
    is_current = view.live and view.state == READY and view.freshness is Freshness.FRESH
    return sight(claim, told, view.catalog.get(claim.key), is_current=is_current, is_complete=view.complete)


def sight(claim: Registration, told: Status, shown: Instance | None, *, is_current: bool, is_complete: bool) -> Sight:
    """Return how `shown` differs from `claim` and `told`.

    `is_current`: the view follows a registry that is ready. `is_complete`: what it does not have is not there.
    """
    if not is_current or (shown is None and not is_complete):
        return Sight.UNKNOWN
    if shown is None:
        return Sight.RECORD
    if shown.epoch > (claim.epoch or 0) or (shown.status in _OPERATORS and shown.status is not told):
        return Sight.SAME
    if shown.epoch != claim.epoch or any(getattr(shown, field) != getattr(claim, field) for field in _FIELDS):
        return Sight.RECORD
    # The registry looks addresses up itself where it is told none.
    if claim.addresses and shown.addresses != claim.addresses:
        return Sight.RECORD
    return Sight.SAME if shown.status is told else Sight.STATUS
