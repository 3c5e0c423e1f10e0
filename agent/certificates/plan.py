"""Decides when a certificate is renewed, and which roots are trusted. Pure.

Times are seconds of this process's monotonic clock: the registry says how long a certificate lasts, so no clock has to
be right.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable
from enum import StrEnum
from typing import Final

import msgspec

from registry_core.domain.backoff import Backoff, Jitter
from registry_core.security.authority.lifetimes import renewed_after_s

RETRY: Final = Backoff(1.0, 300.0, jitter=Jitter.HALF)
# A renewal that is later than this share of the lifetime is overdue.
OVERDUE_SHARE: Final = 0.1
# Renewals under a new authority are spread over this share of the lifetime, and over this time at most.
SPREAD_SHARE: Final = 0.1
MAX_SPREAD_S: Final = 600.0
# Replicas that are given a new authority one after another name both for a while: an agent does not go back.
REMEMBERED_ISSUERS: Final = 8
# How often in a row a shorter list of roots must be told before a root is trusted no longer.
TOLD_BEFORE_REMOVAL: Final = 3
POLL_SHARE: Final = 0.05
LEAST_POLL_S: Final = 1.0
MOST_POLL_S: Final = 60.0
_PEM: Final = re.compile(r"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----\n?", re.ASCII)


class RenewalReason(StrEnum):
    """Why a certificate is asked for."""

    MISSING = "missing"
    DUE = "due"
    DENIED = "denied"
    AUTHORITY_CHANGED = "authority changed"


class HeldCertificate(msgspec.Struct, frozen=True):
    """A certificate that the agent has. `not_after` is in Unix seconds, for people."""

    serial: int
    issuer: str  # the key id of the authority
    issued_at: float
    ends_at: float
    not_after: float

    @property
    def lasts_s(self) -> float:
        return self.ends_at - self.issued_at


class ServiceCertificate:
    """The certificate of one service: what is held, and when the next request is due."""

    def __init__(self, service: str, draw: Callable[[], float]) -> None:
        """`draw` returns a random number from 0 to 1."""
        self.service = service
        self.held: HeldCertificate | None = None
        self.renew_at = 0.0
        self.problem = ""
        self.renewals = 0
        self.failures = 0
        self._draw = draw
        self._try_at = 0.0
        self._reason = RenewalReason.DUE  # for what is due at `renew_at`
        self._issuers: deque[str] = deque(maxlen=REMEMBERED_ISSUERS)

    def holds(self, held: HeldCertificate) -> None:
        """Note that this certificate is held, and when to renew it."""
        self.held, self.problem, self.failures, self._try_at = held, "", 0, 0.0
        self.renew_at = held.issued_at + renewed_after_s(held.lasts_s, self._draw())
        self._reason = RenewalReason.DUE
        if held.issuer not in self._issuers:
            self._issuers.append(held.issuer)

    def failed(self, problem: str, now: float) -> None:
        """Note that a request failed; the next one follows after a while."""
        self.problem = problem
        self.failures += 1
        self._try_at = now + RETRY.wait_s(self.failures, self._draw())

    def authority_is(self, issuer: str, now: float) -> None:
        """Note which authority signs now: a certificate of another one is renewed, soon but not all at once."""
        if self.held is None or issuer in self._issuers:
            return
        spread_s = min(self.held.lasts_s * SPREAD_SHARE, MAX_SPREAD_S)
        if self.renew_at > now + spread_s:
            self.renew_at = now + spread_s * self._draw()
            self._reason = RenewalReason.AUTHORITY_CHANGED

    def is_denied(self, now: float) -> None:
        """Note that the certificate is denied: it is renewed at once, with a new key."""
        self.renew_at, self._reason = min(self.renew_at, now), RenewalReason.DENIED

    def reason(self, now: float) -> RenewalReason | None:
        """Return why a request is due now; None when none is."""
        if now < self._try_at:
            return None
        if self.held is None:
            return RenewalReason.MISSING
        return self._reason if now >= self.renew_at else None

    def wait_s(self, now: float) -> float:
        """Return how long until a request is due, if nothing happens."""
        due_at = self._try_at if self.held is None else max(self._try_at, self.renew_at)
        return max(0.0, due_at - now)

    def fault(self, now: float) -> str:
        """Return what people have to know about it, as a sentence; "" when all is well."""
        because = f": {self.problem}" if self.problem else ""
        if self.held is None:
            return f"{self.service} has no certificate{because}" if self.failures else ""
        left_s = self.held.ends_at - now
        if left_s <= 0:
            return f"the certificate of {self.service} has expired{because}"
        if now - self.renew_at > self.held.lasts_s * OVERDUE_SHARE:
            return f"the certificate of {self.service} is overdue, and expires in {shown_duration(left_s)}{because}"
        return ""


class TrustedRoots:
    """The roots that the agent's services trust: more are trusted at once, fewer only once the registry is sure."""

    def __init__(self) -> None:
        self.roots: tuple[str, ...] = ()  # in PEM, each with a line end
        self._told: tuple[str, ...] = ()
        self._times = 0

    @property
    def pem(self) -> bytes:
        return "".join(self.roots).encode()

    def told(self, bundle: str, *, again: bool = True) -> bool:
        """Note the roots that a replica names; return whether those to trust have changed.

        Not `again`: this is no regular question, whose repetition shows that replicas agree.
        """
        told = roots_in(bundle)
        if not told:
            return False
        if again:
            self._times = self._times + 1 if told == self._told else 1
            self._told = told
        settled = again and self._times >= TOLD_BEFORE_REMOVAL
        wanted = told if settled else tuple(dict.fromkeys((*self.roots, *told)))
        if set(wanted) == set(self.roots):
            return False
        self.roots = wanted
        return True


def roots_in(bundle: str) -> tuple[str, ...]:
    """Return the certificates in a bundle, each in PEM."""
    return tuple(dict.fromkeys(found if found.endswith("\n") else f"{found}\n" for found in _PEM.findall(bundle)))


def poll_s(lifetime_s: float | None) -> float:
    """Return how often the registry is asked whether its authority changed; None: it has not said anything yet."""
    if lifetime_s is None:
        return MOST_POLL_S
    return min(MOST_POLL_S, max(LEAST_POLL_S, lifetime_s * POLL_SHARE))


def faults(certificates: Iterable[ServiceCertificate], now: float, most: int = 10) -> list[str]:
    """Return a sentence for each certificate that is not well; the rest beyond `most` share one."""
    found = [fault for one in certificates if (fault := one.fault(now))]
    further = [f"{len(found) - most} more certificates are not well; see /self"] if len(found) > most else []
    return found[:most] + further


def shown_duration(seconds: float) -> str:
    """Return a duration in words."""
    for unit, length_s in (("days", 86_400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{seconds:.0f} seconds"
