"""Response rate limiting: bounds the answers to one network per second, of one kind and in all.

A UDP source address can be forged: without a limit, an attacker could make us flood the victim. Answers over
the limit are dropped, but every second one is replaced by "retry over TCP", so that a real client still gets
an answer; those are bounded as well. The memory used does not depend on the clients or their questions. Several threads
may use the same limit.
"""

from __future__ import annotations

import enum
import ipaddress
import threading
from array import array
from typing import Final

# The size of a customer's network: within it, forged sources cannot be told apart (BIND's defaults).
_V6_PREFIX_OCTETS: Final = 7
# One float each. Two kinds that collide in a slot share its limit, so that the total never exceeds slots
# times the limit, however many networks an attacker invents.
SLOTS: Final = 16_384
_HEADER: Final = 12
# What one network may have of all kinds together, as a multiple of one kind: a victim must not get 3,000 kinds.
KINDS: Final = 4
# The mean size of its answers at that rate. Larger ones are fewer.
USUAL_OCTETS: Final = 512


class RateLimitAction(enum.Enum):
    """What to do with an answer."""

    SEND = "send"
    SLIP = "slip"  # send only the advice to retry over TCP
    DROP = "drop"


class _Buckets:
    """One allowance per second for each slot, and as much at once after a pause: the generic cell rate algorithm.

    Each slot has its theoretical arrival time (ITU-T I.371).
    """

    def __init__(self, per_second: float, slots: int) -> None:
        self._step_s = 1.0 / per_second
        self._paid_until = array("d", bytes(8 * slots))

    def has(self, slot: int, now_s: float, count: int = 1) -> bool:
        """Return whether the slot has `count` left."""
        return max(self._paid_until[slot], now_s) + count * self._step_s - now_s <= 1.0 + 1e-9

    def take(self, slot: int, now_s: float, count: int = 1) -> None:
        """Take `count` from the slot, a second's allowance more than it has at most."""
        paid_until = max(self._paid_until[slot], now_s) + count * self._step_s
        self._paid_until[slot] = min(paid_until, now_s + 2.0)


class RateLimit:
    """Allows `per_second` answers of one kind to one network, `KINDS` times as many in all, and bursts of as many."""

    def __init__(self, per_second: int, slots: int = SLOTS) -> None:
        self._kinds = _Buckets(per_second, slots)
        self._answers = _Buckets(KINDS * per_second, slots)
        self._octets = _Buckets(KINDS * per_second * USUAL_OCTETS, slots)
        self._advice = _Buckets(KINDS * per_second, slots)
        self._slipped = bytearray(slots)
        self._lock = threading.Lock()  # only ever held briefly: its holder waits for nothing

    def excess(self, host: str, now_s: float) -> RateLimitAction:
        """Return what to do with a question from `host`, before its answer is made: SEND if it may have one."""
        # hash() of text is SipHash with a key of this process, so collisions cannot be provoked.
        slot = hash(network_of(host)) % len(self._slipped)
        with self._lock:
            if self._answers.has(slot, now_s) and self._octets.has(slot, now_s):
                return RateLimitAction.SEND
            return self._over(slot, slot, now_s)

    def verdict(self, host: str, answer: bytes, now_s: float) -> RateLimitAction:
        """Count `answer` to `host` and return what to do with it; `now_s` is of a monotonic clock."""
        network = network_of(host)
        slot = hash(network) % len(self._slipped)
        kind = hash((network, kind_of(answer))) % len(self._slipped)
        with self._lock:
            if not self._kinds.has(kind, now_s):
                return self._over(kind, slot, now_s)
            self._kinds.take(kind, now_s)
            self._answers.take(slot, now_s)
            self._octets.take(slot, now_s, len(answer))
        return RateLimitAction.SEND

    def charge(self, host: str, octets: int, now_s: float) -> None:
        """Count octets of an answer that `verdict` was not shown."""
        slot = hash(network_of(host)) % len(self._slipped)
        with self._lock:
            self._octets.take(slot, now_s, octets)

    def _over(self, limited: int, slot: int, now_s: float) -> RateLimitAction:
        """Return SLIP for every second answer over the limit of `limited`, within the advice for the network `slot`."""
        self._slipped[limited] ^= 1
        if not self._slipped[limited] or not self._advice.has(slot, now_s):
            return RateLimitAction.DROP
        self._advice.take(slot, now_s)
        return RateLimitAction.SLIP


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
