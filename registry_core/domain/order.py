"""The order of one instance's writes: which to accept, which is a repeat, and which comes too late. Pure.

A write may carry two numbers. The *epoch* identifies the owner: a newer owner has a higher one. The *sequence*
identifies the owner's request: a counter, new for every request, even for a retry. A request that waited in a stalled
replica, or on a slow connection, may arrive after newer ones were carried out elsewhere. These two numbers keep it
from changing anything:

    epoch of the write    sequence of the write            ruling
    --------------------  -------------------------------  -------------------------------------
    older                 any                              FENCED
    newer                 any                              TAKEN
    the same, or none     none, or the last one had none   TAKEN
    the same, or none     higher                           TAKEN
    the same, or none     the same                         REPEATED (LATE, when that was another kind of write)
    the same, or none     lower                            LATE

They are compared with the last accepted write. For a deregistered instance, a *tombstone* keeps them, so that no
earlier write brings it back. Invariant: of the acknowledged writes of one owner that carry a sequence, the registry
shows the one with the highest sequence, in whatever order they arrive, as long as none is older than the lifetime of
a tombstone.

A write without a sequence (from an older client, or an operator) is checked against the epoch alone. It keeps the
stored sequence, so that a late write stays late.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

import msgspec

from registry_core.domain.records import Instance, InstanceKey
from registry_core.errors import Fenced, Late

# How long a late write is recognised after a deregistration: longer than any request is in flight. A stalled
# replica refuses what arrived meanwhile, a client gives up after seconds, nginx after a minute.
TOMBSTONE_S: Final = 60.0
# Of one shard. Taking down a whole fleet leaves fewer; beyond that, the oldest is forgotten first.
MAX_TOMBSTONES: Final = 10_000
# Exact in every JSON reader, like the limit of an epoch.
MAX_SEQUENCE: Final = 2**53 - 1


class Ruling(enum.StrEnum):
    """What happens to a write."""

    TAKEN = "taken"
    REPEATED = "repeated"  # it was accepted before: the same answer again, and no change
    LATE = "late"  # a newer one of the same owner was accepted before
    FENCED = "fenced"  # a newer owner has written


class LastWrite(msgspec.Struct, frozen=True, gc=False):
    """The last accepted write of an instance that is registered or was removed."""

    epoch: int
    sequence: int | None = None
    removal: bool = False


class Than(enum.Enum):
    """How a write's number compares to that of the last accepted write. UNSAID: one of them has none."""

    UNSAID = "unsaid"
    LOWER = "lower"
    SAME = "same"
    HIGHER = "higher"


_BY_SEQUENCE: Final[Mapping[Than, Ruling]] = {
    Than.UNSAID: Ruling.TAKEN,
    Than.LOWER: Ruling.LATE,
    Than.SAME: Ruling.REPEATED,
    Than.HIGHER: Ruling.TAKEN,
}
# The epoch decides first, then the sequence.
RULINGS: Final[Mapping[Than, Mapping[Than, Ruling]]] = {
    Than.UNSAID: _BY_SEQUENCE,
    Than.LOWER: dict.fromkeys(Than, Ruling.FENCED),
    Than.SAME: _BY_SEQUENCE,
    Than.HIGHER: dict.fromkeys(Than, Ruling.TAKEN),
}


def ruled(last: LastWrite | None, epoch: int | None, sequence: int | None, *, removal: bool = False) -> Ruling:
    """Return the ruling on a write with these numbers after `last`, which is None for an unknown instance."""
    if last is None:
        return Ruling.TAKEN
    ruling = RULINGS[_compared(epoch, last.epoch)][_compared(sequence, last.sequence)]
    # A registration with the sequence of a removal does not repeat it: no owner uses a sequence twice.
    return Ruling.LATE if ruling is Ruling.REPEATED and removal != last.removal else ruling


def _compared(number: int | None, last: int | None) -> Than:
    if number is None or last is None:
        return Than.UNSAID
    return Than.SAME if number == last else Than.LOWER if number < last else Than.HIGHER


