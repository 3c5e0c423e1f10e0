"""How soon to try again while there is a lease to lose. Pure.

A failure, the breaker of the only known registry and its trials take some 45 s, and when a heartbeat is due 45 s of the
lease are left. So what is tried again meets the end of that within seconds; once the lease must be over, there is time.
"""

from __future__ import annotations

from typing import Final

# Failures in a row, with their back-off: from some seconds after the first one on, until the lease is over.
URGENT_FROM: Final = 4
URGENT_UNTIL: Final = 24


def lease_retry_s(wait_s: float, failures: int, heartbeat_s: float) -> float:
    """Return `wait_s`, or less: a third of the heartbeat interval at most, and a tenth while it is urgent."""
    return min(wait_s, heartbeat_s / (10 if URGENT_FROM <= failures <= URGENT_UNTIL else 3))
