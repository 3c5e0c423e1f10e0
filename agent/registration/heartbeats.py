"""Renews the leases of all services of an agent together, at the times that `decisions.py` sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import structlog

from agent.registration import decisions, pace
from agent.registration.decisions import Phase, RequestOutcome, Timings
from agent.registration.member import Member
from agent.registration.session_log import SessionLog
from agent.registries.client import LeaseTold, RegistryClient, RegistryReply
from registry_core.domain.records import InstanceKey
from registry_core.domain.selection import Random
from registry_core.ports.clock import Clock
from registry_core.telemetry.spans import traced

_log = structlog.get_logger(component="agent.session")


class Heartbeats:
    """The heartbeats of the services in `members`. `done` is called after each round, `met` when one is fenced."""

    def __init__(
        self,
        client: RegistryClient,
        members: Mapping[InstanceKey, Member],
        said: SessionLog,
        *,
        clock: Clock,
        random: Random,
        timings: Callable[[], Timings],
        done: Callable[[], None],
        met: Callable[[Member, RegistryReply], object],
    ) -> None:
        self._client = client
        self._members = members
        self._said = said
        self._clock = clock
        self._random = random
        self._timings = timings
        self._done = done
        self._met = met
        self._failures = 0
        self._lease: LeaseTold | None = None
        self.at = decisions.NEVER  # when the next round is due, monotonic time
        self.under_way = False
        self.outcomes: Counter[RequestOutcome] = Counter()

    def begin(self) -> None:
        """Start the heartbeats, because there is a lease to renew."""
        if self.at == decisions.NEVER:
            self.at = pace.next_beat_at(self._clock.monotonic(), self._random.random(), self.pace())

    def heed(self, lease: LeaseTold) -> None:
        """Send heartbeats as often as the registry asks for, or more often if this agent's own interval is shorter."""
        if lease == self._lease:
            return
        self._lease = lease
        own_s, now = self._timings().heartbeat_s, self._clock.monotonic()
        if own_s >= lease.ttl_s:
            _log.warning("heartbeat_interval_too_long", own_s=own_s, ttl_s=lease.ttl_s, used_s=self.pace().heartbeat_s)
        if self.at != decisions.NEVER:
            self.at = min(self.at, pace.next_beat_at(now, self._random.random(), self.pace()))

    def pace(self) -> Timings:
        """Return the agent's pace, with the heartbeat interval that the lease needs."""
        timings = self._timings()
        return timings if self._lease is None else pace.paced(timings, self._lease.ttl_s, self._lease.heartbeat_s)

    @traced("agent.heartbeat")
    async def send(self) -> None:
        """Send one round of heartbeats."""
        replies: list[tuple[InstanceKey, RegistryReply]] = []
        failed = [RegistryReply(RequestOutcome.UNAVAILABLE, "the heartbeats failed; see the agent's log")]
        try:
            registered = [member.claim for member in self._members.values() if member.state.phase is Phase.REGISTERED]
            replies = await self._client.beat(registered)
            failed = [
                reply for _, reply in replies if reply.outcome in (RequestOutcome.UNAVAILABLE, RequestOutcome.REFUSED)
            ]
        except Exception:  # noqa: BLE001 - the top of a task: the next heartbeats are tried as after any failure
            _log.exception("heartbeat_failed")
        finally:
            now, draw, timings = self._clock.monotonic(), self._random.random(), self.pace()
            self._failures = self._failures + 1 if failed else 0
            self.at = (
                pace.next_beat_after_failure(self._failures, now, draw, timings)
                if failed
                else pace.next_beat_at(now, draw, timings)
            )
            for key, reply in replies:
                self.outcomes[reply.outcome] += 1
                member = self._members.get(key)
                if member is None:  # it was removed in the meantime
                    continue
                member.state = decisions.after_beat(member.state, reply.outcome, now, draw, timings)
                if reply.outcome is RequestOutcome.FENCED:
                    self._met(member, reply)
                    where = "" if member.rival is None else f", at {member.rival}"
                    self._said.fenced(member, f"a newer agent renews it{where}")
            present = ((member, reply) for key, reply in replies if (member := self._members.get(key)) is not None)
            self._said.of_beats(present)
            self.under_way = False
            self._done()
        self._said.of_registry(failed[0] if failed else RegistryReply(RequestOutcome.DONE))
