"""Gets the answer to one question from several resolvers, and probes resolvers with its own questions.

It asks one resolver; when that is silent for a moment it asks the next one too, and takes the first answer.
After a failure it asks the next one at once. Tries, open sockets and time are bounded.
"""

from __future__ import annotations

import asyncio
import errno
import secrets
from collections import deque
from collections.abc import Hashable, Iterable
from functools import partial
from typing import Final

import msgspec
import structlog

from dns.codec import CLASS_IN, TC, Name, Rcode, Type
from dns.costs import ASK_US, OCTET_US
from dns.dear_work import CHEAP_US, DearWork
from dns.exchange import over_tcp, over_udp
from dns.foreign import VIA_OCTETS, ForeignReply, Inquiry, Odd, Sent, inquiry, judge, mixed_case, outgoing
from dns.record_data import name_data
from dns.resolvers import Group
from dns.upstreams import ResolverState, UpstreamResolver, in_order
from registry_core.ports.clock import Clock
from registry_core.shortages import is_shortage
from registry_core.supervision import Background, end

# The rcodes that count as answers, including YXDOMAIN (RFC 6672). All others are failures of the resolver.
_ANSWERS: Final = frozenset((Rcode.NOERROR, Rcode.NXDOMAIN, 6))
# A resolver may turn out both to fold case and not to know EDNS, and then answer.
_TURNS: Final = 4
_MAX_TRIES: Final = 32
# The label of the probe's name: <random>.loop-check[.<suffix of the rule>].
CHECK_LABEL: Final = b"loop-check"

