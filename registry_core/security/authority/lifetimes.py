"""How long certificates are valid, and when they are renewed. Pure: times are Unix seconds, given by the caller."""

from __future__ import annotations

from typing import Final, NamedTuple

from registry_core.errors import Unavailable

DAY_S: Final = 86_400.0
# The longest and the shortest certificate of a service.
MAX_LIFETIME_S: Final = 90 * DAY_S
MIN_LIFETIME_S: Final = 10.0
DEFAULT_LIFETIME_S: Final = 7 * DAY_S
INTERMEDIATE_DAYS: Final = 365
ROOT_DAYS: Final = 3650
MAX_DAYS: Final = 7300
# A verifier whose clock is behind must not take a new certificate for one of the future.
BACKDATED_S: Final = 300.0
AUTHORITY_BACKDATED_S: Final = 3600.0
RENEW_SHARE: Final = 2 / 3
# Renewals of certificates that were issued together are spread over this share of the lifetime.
JITTER_SHARE: Final = 1 / 15


class Validity(NamedTuple):
    """The first and the last moment of a certificate."""

    not_before: float
    not_after: float


class AuthorityEnded(Unavailable):
    """Raised when the registry's own certificate has ended, so that nothing that it signs would be accepted."""


def service_validity(now: float, lifetime_s: float, authority_ends: float) -> Validity:
    """Return the validity of a certificate issued now: it never outlives the authority. Raises AuthorityEnded."""
    ends = min(now + min(lifetime_s, MAX_LIFETIME_S), authority_ends)
    if ends <= now:
        raise AuthorityEnded(
            "the certificate of this registry's authority has ended; make a new one: vertice ca intermediate",
            retry_after_s=60.0,
        )
    return Validity(now - BACKDATED_S, ends)


def authority_validity(now: float, days: float, ends_at_most: float | None = None) -> Validity:
    """Return the validity of an authority's certificate: it does not outlive the one that signs it."""
    ends = now + days * DAY_S
    return Validity(now - AUTHORITY_BACKDATED_S, ends if ends_at_most is None else min(ends, ends_at_most))


def renewed_after_s(lifetime_s: float, chance: float) -> float:
    """Return how long after its issue a certificate is renewed. `chance`, from 0 to 1, spreads the renewals."""
    return lifetime_s * (RENEW_SHARE + (chance - 0.5) * 2 * JITTER_SHARE)
