"""Proofs as files."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from registry_core.security.audit.heads import signed_head
from registry_core.security.audit.merkle import BadProof, Frontier, inclusion_proof, leaf_hash
from registry_core.security.audit.notes import BadNote, NoteSigner
from registry_core.security.audit.proofs import BadProofFile, LineProof, decoded_hashes, encoded, parse_proof

SIGNER = NoteSigner("vertice-audit/eu-1a", Ed25519PrivateKey.generate())


def proof_of(index: int, size: int) -> LineProof:
    frontier, tree = Frontier(), list[bytes]()
    for number in range(size):
        tree += frontier.append(leaf_hash(b"line %d" % number))
    hashes = tuple(inclusion_proof(index, size, tree.__getitem__))
    return LineProof(b"line %d" % index, index, hashes, signed_head(SIGNER, size, frontier.root))


@pytest.mark.parametrize(("index", "size"), [(0, 1), (3, 11), (10, 11)])
def test_a_proof_survives_its_file_and_holds(index: int, size: int) -> None:
    proof = parse_proof(str(proof_of(index, size)))
    assert proof == proof_of(index, size)
    proof.check()


def test_the_file_begins_as_others_expect_it() -> None:
    assert str(proof_of(3, 11)).startswith("c2sp.org/tlog-proof@v1\nextra bGluZSAz\nindex 3\n")


def test_a_proof_of_another_line_does_not_hold() -> None:
    text = str(proof_of(3, 11))
    for before, after in (("bGluZSAz", "bGluZSA0"), ("index 3", "index 4")):
        with pytest.raises(BadProof):
            parse_proof(text.replace(before, after)).check()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("c2sp.org/tlog-proof@v1", "c2sp.org/tlog-proof@v2"),
        ("extra ", "extra"),
        ("index 3", "index 03"),
        ("\n\nvertice-audit", "\nvertice-audit"),
        ("\n11\n", "\neleven\n"),
        ("bGluZSAz", "bGluZSA"),
    ],
)
def test_a_file_that_is_no_proof_is_refused(before: str, after: str) -> None:
    with pytest.raises(BadProofFile):
        parse_proof(str(proof_of(3, 11)).replace(before, after, 1))


def test_hashes_are_of_their_length_and_few() -> None:
    assert decoded_hashes(encoded([bytes(32)])) == (bytes(32),)
    for bad in (["AAAA"], ["!"], encoded([bytes(32)] * 65)):
        with pytest.raises(BadNote):
            decoded_hashes(bad)