_log = structlog.get_logger(component="dns.forwarding")


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How long and how often resolvers are asked. `_s` means seconds."""

    # The next resolver is asked after this much silence.
    next_s: float = 0.8
    # Stubs wait for 5 s (resolv.conf(5)); an answer must arrive before they give up.
    total_s: float = 4.0
    attempts: int = 6
    # Open sockets for one question.
    open: int = 3
    # A probe.
    try_s: float = 1.5


class Unanswered(msgspec.Struct, frozen=True):
    """No resolver had an answer. `heard`: at least one replied with an error, perhaps with Extended DNS Errors.

    `aliases` is such a reply that says which name the question's name is an alias of.
    """

    heard: bool = False
    errors: bytes = b""
    aliases: ForeignReply | None = None


class ResolverClient:
    """Asks resolvers. Call `close` at the end."""

    def __init__(self, clock: Clock, patience: Patience, background: Background, work: DearWork) -> None:
        """`work` is the budget for large replies."""
        self._work = work
        self._clock = clock
        self._patience = patience
        self._background = background
        # Known only to the resolvers that we ask: a query that contains it is ours.
        self.identity = secrets.token_bytes(VIA_OCTETS)
        self._checks: dict[Name, UpstreamResolver] = {}
        self._tries: set[asyncio.Task[None]] = set()
        self._attempts: dict[asyncio.Task[ForeignReply], UpstreamResolver] = {}

    async def close(self) -> None:
        """Stop the probes."""
        await end(self._tries)

    async def ask(self, asked: Inquiry, via: bytes, group: Group, asker: Hashable = None) -> ForeignReply | Unanswered:
        """Return the first answer to `asked`. `via`: the agents that the question has passed before us."""
        plan = deque(in_order(group.upstreams))
        silent: deque[UpstreamResolver] = deque()  # asked once more, since packets get lost
        slow: set[UpstreamResolver] = set()
        heard = {upstream: upstream.answered for upstream in plan}
        running: dict[asyncio.Task[ForeignReply], UpstreamResolver] = {}
        verdict = Unanswered()
        started = 0
        loop = asyncio.get_running_loop()
        ends = loop.time() + self._patience.total_s
        try:
            while (left_s := ends - loop.time()) > 0:
                if started < self._patience.attempts and (upstream := _next(plan, silent)) is not None:
                    if len(running) == self._patience.open:
                        await _end([oldest := next(iter(running))])
                        del running[oldest]
                    running[self._start(upstream, asked, via, asker)] = upstream
                    started += 1
                if not running:
                    break
                newest = next(reversed(running.values()))
                done, _ = await asyncio.wait(
                    running, timeout=min(left_s, self._patience.next_s), return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    found = self._outcome(task, running.pop(task))
                    if found is not None and found.rcode in _ANSWERS:
                        return found
                    if found is not None:
                        aliases = found if found.aliases else verdict.aliases
                        verdict = Unanswered(heard=True, errors=found.errors or verdict.errors, aliases=aliases)
                if not done and newest not in slow:
                    slow.add(newest)
                    if newest.answered == heard[newest]:
                        # If it answered other questions meanwhile, it is this name that is slow.
                        newest.has_failed(self._clock.monotonic())
                    silent.append(newest)
        finally:
            await _end(list(running))
        return verdict

    def _start(
        self, upstream: UpstreamResolver, asked: Inquiry, via: bytes, asker: Hashable
    ) -> asyncio.Task[ForeignReply]:
        task = asyncio.create_task(self._attempt(upstream, asked, via, asker))
        self._attempts[task] = upstream
        task.add_done_callback(self._attempts.pop)
        return task

    def _outcome(self, task: asyncio.Task[ForeignReply], upstream: UpstreamResolver) -> ForeignReply | None:
        if task.cancelled():  # the resolver turned out to loop back to us
            return None
        try:
            reply = task.result()
        except (OSError, EOFError) as error:
            if not is_shortage(error):
                upstream.has_failed(self._clock.monotonic())
            return None
        return reply

    async def _attempt(
        self, upstream: UpstreamResolver, asked: Inquiry, via: bytes, asker: Hashable = None
    ) -> ForeignReply:
        """Return the reply of `upstream`, with any rcode. Raises OSError or EOFError when it is unusable."""
        server, began = upstream.server, self._clock.monotonic()
        for _ in range(_TURNS):
            now = self._clock.monotonic()
            question = asked.question
            if upstream.keeps_case(now):
                question = mixed_case(question, secrets.randbits(8 * len(question)))
            sent = outgoing(
                asked, secrets.randbits(16), question, via + self.identity, with_edns=upstream.knows_edns(now)
            )
            found = await over_udp(server, sent)
            if isinstance(found, ForeignReply) and found.flags & TC:
                await self._turn(asker)
                found = await over_tcp(server, sent, partial(self._judged, asker))
            match found:
                case ForeignReply():
                    upstream.has_answered(self._clock.monotonic() - began)
                    return found
                case Odd.OTHER_CASE:
                    # Discarded: a forger would have to guess a new id and a new port as well.
                    upstream.folds_case(self._clock.monotonic())
                case Odd.NO_EDNS:
                    upstream.refused_edns(self._clock.monotonic())
        raise ConnectionError("it gives no usable answer")

    async def _judged(self, asker: Hashable, message: bytes, sent: Sent) -> ForeignReply | Odd | None:
        """Return what `judge` does, within the budget. Raises OSError, as a shortage, when there is none left."""
        cost_us = int(len(message) * OCTET_US)
        if cost_us <= CHEAP_US:
            return judge(message, sent)
        judged = await self._work.in_turn(asker, cost_us, lambda: (judge(message, sent),))
        if judged is None:
            raise OSError(errno.ENOBUFS, "too much to do at a time")
        return judged[0]

    async def _turn(self, asker: Hashable) -> None:
        """Return when it may ask over TCP. Raises OSError, as a shortage, when that takes too long."""
        if await self._work.in_turn(asker, ASK_US, lambda: True, only_begins=True) is None:
            raise OSError(errno.ENOBUFS, "too much to do at a time")

    # -- probes

    def try_where_due(self, group: Group) -> None:
        """Send a probe to those resolvers that are due for one."""
        now = self._clock.monotonic()
        for upstream in group.upstreams:
            if upstream.wants_try(now) and len(self._tries) < _MAX_TRIES:
                upstream.try_begins(now)
                task = self._background.begin("try resolver", partial(self._try, upstream, group.suffix))
                self._tries.add(task)
                task.add_done_callback(self._tries.discard)

    def came_back(self, name: Name) -> bool:
        """Return whether `name` is of a probe of ours: then the resolver that got it forwards to us."""
        upstream = self._checks.get(name)
        if upstream is None:
            return False
        if upstream.has_looped(self._clock.monotonic()):
            _log.error(
                "forwarding_loop",
                upstream=str(upstream.server),
                reason="it forwards this agent's questions back to this agent; it is not used until that stops",
            )
        for task, asked in self._attempts.items():
            if asked is upstream:
                task.cancel()  # it waits for us, and we wait for it
        return True

    async def _try(self, upstream: UpstreamResolver, suffix: Name) -> None:
        name = (secrets.token_hex(8).encode(), CHECK_LABEL, *suffix)
        question = name_data(name) + Type.A.to_bytes(2) + CLASS_IN.to_bytes(2)
        loops = upstream.loops
        self._checks[name] = upstream
        try:
            async with asyncio.timeout(self._patience.try_s):
                await self._attempt(upstream, inquiry(question), b"")
            if upstream.loops == loops:
                upstream.is_clear()
        except TimeoutError:
            # A resolver without a route to the root may answer its own names at once, and this one slowly.
            if upstream.state is not ResolverState.UP:
                upstream.has_failed(self._clock.monotonic())
        except (OSError, EOFError) as error:
            if not is_shortage(error):
                upstream.has_failed(self._clock.monotonic())
        finally:
            del self._checks[name]
            upstream.try_ends(self._clock.monotonic())


def _next(plan: deque[UpstreamResolver], silent: deque[UpstreamResolver]) -> UpstreamResolver | None:
    for waiting in (plan, silent):
        while waiting:
            upstream = waiting.popleft()
            if upstream.state is not ResolverState.LOOPING:
                return upstream
    return None


async def _end(tasks: Iterable[asyncio.Task[ForeignReply]]) -> None:
    ending = list(tasks)
    for task in ending:
        task.cancel()
    await asyncio.gather(*ending, return_exceptions=True)
