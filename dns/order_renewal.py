"""Draws new orders for answers before the old ones are used up, so that there is always a ready answer.

The thread that gives them out makes none, and the event loop may be busy when the last one is given. A bounded amount
of work for each call: what is dear, or too much, is done when its answers are used up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from dns.answer_cache import ReadyAnswers
from dns.dear_work import CHEAP_US

# Microseconds of work, by the estimate.
MOST_US: Final = 5_000


class OrderRenewal:
    """Renews the answers that services gave."""

    def __init__(self, ready: ReadyAnswers) -> None:
        self._found = ready.found

    def run(self, cost_us: Callable[[bytes], int], make: Callable[[bytes, bytes], object]) -> None:
        """Have `make` make the answers to a message, for a key; `cost_us` says what one costs. Call it now and then."""
        left_us = MOST_US
        for key in self._found.nearly_spent():
            message, entry = b"\0\0" + key, self._found.get(key)
            if entry is None:
                continue
            each_us = cost_us(message)
            left_us -= each_us * entry.orders
            if each_us > CHEAP_US or left_us < 0:
                continue
            self._found.spend(key)
            make(message, key)
            while (entry := self._found.get(key)) is not None and entry.lacking():
                made = len(entry.variants)
                make(message, key)
                if len(entry.variants) == made:
                    break  # the service is another one now
            if entry is not None:
                self._found.stock(key)
