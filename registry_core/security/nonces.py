"""The signatures that this process has seen, so that none is accepted twice. Pure.

A signature is good for WINDOW_S before and after its time, so it has to be remembered that long. Memory is bounded, and
a full memory neither forgets what could be replayed nor locks out senders who are not to blame: the key with most
signatures loses its oldest ones, and from then on only newer ones of that key are accepted (its *floor*). Its senders
sign anew and go on; it takes the key of a service to raise the floor of that service.

What was seen before this process started, nobody here knows: what was signed before that is not accepted.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

from registry_core.ports.once import SignedOnce
from registry_core.security.signature_errors import RECEIVED_BEFORE, OutOfTime, Replayed, SignedBeforeStart
from registry_core.security.signatures import WINDOW_S, Signature

# Some 80 octets each. At 300 signed requests a second this lasts for the whole window.
MAX_NONCES: Final = 200_000
# Seconds of signatures that are forgotten at once.
BUCKET_S: Final = 10
# How far the clocks of replicas may be apart.
CLOCKS_S: Final = 60
# What was signed this short a time before the start was on its way; anything older has a sender with a wrong clock.
_ON_ITS_WAY_S: Final = 5


class _SeenOfKey:
    """The signatures of one key, by the time at which they were made."""

    __slots__ = ("buckets", "count", "floor")

    def __init__(self) -> None:
        self.buckets: dict[int, set[int]] = {}
        self.count = 0
        self.floor = 0  # what was made before this second is refused

    def forget(self, bucket: int) -> None:
        self.count -= len(self.buckets.pop(bucket))
        self.floor = max(self.floor, (bucket + 1) * BUCKET_S)


class Nonces:
    """The signatures of the last minutes; at most `most` of them."""

    def __init__(self, started: float, most: int = MAX_NONCES) -> None:
        """`started`: when this process started, in Unix seconds."""
        self._started = int(started)
        self._most = most
        self._keys: dict[str, _SeenOfKey] = {}
        self._count = 0
        self._swept = 0
        # A sender chooses nonces, but cannot choose where they land.
        self._salted = hashlib.blake2b(digest_size=8, key=secrets.token_bytes(16))
        self._process = secrets.token_hex(8)
        self._attempts = 0

    def __len__(self) -> int:
        """The number of signatures that are remembered."""
        return self._count

    def spend(self, signature: Signature, now: float, *, shared: bool = False) -> None:
        """Remember a genuine signature. `now` is this registry's time, in Unix seconds.

        `shared`: a store that outlives this process also remembers it.

        Raises OutOfTime when it was made too long ago or in the future, Replayed when it was seen before, and
        SignedBeforeStart when nobody can tell.
        """
        require_in_time(signature, now)
        if signature.created <= self._started and not shared:
            if signature.created >= now - _ON_ITS_WAY_S:
                raise SignedBeforeStart(
                    "this request was signed before this registry started, which has not seen earlier ones: sign it "
                    "again"
                )
            raise _out_of_time("this request was signed before this registry started", signature.created, now)
        self._sweep(now)
        key = self._keys.get(signature.key_id)
        if key is None:
            key = self._keys[signature.key_id] = _SeenOfKey()
        if signature.created < key.floor:
            raise _out_of_time(
                f"key {signature.key_id!r} signs more than this registry can remember, which therefore takes only its "
                "newer signatures",
                signature.created,
                now,
            )
        number = signature.created // BUCKET_S
        bucket = key.buckets.get(number)
        if bucket is None:
            bucket = key.buckets[number] = set()
        mark = self._mark(signature)
        if mark in bucket:
            raise Replayed(RECEIVED_BEFORE)
        bucket.add(mark)
        key.count += 1
        self._count += 1
        if self._count > self._most:
            self._make_room()

    def once(self, signature: Signature, now: float) -> SignedOnce:
        """Return the mark by which a store that all replicas share lets this request write once."""
        self._attempts += 1
        mark = hashlib.blake2b(f"{signature.key_id} {signature.nonce}".encode(), digest_size=16).hexdigest()
        keep_s = signature.created + WINDOW_S - now + CLOCKS_S
        return SignedOnce(mark, f"{self._process}.{self._attempts:x}", int(keep_s * 1000))

    def _mark(self, signature: Signature) -> int:
        salted = self._salted.copy()
        salted.update(signature.nonce.encode())
        return int.from_bytes(salted.digest(), "big")

    def _sweep(self, now: float) -> None:
        """Forget what is too old to be accepted, once in a while."""
        oldest = int(now - WINDOW_S) // BUCKET_S
        if oldest <= self._swept:
            return
        self._swept = oldest
        for key_id, key in list(self._keys.items()):
            for bucket in [bucket for bucket in key.buckets if bucket < oldest]:
                self._count -= len(key.buckets[bucket])
                key.forget(bucket)
            if not key.buckets:
                del self._keys[key_id]

    def _make_room(self) -> None:
        """Forget the oldest signatures of the key that has most."""
        key = max(self._keys.values(), key=lambda one: one.count)
        bucket = min(key.buckets)
        self._count -= len(key.buckets[bucket])
        key.forget(bucket)


def require_in_time(signature: Signature, now: float) -> None:
    """Raise OutOfTime unless the signature was made within WINDOW_S of `now`, either way."""
    off_s = signature.created - int(now)
    if abs(off_s) <= WINDOW_S:
        return
    when = "ago" if off_s < 0 else "in the future"
    raise _out_of_time(
        f"this request was signed {abs(off_s)} s {when}, by this registry's clock; {WINDOW_S} s are allowed",
        signature.created,
        now,
    )


def _out_of_time(message: str, created: int, now: float) -> OutOfTime:
    return OutOfTime(f"{message}; example is the time here", field="created", provided=created, example=int(now))
