"""Sheds load: which requests to refuse when too many are being carried out at once. Pure.

What is worth least goes first. A list is asked for again, or not missed; an agent that is refused a registration tries
again within seconds; a renewal with time left can wait for the next one. A deregistration or a drain that is refused
leaves clients with an address that is about to fail, so they come last.
"""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from typing import Final

from registry_core.errors import Overloaded

# A second later other requests are done. The caller adds its own jitter.
RETRY_AFTER_S: Final = 1.0


class Worth(StrEnum):
    """What a request is worth, the least first."""

    LIST = "list"  # the names of all services, the catalogue, targets, the opening of a watch
    REGISTRATION = "registration"  # and all other writes that are not below
    RENEWAL_IN_TIME = "renewal-in-time"  # of leases that have more than half of their TTL left
    RENEWAL = "renewal"
    DEPARTURE = "departure"  # deregistrations, drains


# The share of the most requests at once from which on requests of that worth are refused.
SHARES: Final = {
    Worth.LIST: 0.5,
    Worth.REGISTRATION: 0.7,
    Worth.RENEWAL_IN_TIME: 0.8,
    Worth.RENEWAL: 0.9,
    Worth.DEPARTURE: 1.0,
}


class Shedding:
    """The requests that one replica carries out, and which further ones it refuses. At most `most` at once."""

    def __init__(self, most: int) -> None:
        self._most = {worth: max(1, int(share * most)) for worth, share in SHARES.items()}
        self.in_flight = 0
        self.shed: Counter[str] = Counter({worth.value: 0 for worth in Worth})

    def sheds(self, worth: Worth) -> bool:
        """Return whether a request of that worth is refused at present."""
        return self.in_flight >= self._most[worth]

    def check(self, worth: Worth) -> None:
        """Raise Overloaded, and count it, when a request of that worth is refused at present."""
        if self.sheds(worth):
            self.shed[worth.value] += 1
            raise Overloaded(
                f"this replica carries out {self.in_flight} requests at once, and refuses each {worth.value} until "
                "there are fewer",
                retry_after_s=RETRY_AFTER_S,
            )

    def __enter__(self) -> None:
        """A request begins to be carried out."""
        self.in_flight += 1

    def __exit__(self, *_: object) -> None:
        self.in_flight -= 1
