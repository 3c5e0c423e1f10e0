"""Response rate limiting: bounds the answers of one kind to one network per second.

A UDP source address can be forged: without a limit, an attacker could make us flood the victim. Answers over
the limit are dropped, but every second one is replaced by "retry over TCP", so that a real client still gets
an answer. The memory used does not depend on the clients or their questions.
"""

from __future__ import annotations

import enum
import ipaddress
from array import array
from typing import Final

# The size of a customer's network: within it, forged sources cannot be told apart (BIND's defaults).
_V6_PREFIX_OCTETS: Final = 7
# One float each. Two kinds that collide in a slot share its limit, so that the total never exceeds slots
# times the limit, however many networks an attacker invents.
SLOTS: Final = 16_384
_HEADER: Final = 12


class RateLimitAction(enum.Enum):
    """What to do with an answer."""

    SEND = "send"
    SLIP = "slip"  # send only the advice to retry over TCP
    DROP = "drop"


class RateLimit:
    """Allows `per_second` answers of one kind to one network, and a burst of as many after a pause."""

    def __init__(self, per_second: int, slots: int = SLOTS) -> None:
        self._step_s = 1.0 / per_second
        # Each slot's theoretical arrival time (the generic cell rate algorithm, ITU-T I.371).
        self._paid_until = array("d", bytes(8 * slots))
        self._slipped = bytearray(slots)

    def verdict(self, host: str, answer: bytes, now_s: float) -> RateLimitAction:
        """Count `answer` to `host` and return what to do with it; `now_s` is of a monotonic clock."""
        # hash() of text is SipHash with a key of this process, so collisions cannot be provoked.
        slot = hash((network_of(host), kind_of(answer))) % len(self._slipped)
        paid_until = max(self._paid_until[slot], now_s)
        if paid_until + self._step_s - now_s <= 1.0 + 1e-9:
            self._paid_until[slot] = paid_until + self._step_s
            return RateLimitAction.SEND
        self._slipped[slot] ^= 1
        return RateLimitAction.SLIP if self._slipped[slot] else RateLimitAction.DROP


def network_of(host: str) -> str | bytes:
    """Return the /24 of an IPv4 address, the /56 of an IPv6 one."""
    if "." in host:
        return host.rpartition(":")[2].rpartition(".")[0]
    return ipaddress.IPv6Address(host.partition("%")[0]).packed[:_V6_PREFIX_OCTETS]


def kind_of(answer: bytes) -> bytes:
    """Return the key to count by: one name and type, or, without records, one response code.

    Names that do not exist are too many to count apart, and their answers are alike.
    """
    rcode = answer[3] & 0xF
    if rcode or answer[6:8] == b"\0\0":
        return answer[3:4]
    # The question: the name up to its root, and the type, regardless of case.
    return answer[_HEADER : answer.index(0, _HEADER) + 3].lower().replace(b"_", b"-")
