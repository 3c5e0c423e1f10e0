"""Keeps this agent's services registered: waits for them, registers, renews, and drains at the end.

One loop carries out what `decisions.py` decides; requests run in tasks, a bounded number at a time, so that a
slow answer does not delay other services. Results of checks are sent at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Final

import msgspec
import structlog

from agent.checks.counts import CheckCounts
from agent.checks.group import ServiceChecks
from agent.hosts.book import HostAddresses
from agent.registration import decisions, holds
from agent.registration.claim import Claims, nothing_kept
from agent.registration.decisions import Look, Phase, Register, RequestOutcome, Sight, TellStatus, Wait
from agent.registration.departures import Departures
from agent.registration.heartbeats import Heartbeats
from agent.registration.identity import StartTime
from agent.registration.member import Member, ServiceReport, is_checked_alike
from agent.registration.published import may_change
from agent.registration.rivals import Rivals, Shown
from agent.registration.service_checks import CheckedServices
from agent.registration.session_log import SessionLog, traced_as
from agent.registration.session_settings import SessionSettings
from agent.registries.client import RegistryClient, RegistryReply
from agent.settings.reload_plan import service_changes
from agent.settings.settings import ServiceSpec
from registry_core.domain.names import ip_address, label_of
from registry_core.domain.records import Instance, InstanceKey, Registration, Status
from registry_core.domain.selection import Random
from registry_core.ports.clock import Clock
from registry_core.supervision import Background, Work, end

MAX_REQUESTS: Final = 16
IDLE_S: Final = 60.0

_log = structlog.get_logger(component="agent.session")


class Session:
    """The registrations of one agent. `lease_granted` is called with the TTL of each lease.

    `sight` returns how the view shows a registration and its status; `news` schedules that comparison. `shown` returns
    how it shows any instance. `answer` gets this agent's own instances, for its lookups, whenever they change.
    """

    def __init__(
        self,
        services: Iterable[ServiceSpec],
        client: RegistryClient,
        *,
        settings: SessionSettings,
        clock: Clock,
        random: Random,
        hosts: HostAddresses,
        start: StartTime | None = None,
        keep_epoch: Callable[[int], Awaitable[None]] = nothing_kept,
        lease_granted: Callable[[float], None] = lambda _ttl_s: None,
        sight: Callable[[Registration, Status], Sight] = lambda _claim, _told: Sight.SAME,
        shown: Shown | None = None,
        answer: Callable[[Sequence[Instance]], None] = lambda _instances: None,
        background: Background | None = None,
    ) -> None:
        self._client = client
        self._settings = settings
        self._clock = clock
        self._random = random
        self._hosts = hosts
        self._lease_granted = lease_granted
        self._sight = sight
        self._answer = answer
        self._answered: list[Instance] = []
        self._background = background if background is not None else Background(clock)
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._requests = 0
        self._said = SessionLog()
        self._closing = False
        start = start if start is not None else StartTime(clock.wall(), clock.monotonic())
        self._claims = Claims(client, hosts, clock=clock, start=start, keep_epoch=keep_epoch)
        self._checked = CheckedServices(random, clock, hosts, changed=self._wake.set, moved=self._republish)
        self._members = {member.claim.key: member for member in map(self._begun, services)}
        self._labels = frozenset(key.label for key in self._members)
        self._news: set[str] = set()  # labels that have changed in the view
        self._rivals = Rivals(self._members, shown, clock=clock, random=random, timings=lambda: self._settings.timings)
        self._beats = Heartbeats(
            client,
            self._members,
            self._said,
            clock=clock,
            random=random,
            timings=lambda: self._settings.timings,
            done=self._wake.set,
            met=self._rivals.met,
        )
        self._departures = Departures(client, self._background, lambda: self._settings.drain_waits)
        self._running = False
        self._relocating = False

    def _begun(self, spec: ServiceSpec) -> Member:
        """Return a new service that has not been checked yet."""
        now = self._clock.monotonic()
        member = Member(spec, spec.claim, decisions.started(now, self._settings.timings, checked=bool(spec.checks)))
        member.checks = self._checked.checks(member, self._settings.probe_for)
        return member

    def start(self) -> None:
        """Start the loop, without waiting for anything."""
        if not self._running and self._members:
            self._running = True
            self._keep("registrations", self._run)
        if not self._relocating and any(ip_address(member.claim.host) is None for member in self._members.values()):
            self._relocating = True
            self._keep("relocate", self._relocate)
        for member in self._members.values():
            if member.checks is not None and member.checking is None:
                member.checking = self._keep("checks", member.checks.run)

    # -- changes of settings

    def use(self, settings: SessionSettings, services: Iterable[ServiceSpec]) -> None:
        """Switch to new settings and services, which have their ids.

        Services that are gone are drained and deregistered; changed ones are registered again under the same id;
        changed checks start over.
        """
        if self._closing:
            return
        self._settings = settings
        services = tuple(services)
        changes = service_changes((member.spec for member in self._members.values()), services)
        for key in changes.removed:
            self._remove(self._members.pop(key))
        changed = {spec.claim.key for spec in changes.changed}
        for spec in services:
            member = self._members.get(spec.claim.key)
            if member is not None and spec.claim.key in changed:
                self._change(member, spec)
        for spec in changes.added:
            self._add(spec)
        self._labels = frozenset(key.label for key in self._members)
        self.start()
        self.retry()

    def _change(self, member: Member, spec: ServiceSpec) -> None:
        before, member.spec = member.spec, spec
        if spec.claim != before.claim:
            same_host = spec.claim.host == before.claim.host
            addresses = member.claim.addresses if same_host else spec.claim.addresses
            member.claim = msgspec.structs.replace(spec.claim, epoch=member.claim.epoch, addresses=addresses)
            if not same_host:
                member.located_at = ()
            member.state = decisions.after_change(member.state, self._clock.monotonic())
        if is_checked_alike(before, spec):
            return
        if member.checking is not None:
            member.checking.cancel()
        member.checks, member.checking = self._checked.checks(member, self._settings.probe_for), None
        if member.checks is None:
            member.state = decisions.after_check(member.state, Status.PASSING)

    def _remove(self, member: Member) -> None:
        if member.checking is not None:
            member.checking.cancel()
        self._departures.take_out(member)

    def _add(self, spec: ServiceSpec) -> None:
        """Add a service; if it replaces one that is leaving, it waits for that departure."""
        member = self._members[spec.claim.key] = self._begun(spec)
        before = self._departures.before(spec.claim)
        if before:
            member.state = decisions.begun(member.state)
            self._begin("follow", partial(self._follow, member, before))

    async def _follow(self, member: Member, before: list[asyncio.Task[None]]) -> None:
        await asyncio.wait(before)
        member.state = msgspec.structs.replace(member.state, busy=False)
        self._wake.set()

    def reassert(self) -> None:
        """Register everything again, because the registry lost its data."""
        now = self._clock.monotonic()
        for member in self._members.values():
            member.state = decisions.after_reassert(member.state, now, self._random.random(), self._settings.timings)
        self._wake.set()

    def retry(self) -> None:
        """Repeat what failed, because something changed that may have been the cause: settings, or the registry."""
        self._rivals.retry()
        self._wake.set()

    def news(self, labels: frozenset[str]) -> None:
        """Record that the view has changed for these labels; for all of them if `labels` is empty."""
        own = labels & self._labels if labels else self._labels
        self._news |= own
        if self._rivals.news(labels) or own:
            self._wake.set()

    def claims(self) -> list[Registration]:
        """Return the registration of each service."""
        return [member.claim for member in self._members.values()]

    def hold(self, keys: Iterable[InstanceKey], status: Status) -> None:
        """Hold these services at `status`, whatever their checks say, until they are released."""
        holds.hold(self._of(keys), status, self._clock.monotonic())
        self._wake.set()

    def let_go(self, keys: Iterable[InstanceKey], status: Status) -> None:
        """Release those of these services that are held at `status`."""
        holds.let_go(self._of(keys), status, self._clock.monotonic())
        self._wake.set()

    def _of(self, keys: Iterable[InstanceKey]) -> list[Member]:
        return [self._members[key] for key in keys]

    def checks_of(self, service_name: str) -> dict[str, ServiceChecks]:
        """Return the checks of this agent's instances of a service, by instance id; `-` and `_` are the same."""
        label = label_of(service_name)
        return {
            key.instance_id: member.checks
            for key, member in self._members.items()
            if key.label == label and member.checks is not None
        }

    @property
    def epoch(self) -> int:
        """The epoch of this agent's claims."""
        return self._claims.epoch

    @property
    def check_counts(self) -> CheckCounts:
        """What the checks found, and how long they took."""
        return self._checked.counts

    @property
    def beats(self) -> Counter[RequestOutcome]:
        """Heartbeats by outcome."""
        return self._beats.outcomes

    def report(self) -> list[ServiceReport]:
        """Return the state of each service."""
        return [member.report() for member in self._members.values()]

    def phases(self) -> Counter[Phase]:
        """Return the number of services in each phase."""
        return Counter(member.state.phase for member in self._members.values())

    # -- the loop

    async def _run(self) -> None:
        while True:
            self._wake.clear()
            wait_s = self._dispatch(self._clock.monotonic())
            self._show(() if self._closing else self._members.values())
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()

    def _dispatch(self, now: float) -> float:
        """Start what is due, and return the seconds until the next step."""
        if self._closing:  # nothing may be registered once the drain has begun
            return IDLE_S
        next_at = now + IDLE_S
        for key, member in self._members.items():
            if key.label in self._news:
                member.state = decisions.after_news(member.state, now)
            match decisions.next_step(member.state, now):
                case Wait(until=until):
                    next_at = min(next_at, until)
                case Look():
                    self._look(member, now)
                    next_at = now  # the next iteration acts on the result
                case step if self._requests < MAX_REQUESTS:
                    member.state = decisions.begun(member.state)
                    self._requests += 1
                    member.request = self._begin("request", traced_as(step)(partial(self._carry_out, member, step)))
        self._news.clear()
        if not self._beats.under_way:
            if now >= self._beats.at:
                self._beats.under_way = True
                self._begin("heartbeats", self._beats.send)
            next_at = min(next_at, self._beats.at)
        return max(0.0, next_at - now)

    def _show(self, members: Iterable[Member]) -> None:
        answered = [instance for member in members if (instance := member.answered()) is not None]
        if answered != self._answered:
            self._answered = answered
            self._answer(answered)

    def _look(self, member: Member, now: float) -> None:
        told, times = member.state.told, member.state.contradiction.times
        sight = self._sight(member.claim, told) if told is not None else Sight.SAME
        draw, timings = self._random.random(), self._settings.timings
        member.state = decisions.after_look(member.state, sight, now=now, draw=draw, timings=timings)
        if member.state.contradiction.times > times:
            self._said.contradicted(member, sight)

    async def _carry_out(self, member: Member, step: Register | TellStatus) -> None:
        reply = RegistryReply(RequestOutcome.UNAVAILABLE, "the request failed; see the agent's log")
        try:
            if isinstance(step, Register):
                reply = await self._register(member, step.status)
            else:
                reply = await self._client.set_status(member.claim, step.status)
        except asyncio.CancelledError:
            member.state = decisions.after_call_off(member.state, self._clock.monotonic())
            raise
        except Exception:  # noqa: BLE001 - the top of a task: the loop decides what becomes of it
            _log.exception("request_failed", service=member.claim.service_name)
        finally:
            self._requests -= 1
            self._wake.set()
        now, draw = self._clock.monotonic(), self._random.random()
        member.state = decisions.after_request(
            member.state,
            step,
            reply.outcome,
            now=now,
            draw=draw,
            timings=self._beats.pace(),
            retry_after_s=reply.retry_after_s,
            unseen=self._rivals.met(member, reply),
        )
        self._said.of_request(member, reply, registered_as=step.status if isinstance(step, Register) else None)

    async def _register(self, member: Member, status: Status) -> RegistryReply:
        reply, lease = await self._claims.register(member, status)
        if lease is not None:
            self._lease_granted(lease.ttl_s)
            self._beats.heed(lease)
        if reply.outcome is RequestOutcome.DONE:
            self._beats.begin()
        return reply

    async def _relocate(self) -> None:
        """Resolve host names periodically, and register services again whose addresses changed."""
        while True:
            await asyncio.sleep(self._settings.timings.relocate_s)
            named = [member for member in self._members.values() if ip_address(member.claim.host) is None]
            # All at once: while the name server is silent, each of them waits for a moment.
            await asyncio.gather(*(self._claims.locate(member, anew=True) for member in named))
            for member in named:
                self._republish(member)

    def _republish(self, member: Member) -> None:
        """Register a service again if its host has moved, or other addresses of it pass its checks than before."""
        before, after, now = member.registered_at, member.published, self._clock.monotonic()
        if not before or not after or before == after or not may_change(before, after, now - member.republished_at):
            return
        _log.info("address_changed", service=member.claim.service_name, before=before, after=after)
        member.registered_at, member.republished_at = after, now
        member.state = decisions.after_move(member.state, now)
        self._wake.set()

    # -- shutdown

    async def drain(self, farewell_s: float) -> None:
        """Stop, drain all services at the registry, and deregister them.

        Retries for `farewell_s` if the registry does not answer. A second call does nothing.
        """
        if self._closing:
            return
        self._closing = True
        self._show(())
        # Cancel everything except registrations that have been sent: endless tasks would be waited for in vain.
        members = [*self._members.values(), *self._departures.members()]
        sent = {member.request for member in members if member.registering}
        for task in self._tasks - sent:
            task.cancel()
        await self._departures.drain(members, farewell_s)
        await self.close()

    async def close(self) -> None:
        """Stop at once, without telling the registry. Safe to call twice."""
        self._closing = True
        await self._departures.close()
        await end(tuple(self._tasks))

    def _keep(self, name: str, work: Work) -> asyncio.Task[None]:
        return self._ours(self._background.keep(name, work))

    def _begin(self, name: str, work: Work) -> asyncio.Task[None]:
        return self._ours(self._background.begin(name, work))

    def _ours(self, task: asyncio.Task[None]) -> asyncio.Task[None]:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
