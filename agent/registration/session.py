"""Keeps this agent's services registered: waits for them, registers, renews, and drains at the end.

One loop carries out what `decisions.py` decides; requests run beside it, a bounded number at a time,
so that one slow answer holds up no other service. What the checks find is told at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, Final

import msgspec
import structlog

from agent.checks.group import ServiceChecks
from agent.checks.result import Probe
from agent.checks.spec import CheckKind, CheckSpec
from agent.registration import decisions
from agent.registration.claim import Claims, nothing_kept
from agent.registration.decisions import Look, Outcome, Phase, Register, Sight, TellStatus, Timings, Wait
from agent.registration.heartbeats import Heartbeats
from agent.registration.identity import StartTime
from agent.registration.leave import leave
from agent.registration.member import Kept, ServiceReport, is_checked_alike
from agent.registration.service_checks import CheckedServices
from agent.registration.session_log import SessionLog
from agent.registries.client import RegistryClient, Reply
from agent.settings.reload_plan import service_changes
from agent.settings.settings import ServiceSpec
from registry_core.domain.names import ip_address, label_of
from registry_core.domain.records import InstanceKey, Registration, Status
from registry_core.domain.selection import Random
from registry_core.ports import Clock
from registry_core.resolution import HostResolver

MAX_REQUESTS: Final = 16
IDLE_S: Final = 60.0
# For the first and for the last word of one that is taken out while the agent goes on.
FAREWELL_S: Final = 10.0

_log = structlog.get_logger(component="agent.session")


class SessionSettings(msgspec.Struct, frozen=True):
    """What may change while a session runs."""

    timings: Timings
    probe_for: Callable[[Registration, CheckSpec], Probe | None]
    drain_confirm_s: float = 3.0
    drain_wait_s: float = 5.0


class Session:
    """The registrations of one agent. `lease_granted` is told the TTL of each lease.

    `sight` says how the view shows what was registered, and was told to have a status; `news` has it looked at.
    """

    def __init__(
        self,
        services: Iterable[ServiceSpec],
        client: RegistryClient,
        *,
        settings: SessionSettings,
        clock: Clock,
        random: Random,
        resolver: HostResolver,
        start: StartTime | None = None,
        keep_epoch: Callable[[int], Awaitable[None]] = nothing_kept,
        lease_granted: Callable[[float], None] = lambda _ttl_s: None,
        sight: Callable[[Registration, Status], Sight] = lambda _claim, _told: Sight.SAME,
    ) -> None:
        self._client = client
        self._settings = settings
        self._clock = clock
        self._random = random
        self._resolver = resolver
        self._lease_granted = lease_granted
        self._sight = sight
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._requests = 0
        self._said = SessionLog()
        self._closing = False
        start = start if start is not None else StartTime(clock.wall(), clock.monotonic())
        self._claims = Claims(client, resolver, clock=clock, start=start, keep_epoch=keep_epoch)
        self._checked = CheckedServices(random, self._wake.set)
        self._kept = {kept.claim.key: kept for kept in map(self._begun, services)}
        self._labels = frozenset(key.label for key in self._kept)
        self._news: set[str] = set()  # labels of which the view has taken something in
        self._beats = Heartbeats(
            client,
            self._kept,
            self._said,
            clock=clock,
            random=random,
            timings=lambda: self._settings.timings,
            done=self._wake.set,
        )
        self._running = False
        self._relocating = False
        self._leaving: dict[asyncio.Task[None], Registration] = {}

    def _begun(self, spec: ServiceSpec) -> Kept:
        """Return a service as it begins, not checked yet."""
        now = self._clock.monotonic()
        kept = Kept(spec, spec.claim, decisions.started(now, self._settings.timings, checked=bool(spec.checks)))
        kept.checks = self._checked.checks(kept, self._settings.probe_for)
        return kept

    def start(self) -> None:
        """Begin. Nothing is waited for."""
        if not self._running and self._kept:
            self._running = True
            self._spawn(self._run())
        if not self._relocating and any(ip_address(kept.claim.host) is None for kept in self._kept.values()):
            self._relocating = True
            self._spawn(self._relocate())
        for kept in self._kept.values():
            if kept.checks is not None and kept.checking is None:
                kept.checking = self._spawn(kept.checks.run())

    # -- other settings

    def use(self, settings: SessionSettings, services: Iterable[ServiceSpec]) -> None:
        """Go on with these, which have their ids.

        Who is not among them is drained and taken out; who is described otherwise is registered anew, under the
        same id; checks that are others begin anew.
        """
        if self._closing:
            return
        self._settings = settings
        services = tuple(services)
        changes = service_changes((kept.spec for kept in self._kept.values()), services)
        for key in changes.removed:
            self._remove(self._kept.pop(key))
        changed = {spec.claim.key for spec in changes.changed}
        for spec in services:
            kept = self._kept.get(spec.claim.key)
            if kept is not None and spec.claim.key in changed:
                self._change(kept, spec)
        for spec in changes.added:
            self._add(spec)
        self._labels = frozenset(key.label for key in self._kept)
        self.start()
        self._wake.set()

    def _change(self, kept: Kept, spec: ServiceSpec) -> None:
        before, kept.spec = kept.spec, spec
        if spec.claim != before.claim:
            same_host = spec.claim.host == before.claim.host
            addresses = kept.claim.addresses if same_host else spec.claim.addresses
            kept.claim = msgspec.structs.replace(spec.claim, epoch=kept.claim.epoch, addresses=addresses)
            kept.member = decisions.after_change(kept.member, self._clock.monotonic())
        if is_checked_alike(before, spec):
            return
        if kept.checking is not None:
            kept.checking.cancel()
        kept.checks, kept.checking = self._checked.checks(kept, self._settings.probe_for), None
        if kept.checks is None:
            kept.member = decisions.after_check(kept.member, Status.PASSING)

    def _remove(self, kept: Kept) -> None:
        if kept.checking is not None:
            kept.checking.cancel()
        task = self._spawn(self._take_out(kept))
        self._leaving[task] = kept.claim
        task.add_done_callback(self._leaving.pop)

    async def _take_out(self, kept: Kept) -> None:
        # A registration that is under way must not be stored after the farewell.
        if kept.request is not None:
            await asyncio.wait((kept.request,), timeout=FAREWELL_S)
        if kept.known:
            await self._leave([kept.claim], asyncio.get_running_loop().time() + FAREWELL_S, FAREWELL_S)

    def _add(self, spec: ServiceSpec) -> None:
        """Begin with a new one; where another one leaves its place to it, when that is gone."""
        claim = spec.claim
        before = [
            task
            for task, other in self._leaving.items()
            if claim.key == other.key or (claim.host, claim.port) == (other.host, other.port)
        ]
        kept = self._kept[claim.key] = self._begun(spec)
        if before:
            kept.member = decisions.begun(kept.member)
            self._spawn(self._follow(kept, before))

    async def _follow(self, kept: Kept, before: list[asyncio.Task[None]]) -> None:
        await asyncio.wait(before)
        kept.member = msgspec.structs.replace(kept.member, busy=False)
        self._wake.set()

    def reassert(self) -> None:
        """Register everything again, at once: the registry lost its memory."""
        now = self._clock.monotonic()
        for kept in self._kept.values():
            kept.member = decisions.after_reassert(kept.member, now, self._random.random(), self._settings.timings)
        self._wake.set()

    def news(self, labels: frozenset[str]) -> None:
        """Take note that the view has taken in something about these labels; without any, perhaps about all."""
        own = labels & self._labels if labels else self._labels
        if own:
            self._news |= own
            self._wake.set()

    def claims(self) -> list[Registration]:
        """Return what each service registers as."""
        return [kept.claim for kept in self._kept.values()]

    def hold(self, keys: Iterable[InstanceKey], status: Status) -> None:
        """Hold these services at `status`, whatever their checks say, until they are let go."""
        self._hold(keys, lambda _held: status)

    def let_go(self, keys: Iterable[InstanceKey], status: Status) -> None:
        """Let those of these services go that are held at `status`."""
        self._hold(keys, lambda held: None if held is status else held)

    def _hold(self, keys: Iterable[InstanceKey], becomes: Callable[[Status | None], Status | None]) -> None:
        for kept in (self._kept[key] for key in keys):
            held = becomes(kept.member.held)
            if held is not kept.member.held:
                claim = kept.claim
                _log.info("held", service=claim.service_name, instance=claim.instance_id, at=held)
                kept.member = decisions.after_hold(kept.member, held)
        self._wake.set()

    def checks_of(self, service_name: str) -> dict[str, ServiceChecks]:
        """Return the checks of this agent's instances of a service, by instance id; `-` and `_` are one."""
        label = label_of(service_name)
        return {
            key.instance_id: kept.checks
            for key, kept in self._kept.items()
            if key.label == label and kept.checks is not None
        }

    @property
    def epoch(self) -> int:
        """What tells this agent's claims from those of others."""
        return self._claims.epoch

    @property
    def check_results(self) -> Counter[tuple[CheckKind, Status]]:
        """What the checks found."""
        return self._checked.results

    @property
    def beats(self) -> Counter[Outcome]:
        """What became of the heartbeats."""
        return self._beats.outcomes

    def report(self) -> list[ServiceReport]:
        """Return how each service stands."""
        return [kept.report() for kept in self._kept.values()]

    def phases(self) -> Counter[Phase]:
        """Return how many services stand in each phase."""
        return Counter(kept.member.phase for kept in self._kept.values())

    # -- the loop

    async def _run(self) -> None:
        while not self._closing:
            self._wake.clear()
            try:
                wait_s = self._dispatch(self._clock.monotonic())
            except Exception:  # noqa: BLE001 - the top of the loop: one bad turn must not end the heartbeats
                _log.exception("session_failed")
                wait_s = 1.0
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()

    def _dispatch(self, now: float) -> float:
        """Begin what is due, and return how many seconds there is nothing to do."""
        next_at = now + IDLE_S
        news, self._news = self._news, set()
        for key, kept in self._kept.items():
            if key.label in news:
                kept.member = decisions.after_news(kept.member, now)
            match decisions.next_step(kept.member, now):
                case Wait(until=until):
                    next_at = min(next_at, until)
                case Look():
                    self._look(kept, now)
                    next_at = now  # what comes of it is begun in the next turn
                case step if self._requests < MAX_REQUESTS:
                    kept.member = decisions.begun(kept.member)
                    self._requests += 1
                    kept.request = self._spawn(self._carry_out(kept, step))
        if not self._beats.under_way:
            if now >= self._beats.at:
                self._beats.under_way = True
                self._spawn(self._beats.send())
            next_at = min(next_at, self._beats.at)
        return max(0.0, next_at - now)

    def _look(self, kept: Kept, now: float) -> None:
        told, times = kept.member.told, kept.member.contradiction.times
        sight = self._sight(kept.claim, told) if told is not None else Sight.SAME
        draw, timings = self._random.random(), self._settings.timings
        kept.member = decisions.after_look(kept.member, sight, now=now, draw=draw, timings=timings)
        if kept.member.contradiction.times > times:
            self._said.contradicted(kept, sight)

    async def _carry_out(self, kept: Kept, step: Register | TellStatus) -> None:
        reply = Reply(Outcome.UNAVAILABLE, "it failed; the log says more")
        try:
            if isinstance(step, Register):
                reply = await self._register(kept, step.status)
            else:
                reply = await self._client.set_status(kept.claim, step.status)
        except Exception:  # noqa: BLE001 - the top of a task: the loop decides what becomes of it
            _log.exception("request_failed", service=kept.claim.service_name)
        finally:
            self._requests -= 1
            now, draw = self._clock.monotonic(), self._random.random()
            kept.member = decisions.after_request(
                kept.member, step, reply.outcome, now=now, draw=draw, timings=self._settings.timings
            )
            self._wake.set()
        self._said.of_request(kept, reply, registered_as=step.status if isinstance(step, Register) else None)

    async def _register(self, kept: Kept, status: Status) -> Reply:
        reply, ttl_s = await self._claims.register(kept, status)
        if ttl_s is not None:
            self._lease_granted(ttl_s)
        if reply.outcome is Outcome.DONE:
            self._beats.begin()
        return reply

    async def _relocate(self) -> None:
        """Find the addresses of host names again and again, and register anew what has others now."""
        while True:
            await asyncio.sleep(self._settings.timings.relocate_s)
            for kept in tuple(self._kept.values()):
                claim = kept.claim
                if ip_address(claim.host) is not None:
                    continue
                addresses = await self._resolver.addresses(claim.host)
                # None is no other address: a name server that is away has moved nobody.
                if addresses and kept.registered_at and addresses != kept.registered_at:
                    _log.info("address_changed", service=claim.service_name, before=kept.registered_at, after=addresses)
                    kept.member = decisions.after_move(kept.member, self._clock.monotonic())
                    self._wake.set()

    # -- the end

    async def drain(self, farewell_s: float) -> None:
        """Stop, say farewell to the registry, and take everything out.

        A registry that does not answer is tried for `farewell_s`. Done once; again, it does nothing.
        """
        if self._closing:
            return
        ends_at = asyncio.get_running_loop().time() + farewell_s
        self._closing = True
        self._wake.set()
        for kept in self._kept.values():
            if kept.checking is not None:
                kept.checking.cancel()
        half_gone = list(self._leaving.values())
        running = [task for task in self._tasks if not task.done() and task not in self._leaving]
        if running:
            await asyncio.wait(running, timeout=farewell_s / 2)
        await self.close()
        leaving = [kept.claim for kept in self._kept.values() if kept.known] + half_gone
        if leaving:
            await self._leave(leaving, ends_at, farewell_s)

    async def _leave(self, leaving: list[Registration], ends_at: float, limit_s: float) -> None:
        confirm_s, wait_s = self._settings.drain_confirm_s, self._settings.drain_wait_s
        await leave(self._client, leaving, confirm_s=confirm_s, drain_wait_s=wait_s, ends_at=ends_at, limit_s=limit_s)

    async def close(self) -> None:
        """Stop at once, and say nothing to the registry. Safe to call twice."""
        self._closing = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
