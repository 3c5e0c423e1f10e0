"""Keeps this agent's services registered: waits for them, registers, renews, and drains at the end.

One loop carries out what `decisions.py` decides; requests run beside it, a bounded number at a time,
so that one slow answer holds up no other service. What the checks find is told at once.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Final

import msgspec
import structlog

from agent import decisions
from agent.checks.group import CheckReport, ServiceChecks
from agent.checks.result import CheckResult, Probe
from agent.checks.spec import CheckKind, CheckSpec
from agent.checks.verdict import SEVERITY
from agent.decisions import Member, Outcome, Phase, Register, TellStatus, Timings, Wait
from agent.farewell import leave
from agent.registry_client import RegistryClient, Reply
from agent.resolving import HostResolver
from agent.settings import ServiceSpec
from registry_core.domain.names import ip_address, label_of
from registry_core.domain.records import InstanceKey, Registration, Status
from registry_core.domain.selection import Random
from registry_core.ports import Clock

MAX_REQUESTS: Final = 16
IDLE_S: Final = 60.0

_log = structlog.get_logger(component="agent.session")


class ServiceReport(msgspec.Struct, frozen=True, kw_only=True):
    """One service as `GET /self` shows it."""

    service_name: str
    instance_id: str
    endpoint: str
    phase: Phase
    check: str
    status: Status | None
    registered_status: Status | None
    last_check: str
    checks: list[CheckReport]
    problem: str


class _Kept:
    """One service, with all that changes about it."""

    def __init__(self, spec: ServiceSpec, claim: Registration, member: Member) -> None:
        self.spec = spec
        self.claim = claim
        self.member = member
        self.checks: ServiceChecks | None = None
        self.checking: asyncio.Task[None] | None = None
        self.known = False  # to the registry, perhaps: so it has to be taken out at the end
        self.owned = False  # by this agent, since it was registered
        self.problem = ""
        self.registered_at: tuple[str, ...] = ()  # the addresses that the registry was told last


class Session:
    """The registrations of one agent. `lease_granted` is told the TTL of each lease."""

    def __init__(
        self,
        services: Iterable[ServiceSpec],
        client: RegistryClient,
        *,
        timings: Timings,
        probe_for: Callable[[Registration, CheckSpec], Probe | None],
        clock: Clock,
        random: Random,
        resolver: HostResolver,
        drain_wait_s: float = 5.0,
        epoch: int | None = None,
        lease_granted: Callable[[float], None] = lambda _ttl_s: None,
    ) -> None:
        self._client = client
        self._timings = timings
        self._clock = clock
        self._random = random
        self._resolver = resolver
        self._drain_wait_s = drain_wait_s
        self._lease_granted = lease_granted
        self._wake = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._requests = 0
        self._beat_at = decisions.NEVER
        self._beat_failures = 0
        self._beating = False
        self._unavailable = False
        self._closing = False
        self.epoch = epoch if epoch is not None else epoch_at(clock.wall())
        self.check_results: Counter[tuple[CheckKind, Status]] = Counter()
        self.beats: Counter[Outcome] = Counter()
        self._kept: dict[InstanceKey, _Kept] = {}
        for spec in services:
            claim = msgspec.structs.replace(spec.claim, epoch=self.epoch)
            kept = _Kept(spec, claim, decisions.started(clock.monotonic(), timings, checked=bool(spec.checks)))
            if spec.checks:
                kept.checks = self._checks(kept, probe_for)
            self._kept[claim.key] = kept

    def _checks(self, kept: _Kept, probe_for: Callable[[Registration, CheckSpec], Probe | None]) -> ServiceChecks:
        claim = kept.claim

        def changed(status: Status, because: str) -> None:
            _log.info(
                "check_changed",
                service=claim.service_name,
                instance=claim.instance_id,
                status=status,
                because=because,
            )
            kept.member = decisions.after_check(kept.member, status)
            self._wake.set()

        def seen(kind: CheckKind, result: CheckResult) -> None:
            self.check_results[kind, result.status] += 1

        return ServiceChecks(
            claim.service_name,
            kept.spec.checks,
            lambda check: probe_for(claim, check),
            changed=changed,
            seen=seen,
            random=self._random,
        )

    def start(self) -> None:
        """Begin. Nothing is waited for."""
        if not self._kept:
            return
        self._spawn(self._run())
        if any(ip_address(kept.claim.host) is None for kept in self._kept.values()):
            self._spawn(self._relocate())
        for kept in self._kept.values():
            if kept.checks is not None:
                kept.checking = self._spawn(kept.checks.run())

    def reassert(self) -> None:
        """Register everything again, at once: the registry lost its memory."""
        now = self._clock.monotonic()
        for kept in self._kept.values():
            kept.member = decisions.after_reassert(kept.member, now, self._random.random(), self._timings)
        self._wake.set()

    def checks_of(self, service_name: str) -> dict[str, ServiceChecks]:
        """Return the checks of this agent's instances of a service, by instance id; `-` and `_` are one."""
        label = label_of(service_name)
        return {
            key.instance_id: kept.checks
            for key, kept in self._kept.items()
            if key.label == label and kept.checks is not None
        }

    def report(self) -> list[ServiceReport]:
        """Return how each service stands."""
        return [_report(kept) for kept in self._kept.values()]

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
        for kept in self._kept.values():
            match decisions.next_step(kept.member, now):
                case Wait(until=until):
                    next_at = min(next_at, until)
                case step if self._requests < MAX_REQUESTS:
                    kept.member = decisions.begun(kept.member)
                    self._requests += 1
                    self._spawn(self._carry_out(kept, step))
        if not self._beating:
            if now >= self._beat_at:
                self._beating = True
                self._spawn(self._beat())
            next_at = min(next_at, self._beat_at)
        return max(0.0, next_at - now)

    async def _carry_out(self, kept: _Kept, step: Register | TellStatus) -> None:
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
                kept.member, step, reply.outcome, now=now, draw=draw, timings=self._timings
            )
            self._wake.set()
        self._note(kept, step, reply)

    async def _register(self, kept: _Kept, status: Status) -> Reply:
        # A name server that is away for a moment must not take known addresses out of DNS.
        addresses = await self._resolver.addresses(kept.claim.host) or kept.claim.addresses
        kept.registered_at = addresses
        kept.claim = msgspec.structs.replace(kept.claim, addresses=addresses)
        reply, ttl_s = await self._client.register(msgspec.structs.replace(kept.claim, status=status))
        newer = reply.newer_epoch
        if newer is not None and not kept.owned and newer > self._clock.wall() * 1000:
            # Nobody can have started in the future: the agent before this one had a clock that was ahead.
            kept.claim = msgspec.structs.replace(kept.claim, epoch=newer + 1)
            reply, ttl_s = await self._client.register(msgspec.structs.replace(kept.claim, status=status))
        kept.owned |= reply.outcome is Outcome.DONE
        # It may have been stored although the answer was lost.
        kept.known |= reply.outcome in (Outcome.DONE, Outcome.UNAVAILABLE)
        if ttl_s is not None:
            self._lease_granted(ttl_s)
        if self._beat_at == decisions.NEVER and reply.outcome is Outcome.DONE:
            self._beat_at = decisions.next_beat_at(self._clock.monotonic(), self._random.random(), self._timings)
        return reply

    async def _relocate(self) -> None:
        """Find the addresses of host names again and again, and register anew what has others now."""
        while True:
            await asyncio.sleep(self._timings.relocate_s)
            for kept in self._kept.values():
                claim = kept.claim
                if ip_address(claim.host) is not None:
                    continue
                addresses = await self._resolver.addresses(claim.host)
                # None is no other address: a name server that is away has moved nobody.
                if addresses and kept.registered_at and addresses != kept.registered_at:
                    _log.info("address_changed", service=claim.service_name, before=kept.registered_at, after=addresses)
                    kept.member = decisions.after_move(kept.member, self._clock.monotonic())
                    self._wake.set()

    async def _beat(self) -> None:
        replies: list[tuple[InstanceKey, Reply]] = []
        failed = [Reply(Outcome.UNAVAILABLE, "the heartbeats failed; the log says more")]
        try:
            registered = [kept.claim for kept in self._kept.values() if kept.member.phase is Phase.REGISTERED]
            replies = await self._client.beat(registered)
            failed = [reply for _, reply in replies if reply.outcome in (Outcome.UNAVAILABLE, Outcome.REFUSED)]
        except Exception:  # noqa: BLE001 - the top of a task: the next heartbeats are tried as after any failure
            _log.exception("heartbeat_failed")
        finally:
            now, draw = self._clock.monotonic(), self._random.random()
            self._beat_failures = self._beat_failures + 1 if failed else 0
            self._beat_at = (
                decisions.next_beat_after_failure(self._beat_failures, now, draw, self._timings)
                if failed
                else decisions.next_beat_at(now, draw, self._timings)
            )
            for key, reply in replies:
                kept = self._kept[key]
                self.beats[reply.outcome] += 1
                kept.member = decisions.after_beat(kept.member, reply.outcome, now, draw, self._timings)
                if reply.outcome is Outcome.FENCED:
                    self._note_fenced(kept, "a newer agent renews it")
            self._beating = False
            self._wake.set()
        self._note_availability(failed[0] if failed else Reply(Outcome.DONE))

    # -- what is worth a line

    def _note(self, kept: _Kept, step: Register | TellStatus, reply: Reply) -> None:
        claim = kept.claim
        who = {"service": claim.service_name, "instance": claim.instance_id}
        match reply.outcome:
            case Outcome.DONE:
                if isinstance(step, Register):
                    _log.info("registered", **who, status=step.status)
                kept.problem = ""
            case Outcome.FENCED:
                self._note_fenced(kept, reply.said)
            case Outcome.REFUSED | Outcome.UNKNOWN:
                if reply.said != kept.problem:  # each refusal is said once, as the registry said it
                    kept.problem = reply.said
                    _log.error("refused", **who, because=reply.said)
            case Outcome.UNAVAILABLE:
                kept.problem = reply.said
        self._note_availability(reply)

    def _note_availability(self, reply: Reply) -> None:
        away = reply.outcome is Outcome.UNAVAILABLE
        if away and not self._unavailable:
            _log.warning("registry_unavailable", because=reply.said)
        elif self._unavailable and reply.outcome is Outcome.DONE:
            _log.info("registry_available")
        self._unavailable = away

    def _note_fenced(self, kept: _Kept, said: str) -> None:
        if kept.known or said != kept.problem:  # said once, and not with each try
            _log.error("fenced", service=kept.claim.service_name, instance=kept.claim.instance_id, because=said)
        kept.problem = said
        kept.known = False  # it is the newer owner's, to be taken out by nobody else

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
        # A registration that is still under way must not be stored after the farewell.
        running = [task for task in self._tasks if not task.done()]
        if running:
            await asyncio.wait(running, timeout=farewell_s / 2)
        await self.close()
        leaving = [kept.claim for kept in self._kept.values() if kept.known]
        if leaving:
            await leave(
                self._client,
                leaving,
                drain_wait_s=self._drain_wait_s,
                ends_at=ends_at,
                limit_s=farewell_s,
            )

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


def epoch_at(wall: float) -> int:
    """Return the epoch of an agent that starts at `wall` (Unix seconds): later ones are newer."""
    return int(wall * 1000)


def _report(kept: _Kept) -> ServiceReport:
    checks = kept.checks.report() if kept.checks is not None else []
    # The worst of them, as for the service itself.
    shown = max(checks, key=lambda check: SEVERITY.get(check.status or Status.CRITICAL, 0), default=None)
    return ServiceReport(
        service_name=kept.claim.service_name,
        instance_id=kept.claim.instance_id,
        endpoint=f"{kept.claim.protocol.value}://{kept.claim.host}:{kept.claim.port}",
        phase=kept.member.phase,
        check=",".join(check.kind.value for check in checks) or CheckKind.NONE.value,
        status=kept.member.status,
        registered_status=kept.member.told,
        last_check="none yet" if shown is None else shown.last,
        checks=checks,
        problem=kept.problem,
    )
