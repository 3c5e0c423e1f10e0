"""Keys and requests of the agent, and the certificates that it reads back."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from agent.certificates.keys import NotOurCertificate, new_key_and_request, read_pair
from registry_core.security.authority.requests import requested_key
from tests.authorities import new_issuer


def test_a_request_is_one_that_the_registry_accepts_and_its_certificate_is_read_back() -> None:
    key, request = new_key_and_request("ip_intel")
    requested_key(request)
    issued = new_issuer().issue("ip_intel", request, time.time(), 3600)
    read = read_pair(issued.chain, key)
    assert read.serial == issued.serial
    assert read.uris == ("spiffe://fleet.example/service/ip_intel",)
    assert read.not_after - read.not_before == pytest.approx(3900, abs=2)


def test_each_key_is_new() -> None:
    assert new_key_and_request("billing").key != new_key_and_request("billing").key


def test_a_certificate_of_another_key_is_refused() -> None:
    (_, request), (other, _) = new_key_and_request("billing"), new_key_and_request("billing")
    issued = new_issuer().issue("billing", request, time.time(), 3600)
    with pytest.raises(NotOurCertificate, match="not that of the key"):
        read_pair(issued.chain, other)
    for chain, key in ((b"", other), (issued.chain, b""), (b"\xff", b"\xff")):
        with pytest.raises(NotOurCertificate, match="cannot be read"):
            read_pair(chain, key)


def test_an_agent_without_certificates_does_not_load_cryptography() -> None:
    check = "import sys, agent.sidecar, cli.commands.agent; print('cryptography' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=30, check=True)
    assert out.stdout.strip() == "False"


def test_a_replica_that_is_no_authority_does_not_load_cryptography() -> None:
    check = (
        "import sys, registry_core.replica, registry_core.replica_settings as s; "
        "registry_core.replica.Replica(s.ReplicaSettings()); print('cryptography' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, timeout=30, check=True)
    assert out.stdout.strip() == "False"
