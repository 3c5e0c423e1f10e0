"""Signed notes and verifier keys, with the example that Go's package documents."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from registry_core.security.audit.notes import (
    COSIGNATURE,
    MAX_SIGNATURES,
    BadNote,
    NoteSigner,
    parse_key,
    parse_note,
    parse_signature,
)

# The documentation of golang.org/x/mod/sumdb/note.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "\u2014 PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
# C2SP tlog-cosignature.
COSIGNED = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "\u2014 example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "\u2014 witness.example.com/w1 "
    "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)


def signer(name: str = "vertice-audit/eu-1a") -> NoteSigner:
    return NoteSigner(name, Ed25519PrivateKey.generate())


def test_the_documented_note_is_read_verified_and_written_as_it_was() -> None:
    note, key = parse_note(NOTE), parse_key(PETER)
    assert key.signed_at(note) == 0
    assert (str(note), str(key)) == (NOTE, PETER)


def test_the_documented_cosignature_is_read_and_has_its_time() -> None:
    note = parse_note(COSIGNED)
    assert str(note) == COSIGNED
    assert int.from_bytes(note.signatures[1].signature[:8]) == 1679315147


def test_a_note_that_was_altered_is_not_signed() -> None:
    assert parse_key(PETER).signed_at(parse_note(NOTE.replace("know", "knew"))) is None


def test_another_key_of_the_same_name_has_not_signed() -> None:
    one, other = signer(), signer()
    assert one.verifier.signed_at(one.sign("a\n")) == 0
    assert other.verifier.signed_at(one.sign("a\n")) is None


def test_a_witness_signs_the_text_and_the_time() -> None:
    log, witness = signer(), signer("vertice-audit/eu-1b")
    note = log.sign("a\nb\n")
    signed = note.with_signatures([witness.cosign(note.body, 1_700_000_000)])
    key = witness.verifier.of_kind(COSIGNATURE)
    assert key.signed_at(signed) == 1_700_000_000
    assert witness.verifier.signed_at(signed) is None, "a log's signature is none of a witness"
    signature = signed.signatures[1].signature
    later = (1_700_000_001).to_bytes(8) + signature[8:]
    moved = note.with_signatures([type(signed.signatures[1])(key.name, key.key_id, later)])
    assert key.signed_at(moved) is None


def test_a_newer_signature_of_the_same_key_replaces_the_older() -> None:
    log, witness = signer(), signer("vertice-audit/eu-1b")
    note = log.sign("a\n")
    for at in (1, 2):
        note = note.with_signatures([witness.cosign(note.body, at)])
    assert len(note.signatures) == 2
    assert witness.verifier.of_kind(COSIGNATURE).signed_at(note) == 2


def test_a_key_survives_its_text() -> None:
    for kind in (1, COSIGNATURE):
        key = signer().verifier.of_kind(kind)
        assert parse_key(f" {key}\n") == key


@pytest.mark.parametrize(
    ("key", "because"),
    [
        ("", "no verifier key"),
        ("a b+00000000+AQ==", "no verifier key"),
        ("PeterNeumann+c74f20a3+!", "not base64"),
        ("PeterNeumann+c74f20a3+AQ==", "no key of Ed25519"),
        (PETER.replace("+ARpc", "+CRpc"), "no key of Ed25519"),
        (PETER.replace("c74f20a3", "c74f20a4"), "its id is not that"),
        (PETER.replace("Peter", "Paul"), "its id is not that"),
    ],
)
def test_a_text_that_is_no_key_is_refused_with_the_reason(key: str, because: str) -> None:
    with pytest.raises(BadNote, match=because):
        parse_key(key)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "no signature\n",
        "no blank line\n\u2014 a AAAAAAA=\n",
        "text\n\nno dash\n",
        "text\n\n\u2014 a AAAA=AAA\n",
        "text\n\n\u2014 a AAAAAA==\n",
        "text\n\n\u2014 a AAAAAAA=",
        "text\n\n" + "\u2014 a AAAAAAA=\n" * (MAX_SIGNATURES + 1),
        "x" * 20_000 + "\n\n\u2014 a AAAAAAA=\n",
    ],
)
def test_a_text_that_is_no_note_is_refused(text: str) -> None:
    with pytest.raises(BadNote):
        parse_note(text)


def test_base64_has_one_form() -> None:
    with pytest.raises(BadNote):
        parse_signature("\u2014 a AAAAAAB=")
