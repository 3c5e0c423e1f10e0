"""The key of a log: made once, for its user alone."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from registry_core.security.audit.key import UnusableKey, public_in, signer_in

NAME = "vertice-audit/eu-1a"


def test_a_key_is_made_once_and_nobody_else_may_read_it(tmp_path: Path) -> None:
    first = signer_in(tmp_path, NAME)
    again = signer_in(tmp_path, "vertice-audit/another-name")
    assert first.verifier == again.verifier == public_in(tmp_path)
    assert first.verifier.name == NAME
    assert (tmp_path / "key.pem").stat().st_mode & 0o777 == 0o600
    head = first.sign("a\n")
    assert again.verifier.signed_at(head) == 0


def test_a_key_of_the_operators_own_is_used(tmp_path: Path) -> None:
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", tmp_path / "key.pem"], check=True)
    (tmp_path / "key.pem").chmod(0o600)
    assert signer_in(tmp_path, NAME).verifier == public_in(tmp_path)


def test_a_key_that_others_may_read_is_not_used(tmp_path: Path) -> None:
    signer_in(tmp_path, NAME)
    (tmp_path / "key.pem").chmod(0o640)
    with pytest.raises(UnusableKey, match="others may read it"):
        signer_in(tmp_path, NAME)


def test_a_file_that_is_no_key_or_not_this_one_is_not_used(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        signer_in(tmp_path / folder, NAME)
    (tmp_path / "a" / "key.pub").write_bytes((tmp_path / "b" / "key.pub").read_bytes())
    with pytest.raises(UnusableKey, match="does not belong to the key"):
        signer_in(tmp_path / "a", NAME)
    (tmp_path / "a" / "key.pub").write_bytes(b"a\n")
    with pytest.raises(UnusableKey, match="no key of Ed25519"):
        public_in(tmp_path / "a")
    (tmp_path / "b" / "key.pem").write_bytes(b"a\n")
    with pytest.raises(UnusableKey, match="no private key in PEM"):
        signer_in(tmp_path / "b", NAME)
    rsa = ["openssl", "genpkey", "-algorithm", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-out"]
    subprocess.run([*rsa, tmp_path / "b" / "key.pem"], check=True)
    with pytest.raises(UnusableKey, match="no Ed25519 key"):
        signer_in(tmp_path / "b", NAME)
