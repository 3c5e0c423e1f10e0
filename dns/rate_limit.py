"""How many answers of one kind go to one network in a second (response rate limiting).

Over UDP the sender's address is the sender's word: without a limit, who asks in somebody else's name has us
flood them. What is over the limit is dropped, but every second time answered with "ask over TCP", so
that who really asks still gets an answer. Its memory does not depend on who asks or for what.
"""

from __future__ import annotations

import enum
import ipaddress
from array import array
from typing import Final

# A customer's network, as senders of forged packets cannot be told apart within it (BIND's defaults).
_V6_PREFIX_OCTETS: Final = 7
# One float each. Two kinds that meet in a slot share its limit, so that the whole never sends more than
# slots times the limit, however many networks somebody invents.
SLOTS: Final = 16_384
_HEADER: Final = 12


class RateLimitAction(enum.Enum):
    """What becomes of an answer."""

    SEND = "send"
    SLIP = "slip"  # only the advice to ask over TCP
    DROP = "drop"


class RateLimit:
    """At most `per_second` answers of one kind to one network, and as many at once after a rest."""

    def __init__(self, per_second: int, slots: int = SLOTS) -> None:
        self._step_s = 1.0 / per_second
        # When each slot's answers are paid for (the generic cell rate algorithm, ITU-T I.371).
        self._paid_until = array("d", bytes(8 * slots))
        self._slipped = bytearray(slots)

    def verdict(self, host: str, answer: bytes, now_s: float) -> RateLimitAction:
        """Count `answer` to `host` and say what becomes of it; `now_s` is of a clock that never jumps."""
        # hash() of text is SipHash under a key of this process: nobody can choose who meets in a slot.
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
    """Return what is counted together: one name and type, or, without records, one response code.

    Names that do not exist are too many to be told apart, and their answers are all alike.
    """
    rcode = answer[3] & 0xF
    if rcode or answer[6:8] == b"\0\0":
        return answer[3:4]
    # The question: the name up to its root, and the type. Spellings of one name are one name.
    return answer[_HEADER : answer.index(0, _HEADER) + 3].lower().replace(b"_", b"-")
