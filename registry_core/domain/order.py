"""The order of the writes of one instance: which is taken, which comes again, which comes too late. Pure.

A write may carry two numbers. The *epoch* says whose it is: a newer owner has a higher one. The *sequence* says which
of that owner's requests it is: a counter, fresh for every request, also for one that is sent again. A request that lay
in a replica that stood still, or on a slow connection, may arrive after newer ones were carried out elsewhere. By these
two numbers it then changes nothing:

    epoch of the write    sequence of the write            ruling
    --------------------  -------------------------------  -------------------------------------
    older                 any                              FENCED
    newer                 any                              TAKEN
    the same, or none     none, or the last one had none   TAKEN
    the same, or none     higher                           TAKEN
    the same, or none     the same                         REPEATED (LATE, when that was another kind of write)
    the same, or none     lower                            LATE

They are compared with the last write that was taken. Of an instance that was deregistered a *tombstone* keeps them, so
that nothing of before brings it back. Invariant: of the writes of one owner that carry a sequence and were
acknowledged, the one with the highest sequence is what the registry shows, in whatever order they arrive, as long as
none is older than a tombstone lasts.

A write without a sequence (clients that know of none, operators) meets the epoch alone. It leaves the sequence that is
there, so that what is late stays late.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from collections.abc import Mapping
from typing import Final

import msgspec

from registry_core.domain.records import Instance, InstanceKey
from registry_core.errors import Fenced, Late

# How long a late write is recognised after a deregistration: longer than any request is under way. A replica that
# stood still refuses what came meanwhile, a client gives up after seconds, nginx after a minute.
TOMBSTONE_S: Final = 60.0
# Of one shard. A fleet that is taken down at once has fewer; beyond, the oldest is forgotten first.
MAX_TOMBSTONES: Final = 10_000
# As of an epoch: what JSON readers hold exactly.
MAX_SEQUENCE: Final = 2**53 - 1


class Ruling(enum.StrEnum):
    """What becomes of a write."""

    TAKEN = "taken"
    REPEATED = "repeated"  # it was taken before: the same answer again, and nothing changes
    LATE = "late"  # a newer one of the same owner was taken before
    FENCED = "fenced"  # a newer owner has written


class LastWrite(msgspec.Struct, frozen=True, gc=False):
    """The last write that was taken of an instance that is registered, or of one that was removed."""

    epoch: int
    sequence: int | None = None
    removal: bool = False


class Than(enum.Enum):
    """How a number of a write compares to that of the last one taken. UNSAID: one of them has none."""

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
# By the epoch first, then by the sequence.
RULINGS: Final[Mapping[Than, Mapping[Than, Ruling]]] = {
    Than.UNSAID: _BY_SEQUENCE,
    Than.LOWER: dict.fromkeys(Than, Ruling.FENCED),
    Than.SAME: _BY_SEQUENCE,
    Than.HIGHER: dict.fromkeys(Than, Ruling.TAKEN),
}


def ruled(last: LastWrite | None, epoch: int | None, sequence: int | None, *, removal: bool = False) -> Ruling:
    """Return what becomes of a write with these numbers after `last`; None: nothing is known of the instance."""
    if last is None:
        return Ruling.TAKEN
    ruling = RULINGS[_compared(epoch, last.epoch)][_compared(sequence, last.sequence)]
    # A registration does not repeat the removal whose sequence it has: no owner uses one twice.
    return Ruling.LATE if ruling is Ruling.REPEATED and removal != last.removal else ruling


def _compared(number: int | None, last: int | None) -> Than:
    if number is None or last is None:
        return Than.UNSAID
    return Than.SAME if number == last else Than.LOWER if number < last else Than.HIGHER


def taken(last: LastWrite | None, epoch: int | None, sequence: int | None, *, removal: bool = False) -> LastWrite:
    """Return what is remembered of a write that was taken after `last`."""
    if epoch is None:
        epoch = last.epoch if last is not None else 0
    if sequence is None and last is not None and last.epoch == epoch:
        sequence = last.sequence
    return LastWrite(epoch, sequence, removal)


def check_order(
    key: InstanceKey, last: LastWrite | None, epoch: int | None, sequence: int | None, *, removal: bool = False
) -> Ruling:
    """Return TAKEN or REPEATED. Raises Fenced for an older owner, Late for what a newer write came before."""
    ruling = ruled(last, epoch, sequence, removal=removal)
    if last is not None and ruling is Ruling.FENCED:
        raise fenced(key, epoch, last.epoch)
    if last is not None and ruling is Ruling.LATE:
        raise late(key, sequence, last.sequence)
    return ruling


def fenced(key: InstanceKey, epoch: int | None, newer: int) -> Fenced:
    """Return the refusal of an owner, since there is one with a `newer` epoch."""
    return Fenced(
        f"instance {key.instance_id!r} of {key.label!r} has a newer owner (epoch {newer})",
        field="epoch",
        provided=epoch,
        example=newer,
    )


def late(key: InstanceKey, sequence: int | None, newer: int | None) -> Late:
    """Return the refusal of a write, since one with a `newer` sequence, or another with this one, was taken."""
    return Late(
        f"a newer write of the owner of instance {key.instance_id!r} of {key.label!r} was taken (sequence {newer}): "
        "this one changes nothing",
        field="sequence",
        provided=sequence,
        example=newer,
    )


class Tombstone(msgspec.Struct, frozen=True, gc=False):
    """What stays of an instance that was taken out: what its removal said, and the record that it took out."""

    last: LastWrite
    instance: Instance | None  # None: there was none when the removal came
    at: float


class Tombstones:
    """The tombstones of one shard, each for TOMBSTONE_S and `most` at a time: a caller could make any number.

    Times given to it must not fall; the store passes a monotonic clock.
    """

    def __init__(self, most: int = MAX_TOMBSTONES) -> None:
        self._most = most
        # The oldest first. Of a plain one, whose first goes again and again, that is found ever more slowly.
        self._stones: OrderedDict[InstanceKey, Tombstone] = OrderedDict()

    def __len__(self) -> int:
        return len(self._stones)

    def put(self, key: InstanceKey, last: LastWrite, instance: Instance | None, now: float) -> None:
        """Remember a removal, in the place of an earlier one of the same instance."""
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
