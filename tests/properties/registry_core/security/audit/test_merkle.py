"""Any tree, proof and alteration of a proof: our tree against the recursive definition of RFC 9162 section 2.1."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_core.security.audit.merkle import (
    BadProof,
    Frontier,
    check_consistency,
    check_inclusion,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    root,
    stored_count,
)

LINES = st.lists(st.binary(max_size=8), min_size=1, max_size=70)


def split(count: int) -> int:
    k = 1
    while k * 2 < count:
        k *= 2
    return k


def mth(leaves: list[bytes]) -> bytes:
    """Section 2.1.1."""
    if not leaves:
        return hashlib.sha256().digest()
    if len(leaves) == 1:
        return hashlib.sha256(b"\x00" + leaves[0]).digest()
    k = split(len(leaves))
    return hashlib.sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path(m: int, leaves: list[bytes]) -> list[bytes]:
    """Section 2.1.3.1."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*path(m, leaves[:k]), mth(leaves[k:])]
    return [*path(m - k, leaves[k:]), mth(leaves[:k])]


def subproof(m: int, leaves: list[bytes], *, known: bool) -> list[bytes]:
    """Section 2.1.4.1."""
    if m == len(leaves):
        return [] if known else [mth(leaves)]
    k = split(len(leaves))
    if m <= k:
        return [*subproof(m, leaves[:k], known=known), mth(leaves[k:])]
    return [*subproof(m - k, leaves[k:], known=False), mth(leaves[:k])]


def stored(leaves: list[bytes]) -> list[bytes]:
    frontier = Frontier()
    return [one for leaf in leaves for one in frontier.append(leaf_hash(leaf))]


@given(LINES)
def test_appending_gives_the_root_of_the_definition(leaves: list[bytes]) -> None:
    frontier = Frontier()
    for size, leaf in enumerate(leaves, 1):
        frontier.append(leaf_hash(leaf))
        assert frontier.root == mth(leaves[:size])
    tree = stored(leaves)
    assert len(tree) == stored_count(len(leaves))
    assert Frontier(len(leaves), Frontier.stored(len(leaves), tree.__getitem__).roots).root == mth(leaves)


@given(LINES, st.data())
def test_proofs_are_those_of_the_definition_and_are_accepted(leaves: list[bytes], data: st.DataObject) -> None:
    tree = stored(leaves).__getitem__
    size = data.draw(st.integers(1, len(leaves)))
    index, first = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    proof = inclusion_proof(index, size, tree)
    assert proof == path(index, leaves[:size])
    check_inclusion(leaf_hash(leaves[index]), index, size, proof, root(size, tree))
    proof = consistency_proof(first, size, tree)
    assert proof == subproof(first, leaves[:size], known=True)
    check_consistency(first, size, proof, mth(leaves[:first]), mth(leaves[:size]))


def spoilt(proof: list[bytes], data: st.DataObject) -> list[bytes]:
    """Return the proof with a hash flipped, dropped, added, or two of them swapped."""
    how = data.draw(st.sampled_from(["flip", "drop", "add", "swap"] if proof else ["add"]))
    at = data.draw(st.integers(0, max(0, len(proof) - 1)))
    match how:
        case "flip":
            return [*proof[:at], bytes([proof[at][0] ^ 1]) + proof[at][1:], *proof[at + 1 :]]
        case "drop":
            return [*proof[:at], *proof[at + 1 :]]
        case "swap" if len(proof) > 1 and proof[0] != proof[-1]:
            return [proof[-1], *proof[1:-1], proof[0]]
        case _:
            return [*proof[:at], b"\x00" * 32, *proof[at:]]


@given(LINES, st.data())
def test_a_spoilt_proof_is_refused(leaves: list[bytes], data: st.DataObject) -> None:
    tree, size = stored(leaves).__getitem__, len(leaves)
    index, first = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    proof = spoilt(inclusion_proof(index, size, tree), data)
    with pytest.raises(BadProof):
        check_inclusion(leaf_hash(leaves[index]), index, size, proof, mth(leaves))
    proof = spoilt(consistency_proof(first, size, tree), data)
    with pytest.raises(BadProof):
        check_consistency(first, size, proof, mth(leaves[:first]), mth(leaves))


@given(LINES, st.data())
def test_an_altered_history_is_refused_whatever_its_proof(leaves: list[bytes], data: st.DataObject) -> None:
    first = data.draw(st.integers(1, len(leaves)))
    at = data.draw(st.integers(0, first - 1))
    forged = [*leaves[:at], leaves[at] + b"!", *leaves[at + 1 :]]
    proof = consistency_proof(first, len(forged), stored(forged).__getitem__)
    with pytest.raises(BadProof):
        check_consistency(first, len(forged), proof, mth(leaves[:first]), mth(forged))
    proof = inclusion_proof(at, len(forged), stored(forged).__getitem__)
    with pytest.raises(BadProof):
        check_inclusion(leaf_hash(forged[at]), at, len(leaves), proof, mth(leaves))