def taken(last: LastWrite | None, epoch: int | None, sequence: int | None, *, removal: bool = False) -> LastWrite:
    """Return what to remember of a write that was accepted after `last`."""
    if epoch is None:
        epoch = last.epoch if last is not None else 0
    if sequence is None and last is not None and last.epoch == epoch:
        sequence = last.sequence
    return LastWrite(epoch, sequence, removal)


def check_order(
    key: InstanceKey,
    last: LastWrite | None,
    epoch: int | None,
    sequence: int | None,
    *,
    removal: bool = False,
    owner: Instance | None = None,
    retry_after_s: float | None = None,
) -> Ruling:
    """Return TAKEN or REPEATED. Raises Fenced for an older owner, and Late when a newer write came first.

    `owner` is the registered instance; it may be gone after `retry_after_s`.
    """
    ruling = ruled(last, epoch, sequence, removal=removal)
    if last is not None and ruling is Ruling.FENCED:
        raise fenced(key, epoch, last.epoch, owner, retry_after_s=retry_after_s)
    if last is not None and ruling is Ruling.LATE:
        raise late(key, sequence, last.sequence)
    return ruling


def fenced(
    key: InstanceKey,
    epoch: int | None,
    newer: int,
    owner: Instance | None = None,
    *,
    retry_after_s: float | None = None,
) -> Fenced:
    """Return the refusal of an owner because another one has a `newer` epoch: `owner`, or a removed one if None."""
    where = "" if owner is None else f", at {owner.holder}"
    return Fenced(
        f"instance {key.instance_id!r} of {key.label!r} has a newer owner (epoch {newer}){where}",
        field="epoch",
        provided=epoch,
        example=newer,
        holder=None if owner is None else owner.holder,
        retry_after_s=retry_after_s,
    )


def late(key: InstanceKey, sequence: int | None, newer: int | None) -> Late:
    """Return the refusal of a write because one with a `newer` sequence, or another with the same, was accepted."""
    return Late(
        f"a newer write of the owner of instance {key.instance_id!r} of {key.label!r} was taken (sequence {newer}): "
        "this one changes nothing",
        field="sequence",
        provided=sequence,
        example=newer,
    )


class Tombstone(msgspec.Struct, frozen=True, gc=False):
    """What remains of a removed instance: the numbers of its removal, and its last record."""

    last: LastWrite
    instance: Instance | None  # None: nothing was registered at the removal
    at: float


class Tombstones:
    """The tombstones of one shard, each kept for TOMBSTONE_S. At most `most`, since a caller could create any number.

    Times passed to it must not decrease; the store uses a monotonic clock.
    """

    def __init__(self, most: int = MAX_TOMBSTONES) -> None:
        self._most = most
        # The oldest first. In a plain dictionary, finding the first key slows down as first keys are removed.
        self._stones: OrderedDict[InstanceKey, Tombstone] = OrderedDict()

    def __len__(self) -> int:
        return len(self._stones)

    def put(self, key: InstanceKey, last: LastWrite, instance: Instance | None, now: float) -> None:
        """Remember a removal, replacing an earlier one of the same instance."""
        self._stones.pop(key, None)
        self._stones[key] = Tombstone(last, instance, now)
        while len(self._stones) > self._most or self._outlived(next(iter(self._stones.values())), now):
            del self._stones[next(iter(self._stones))]

    def get(self, key: InstanceKey, now: float) -> Tombstone | None:
        """Return the tombstone of `key`, or None when there is none or it is too old."""
        stone = self._stones.get(key)
        return None if stone is None or self._outlived(stone, now) else stone

    def drop(self, key: InstanceKey) -> None:
        """Forget the removal of `key`: it is registered again."""
        self._stones.pop(key, None)

    def _outlived(self, stone: Tombstone, now: float) -> bool:
        return now - stone.at >= TOMBSTONE_S
