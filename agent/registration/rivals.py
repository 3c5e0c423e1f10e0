"""Keeps for which other instance each service was refused, and has it tried again when that one changes in the view.

A service is refused for the instance that has its address, or, when another host uses the same id, for its own: that
has a newer owner. It decides nothing about the requests themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import msgspec

from agent.registration import decisions
from agent.registration.decisions import RequestOutcome, Timings
from agent.registration.member import Member
from agent.registries.client import RegistryReply
from registry_core.domain.names import label_of
from registry_core.domain.records import Instance, InstanceKey, Registration
from registry_core.domain.selection import Random
from registry_core.errors import Holder
from registry_core.ports.clock import Clock

# Returns how the view shows an instance; None when it does not.
Shown: TypeAlias = Callable[[InstanceKey], Instance | None]


class Rival(msgspec.Struct, frozen=True):
    """The instance that a service was refused for, and how the view showed it since."""

    holder: Holder
    shown: Instance | None

    @property
    def key(self) -> InstanceKey:
        return InstanceKey(label_of(self.holder.service_name), self.holder.instance_id)

    def may_have_gone(self, claim: Registration, shown: Instance | None) -> bool:
        """Return whether `claim` may succeed now that the view shows the instance as `shown`."""
        if self.key != claim.key:
            return shown != self.shown
        # A newer owner stays one, whatever else it changes.
        return self.shown is not None and (shown is None or shown.epoch <= (claim.epoch or 0))


class Rivals:
    """The rivals of the services in `members`. Without `shown` there is no view to compare with."""

    def __init__(
        self,
        members: Mapping[InstanceKey, Member],
        shown: Shown | None,
        *,
        clock: Clock,
        random: Random,
        timings: Callable[[], Timings],
    ) -> None:
        self._members = members
        self._shown = shown
        self._clock = clock
        self._random = random
        self._timings = timings
        self._met: dict[InstanceKey, Rival] = {}  # by the key of the refused service

    def met(self, member: Member, reply: RegistryReply) -> bool:
        """Note the rival that a reply names, if any; return whether the view does not show it.

        Then the view is behind the registry, or the other way round.
        """
        key = member.claim.key
        if reply.outcome in (RequestOutcome.UNAVAILABLE, RequestOutcome.LATE, RequestOutcome.LIMITED):
            return False
        holder = reply.holder
        if holder is None and reply.outcome is RequestOutcome.FENCED:
            # A reply to heartbeats, or of an earlier release, does not say where the owner is.
            owner = self._shown(key) if self._shown is not None else None
            holder = owner.holder if owner is not None else None
        member.rival = holder
        if holder is None:
            self._met.pop(key, None)
            return False
        rival = Rival(holder, None)
        shown = self._shown(rival.key) if self._shown is not None else None
        self._met[key] = msgspec.structs.replace(rival, shown=shown)
        return self._shown is not None and shown is None

    def news(self, labels: frozenset[str]) -> bool:
        """Take in that the view has changed for these labels, for all if there are none; return whether one retries."""
        if not self._met or self._shown is None:
            return False
        retries = False
        for key, rival in tuple(self._met.items()):
            if labels and rival.key.label not in labels:
                continue
            member = self._members.get(key)
            if member is None:
                del self._met[key]
                continue
            shown = self._shown(rival.key)
            if rival.may_have_gone(member.claim, shown):
                self._retry(member)
                retries = True
            self._met[key] = msgspec.structs.replace(rival, shown=shown)
        return retries

    def retry(self) -> None:
        """Have every service that failed tried again, because something else changed that may have been the cause."""
        for member in self._members.values():
            self._retry(member)

    def _retry(self, member: Member) -> None:
        now, draw = self._clock.monotonic(), self._random.random()
        member.state = decisions.after_cause(member.state, now, draw, self._timings())
