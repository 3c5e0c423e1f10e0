"""How soon a broken watch is opened again. Pure."""

from __future__ import annotations

from typing import Final

from registry_core.domain.backoff import Backoff, Jitter

WATCH_RETRY_FIRST_S: Final = 0.1
# Short, so that a registry that came back empty hears from every agent while it warms up.
WATCH_RETRY: Final = Backoff(1.0, 5.0, jitter=Jitter.FULL)


def watch_retry_s(failures: int, draw: float, addresses: int, backoff: Backoff = WATCH_RETRY) -> float:
    """Return the seconds to wait before reopening the watch, after that many failures in a row.

    Almost none while there are untried addresses; then by `backoff`.
    """
    rounds = (failures - 1) // addresses
    if rounds == 0:
        return draw * WATCH_RETRY_FIRST_S
    return backoff.wait_s(rounds, draw)
