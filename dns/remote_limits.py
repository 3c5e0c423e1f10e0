"""What may be sent to other machines, whose datagrams may have forged senders: by network, by rate, by cookie.

Each thread that answers datagrams has limits of its own, with its own verdicts on networks and its own count; the
allowances and the cookies are common to all of them, so that a sender has no more for asking several.
"""

from __future__ import annotations

from collections.abc import Iterable

from dns import codec
from dns.access import AllowedNetworks
from dns.advice import RetryAdvice
from dns.hop import Hops
from dns.rate_limit import RateLimit, RateLimitAction
from registry_core.ports.clock import Clock


class RemoteLimits:
    """Judges questions from other machines and the answers to them. Belongs to one thread."""

    def __init__(self, networks: Iterable[str], rates: RateLimit | None, hops: Hops, clock: Clock) -> None:
        """Without `rates` there is no limit. Raises ValueError when one of `networks` is not a network."""
        self._networks = tuple(networks)
        access = AllowedNetworks(self._networks)
        self.admits, self.is_local = access.admits, access.is_local
        self._rates, self._hops, self._clock = rates, hops, clock
        self._advice = RetryAdvice(hops)
        self._limited = 0
        self._others: list[RemoteLimits] = []

    def for_a_thread(self) -> RemoteLimits:
        """Return limits with the same allowances and cookies, for another thread."""
        self._others.append(RemoteLimits(self._networks, self._rates, self._hops, self._clock))
        return self._others[-1]

    @property
    def limited(self) -> int:
        """Questions and answers over a limit, of those threads too."""
        return self._limited + sum(limits.limited for limits in self._others)

    def excess(self, query: bytes, host: str) -> RateLimitAction:
        """Return what to do with a question before its answer is made: SEND if it may have one."""
        if self._rates is None:
            return RateLimitAction.SEND
        action = self._rates.excess(host, self._clock.monotonic())
        return RateLimitAction.SEND if action is RateLimitAction.SEND or self.proves(query, host) else action

    def verdict(self, answer: bytes, host: str) -> RateLimitAction:
        """Count `answer` to a sender that proves nothing, and return what to do with it."""
        return self._rates.verdict(host, answer, self._clock.monotonic()) if self._rates else RateLimitAction.SEND

    def charge(self, octets: int, host: str) -> None:
        """Count octets of an answer that `verdict` was not shown."""
        if self._rates is not None:
            self._rates.charge(host, octets, self._clock.monotonic())

    def instead(self, query: bytes, host: str, action: RateLimitAction) -> bytes | None:
        """Count a question or answer over a limit; return what its asker, who may query, gets instead, if anything."""
        self._limited += 1
        return self._advice.instead_of_any(query, host) if action is RateLimitAction.SLIP else None

    def brief(self, answer: bytes, query: bytes, host: str) -> bytes:
        """Return `answer`, without its records if it is truncated."""
        return self._advice.brief(answer, query, host)

    def proves(self, query: bytes, host: str) -> bool:
        """Return whether a query has a valid cookie: then its sender's address is not forged."""
        # The option's code and the upper half of its length: without them there is no need to parse again.
        if b"\0\x0a\0" not in query:
            return False
        asked = codec.read(query)
        return asked is not None and self._hops.proves(asked.edns, host)
