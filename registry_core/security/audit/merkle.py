"""The Merkle tree of RFC 9162 section 2.1: hashes, inclusion and consistency proofs, and their verification. Pure.

The hashes of a tree are kept in the order in which they become known: that of each leaf, followed by those of the
subtrees that it completes. So a tree only ever grows at its end, appending takes O(log n) hashes at most and two on
average, and every root and proof of every earlier size is read back from O(log^2 n) places.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeAlias

HASH_BYTES: Final = 32
_LEAF: Final = b"\x00"
_NODE: Final = b"\x01"
# RFC 9162 section 2.1.1: the hash of an empty list is the hash of an empty string.
EMPTY_ROOT: Final = hashlib.sha256().digest()

# Returns the stored hash at a position.
StoredHash: TypeAlias = Callable[[int], bytes]


class BadProof(ValueError):
    """Raised when a proof does not prove what it is for; its text is a clause."""


def leaf_hash(leaf: bytes) -> bytes:
    """Return the hash of a leaf."""
    return hashlib.sha256(_LEAF + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of a node with two children."""
    return hashlib.sha256(_NODE + left + right).digest()


# -- the stored form


def stored_count(size: int) -> int:
    """Return how many hashes a tree of `size` leaves stores."""
    return 2 * size - size.bit_count()


def stored_size(count: int) -> int:
    """Return the size of the largest tree that `count` stored hashes are enough for."""
    size = count // 2
    while stored_count(size + 1) <= count:
        size += 1
    return size


def stored_position(level: int, number: int) -> int:
    """Return where the hash of the `number`-th complete subtree of 2^level leaves is stored."""
    # It is stored right after its last leaf, and after the smaller subtrees that this leaf completes.
    return stored_count(((number + 1) << level) - 1) + level


class Frontier:
    """The roots of the complete subtrees at the right edge of a tree, the largest first: what appending needs."""

    def __init__(self, size: int = 0, roots: Sequence[bytes] = ()) -> None:
        self.size = size
        self._roots = list(roots)

    @classmethod
    def stored(cls, size: int, read: StoredHash) -> Frontier:
        """Return the frontier of a stored tree."""
        return cls(size, [read(stored_position(level, start >> level)) for start, level in _parts(0, size)])

    def copy(self) -> Frontier:
        """Return an independent copy."""
        return Frontier(self.size, self._roots)

    def append(self, leaf: bytes) -> list[bytes]:
        """Append a leaf, given by its hash. Return the hashes to store: it, and those of the subtrees it completes."""
        new = [leaf]
        roots, rest = self._roots, self.size
        while rest & 1:
            leaf = node_hash(roots.pop(), leaf)
            new.append(leaf)
            rest >>= 1
        roots.append(leaf)
        self.size += 1
        return new

    @property
    def roots(self) -> tuple[bytes, ...]:
        """The roots of its parts, from which a frontier can be made again."""
        return tuple(self._roots)

    @property
    def root(self) -> bytes:
        """The root of the whole tree."""
        return _joined(self._roots)


def root(size: int, read: StoredHash) -> bytes:
    """Return the root of the first `size` leaves."""
    return _range_hash(0, size, read)


def inclusion_proof(index: int, size: int, read: StoredHash) -> list[bytes]:
    """Return the proof that leaf `index` is in the tree of `size` leaves (section 2.1.3.1), lowest node first.

    Raises ValueError when there is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} in a tree of {size}")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_range_hash(middle, end, read))
            end = middle
        else:
            path.append(_range_hash(start, middle, read))
            start = middle
    return path[::-1]


def consistency_proof(first: int, second: int, read: StoredHash) -> list[bytes]:
    """Return the proof that the tree of `second` leaves continues that of `first` (section 2.1.4.1).

    It is empty for equal sizes and for an empty first tree. Raises ValueError when the first is the larger one.
    """
    if not 0 <= first <= second:
        raise ValueError(f"a tree of {first} does not precede one of {second}")
    if first in (0, second):
        return []
    path: list[bytes] = []
    start, end, is_known = 0, second, True  # known: the subtree is one whose hash the first root gives
    while first != end:
        middle = start + _split(end - start)
        if first <= middle:
            path.append(_range_hash(middle, end, read))
            end = middle
        else:
            path.append(_range_hash(start, middle, read))
            start, is_known = middle, False
    if not is_known:
        path.append(_range_hash(start, end, read))
    return path[::-1]


# -- verification


def check_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], expected: bytes) -> None:
    """Check that the leaf with hash `leaf` is number `index` under the root `expected` (section 2.1.3.2).

    Raises BadProof.
    """
    if not 0 <= index < size:
        raise BadProof(f"there is no line {index} among {size}")
    at, last, node = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise BadProof("the proof is too long")
        if at & 1 or at == last:
            node = node_hash(sibling, node)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        at, last = at >> 1, last >> 1
    if last:
        raise BadProof("the proof is too short")
    if node != expected:
        raise BadProof(f"line {index} is not the one that the head was signed over")


def check_consistency(first: int, second: int, proof: Sequence[bytes], old: bytes, new: bytes) -> None:
    """Check that the tree of `second` leaves under `new` continues that of `first` under `old` (section 2.1.4.2).

    Raises BadProof.
    """
    if not 0 <= first <= second:
        raise BadProof(f"the log went back from {first} lines to {second}")
    if first in (0, second):
        if proof or old != (new if first else EMPTY_ROOT):
            raise BadProof(f"there are two different logs of {first} lines")
        return
    path = list(proof) if first & (first - 1) else [old, *proof]
    if not path:
        raise BadProof("the proof is too short")
    at, last = first - 1, second - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    old_node = new_node = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise BadProof("the proof is too long")
        if at & 1 or at == last:
            old_node, new_node = node_hash(sibling, old_node), node_hash(sibling, new_node)
            while not at & 1 and at:
                at, last = at >> 1, last >> 1
        else:
            new_node = node_hash(new_node, sibling)
        at, last = at >> 1, last >> 1
    if last:
        raise BadProof("the proof is too short")
    if old_node != old or new_node != new:
        raise BadProof(f"the log of {second} lines does not continue that of {first}")


# -- ranges


def _split(size: int) -> int:
    """Return the largest power of two below `size`, which is 2 or more."""
    return 1 << (size - 1).bit_length() - 1


def _parts(start: int, end: int) -> Iterable[tuple[int, int]]:
    """Yield start and level of the complete subtrees that the leaves from `start` to `end` consist of.

    `start` is a multiple of a power of two that is no smaller than the range, as everywhere in this tree.
    """
    while start < end:
        level = (end - start).bit_length() - 1
        yield start, level
        start += 1 << level


def _range_hash(start: int, end: int, read: StoredHash) -> bytes:
    return _joined([read(stored_position(level, at >> level)) for at, level in _parts(start, end)])


def _joined(roots: Sequence[bytes]) -> bytes:
    if not roots:
        return EMPTY_ROOT
    joined = roots[-1]
    for one in reversed(roots[:-1]):
        joined = node_hash(one, joined)
    return joined
