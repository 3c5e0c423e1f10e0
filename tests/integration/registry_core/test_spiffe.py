"""Certificates as SPIFFE's own library for Go sees them, and with Go's checks of chains and names."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from agent.certificates.keys import new_key_and_request
from cli.ca.authority_folder import AuthorityFolder
from cli.ca.authority_work import rotate
from registry_core.security.authority.authority_files import AuthorityChain, key_pem
from registry_core.security.authority.certificates import Domain, Signer, new_key, pem_of, service_certificate
from registry_core.security.authority.issuer import issuer_of
from registry_core.security.authority.lifetimes import service_validity
from registry_core.security.authority.rotation import RotationStep
from tests.authorities import DOMAIN, PASSPHRASE, authority_in, new_authority
from tests.go_programs import BUILD_TIMEOUT_S, built

FOLDER = Path(__file__).resolve().parents[2] / "spiffe_go"
pytestmark = pytest.mark.timeout(BUILD_TIMEOUT_S + 60)


def judged(questions: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what go-spiffe says. Skips the test, saying why, where there is no Go."""
    program = built(FOLDER)
    if isinstance(program, str):
        pytest.skip(f"NOT JUDGED BY SPIFFE: {program}")
    done = subprocess.run(
        [str(program)],
        input=json.dumps(list(questions)),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
        env={"PATH": os.environ.get("PATH", "")},
    )
    answers: list[dict[str, Any]] = json.loads(done.stdout)
    return answers


def question(chain: bytes, key: bytes, bundle: bytes, *names: str) -> dict[str, Any]:
    return {
        "trust_domain": DOMAIN.trust_domain,
        "chain": chain.decode(),
        "key": key.decode(),
        "bundle": bundle.decode(),
        "names": list(names),
    }


def issued(folder: AuthorityFolder, service: str) -> tuple[bytes, bytes]:
    """Return the chain and the key of a certificate by the authority in a folder."""
    cert, key = (path.read_bytes() for path in folder.replicas)
    pair = new_key_and_request(service)
    return issuer_of(cert, key).issue(service, pair.request, time.time(), 3600).chain, pair.key


def test_a_certificate_is_an_svid_and_for_its_own_names_alone(tmp_path: Path) -> None:
    folder = authority_in(tmp_path / "ca")
    chain, key = issued(folder, "ip_intel")
    good = "ip-intel.vertice.internal", "ip_intel.vertice.internal"
    bad = "billing.vertice.internal", "ip-intel.elsewhere"
    (said,) = judged([question(chain, key, folder.trust.read_bytes(), *good, *bad)])
    assert (said["parsed"], said["verified"]) == ("", "")
    assert said["id"] == "spiffe://fleet.example/service/ip_intel"
    assert [bool(said["names"][name]) for name in (*good, *bad)] == [False, False, True, True]


def test_every_step_of_a_rotation_is_trusted_with_the_roots_before_and_after_it(tmp_path: Path) -> None:
    folder, questions = authority_in(tmp_path / "ca"), []
    before = folder.trust.read_bytes()
    held = issued(folder, "billing")
    for step in RotationStep:
        rotate(folder, step, PASSPHRASE, time.time(), longest_s=0)
        after = folder.trust.read_bytes()
        fresh = issued(folder, "billing")
        questions += [question(*fresh, before), question(*fresh, after), question(*held, before)]
        if step is not RotationStep.RETIRE:  # by then no certificate of the old root is left
            questions.append(question(*held, after))
        before, held = after, fresh if step is RotationStep.SIGN else held
    assert [said["verified"] for said in judged(questions)] == [""] * len(questions)


def test_go_refuses_what_a_stolen_intermediate_signs_for_others() -> None:
    _, intermediate, chain = new_authority()
    valid = service_validity(time.time(), 3600, time.time() + 9999)
    questions = []
    for domain in (Domain("other.example", ("vertice.internal",)), Domain("fleet.example", ("example.org",))):
        key = new_key()
        stolen = service_certificate(intermediate, "billing", domain, key.public_key(), valid)
        pem = pem_of([stolen, intermediate.certificate])
        questions.append(question(pem, key_pem(key), chain.bundle, "billing.example.org"))
    for said in judged(questions):
        assert said["verified"]
        assert all(said["names"].values())


def test_an_intermediate_signs_no_further_authority() -> None:
    _, intermediate, chain = new_authority()
    # A holder of the key can make one, and nobody trusts what it signs.
    valid = service_validity(time.time(), 3600, time.time() + 9999)
    below = Signer(intermediate.certificate, intermediate.key)
    key = ec.generate_private_key(ec.SECP256R1())
    leaf = service_certificate(below, "billing", DOMAIN, key.public_key(), valid)
    under = service_certificate(Signer(leaf, key), "mail_relay", DOMAIN, new_key().public_key(), valid)
    pem = pem_of([under, leaf, intermediate.certificate])
    (said,) = judged([question(pem, key_pem(key), AuthorityChain(chain.intermediate, (), chain.roots).bundle)])
    assert said["verified"]
