"""The Merkle tree: held to the published vectors, and to the definition of RFC 9162 written down as it stands there."""

from __future__ import annotations

import hashlib

import pytest

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
    stored_position,
    stored_size,
)

# The tests of google/certificate-transparency and of transparency-dev/merkle: leaves, and the roots of the first
# one, of the first two, ...
LEAVES = [
    bytes.fromhex(leaf)
    for leaf in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
# Index and size, and the proof, lowest node first.
INCLUSION = {
    (0, 1): [],
    (0, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (5, 8): [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 3): ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"],
    (1, 5): [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}
CONSISTENCY = {
    (1, 1): [],
    (1, 8): [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ],
    (6, 8): [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ],
    (2, 5): [
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    ],
}


def stored(leaves: list[bytes]) -> list[bytes]:
    frontier = Frontier()
    return [one for leaf in leaves for one in frontier.append(leaf_hash(leaf))]


TREE = stored(LEAVES)


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_of_the_published_vectors(size: int) -> None:
    assert root(size, TREE.__getitem__).hex() == ROOTS[size - 1]
    assert Frontier.stored(size, TREE.__getitem__).root.hex() == ROOTS[size - 1]


@pytest.mark.parametrize(("index", "size"), INCLUSION)
def test_inclusion_proofs_are_those_of_the_published_vectors(index: int, size: int) -> None:
    proof = inclusion_proof(index, size, TREE.__getitem__)
    assert [one.hex() for one in proof] == INCLUSION[index, size]


@pytest.mark.parametrize(("first", "second"), CONSISTENCY)
def test_consistency_proofs_are_those_of_the_published_vectors(first: int, second: int) -> None:
    proof = consistency_proof(first, second, TREE.__getitem__)
    assert [one.hex() for one in proof] == CONSISTENCY[first, second]


def test_an_empty_log_has_the_hash_of_nothing() -> None:
    assert Frontier().root == root(0, TREE.__getitem__) == hashlib.sha256(b"").digest()


def test_a_stored_tree_has_room_for_what_it_has_and_no_more() -> None:
    for size in range(200):
        assert stored_size(stored_count(size)) == size
        assert stored_size(stored_count(size + 1) - 1) == size, "a subtree without its root is not there yet"


def test_the_hash_of_a_leaf_stands_before_those_of_the_subtrees_that_it_completes() -> None:
    assert [stored_position(0, number) for number in range(5)] == [0, 1, 3, 4, 7]
    assert [stored_position(1, number) for number in range(2)] == [2, 5]
    assert stored_position(2, 0) == 6


def test_what_does_not_exist_has_no_proof() -> None:
    for index, size in ((-1, 8), (8, 8), (0, 0)):
        with pytest.raises(ValueError, match="no leaf"):
            inclusion_proof(index, size, TREE.__getitem__)
    with pytest.raises(ValueError, match="does not precede"):
        consistency_proof(8, 7, TREE.__getitem__)
    with pytest.raises(BadProof, match="no line 8"):
        check_inclusion(leaf_hash(b""), 8, 8, [], bytes(32))


def test_a_log_that_went_back_continues_nothing() -> None:
    with pytest.raises(BadProof, match="went back from 8 lines to 7"):
        check_consistency(8, 7, [], bytes.fromhex(ROOTS[7]), bytes.fromhex(ROOTS[6]))


def test_two_logs_of_one_size_are_one_or_a_fork() -> None:
    one, other = bytes.fromhex(ROOTS[7]), bytes.fromhex(ROOTS[6])
    check_consistency(8, 8, [], one, one)
    with pytest.raises(BadProof, match="two different logs of 8 lines"):
        check_consistency(8, 8, [], one, other)
    with pytest.raises(BadProof):
        check_consistency(0, 8, [], one, one)
    with pytest.raises(BadProof):
        check_consistency(8, 8, [other], one, one)
