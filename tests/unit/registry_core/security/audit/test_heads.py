"""Heads: what a log signs, and who else has signed it."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from registry_core.security.audit.heads import BadHead, SignedHead, parse_head, signed_head
from registry_core.security.audit.notes import COSIGNATURE, NoteSigner

LOG = NoteSigner("vertice-audit/eu-1a", Ed25519PrivateKey.generate())
WITNESS = NoteSigner("vertice-audit/eu-1b", Ed25519PrivateKey.generate())
HEAD = signed_head(LOG, 17, bytes(range(32)))


def test_a_head_survives_its_text() -> None:
    assert parse_head(str(HEAD)) == HEAD
    assert str(HEAD).split("\n")[:3] == [
        "vertice-audit/eu-1a",
        "17",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
    ]


def test_the_log_alone_signs_its_head() -> None:
    assert HEAD.is_signed_by(LOG.verifier)
    assert not HEAD.is_signed_by(WITNESS.verifier)
    forged = parse_head(str(HEAD).replace("\n17\n", "\n18\n"))
    assert not forged.is_signed_by(LOG.verifier)


def test_a_head_names_its_witnesses_and_when_they_signed() -> None:
    cosigned = SignedHead(HEAD.head, HEAD.note.with_signatures([WITNESS.cosign(HEAD.head.body, 1_700_000_000)]))
    assert cosigned.witnesses([WITNESS.verifier]) == {"vertice-audit/eu-1b": 1_700_000_000}
    assert cosigned.witnesses([WITNESS.verifier.of_kind(COSIGNATURE)]) == cosigned.witnesses([WITNESS.verifier])
    assert HEAD.witnesses([WITNESS.verifier]) == {}
    assert cosigned.is_signed_by(LOG.verifier)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("vertice-audit/eu-1a\n17", "vertice audit\n17"),
        ("\n17\n", "\n017\n"),
        ("\n17\n", "\n-1\n"),
        ("\n17\n", "\n999999999999999\n"),
        ("AAECAwQF", "AAECAwQ"),
        ("AAECAwQF", "!AECAwQF"),
        ("\n17\n", "\n"),
    ],
)
def test_a_text_that_is_no_head_is_refused(before: str, after: str) -> None:
    with pytest.raises(BadHead):
        parse_head(str(HEAD).replace(before, after, 1))
