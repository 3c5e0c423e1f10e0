"""Certificates over HTTP: who gets one, what it says, and what is denied."""

from __future__ import annotations

import asyncio
import hashlib
import time
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from cli.ca.authority_folder import AuthorityFolder
from cli.ca.authority_work import renew_intermediate, rotate
from registry_core.api import certificates
from registry_core.api.auth import API_KEY_HEADER, TOKEN_HEADER
from registry_core.api.certificates import MOST_SIGNING
from registry_core.authority_settings import AuthoritySettings
from registry_core.errors import SettingsError
from registry_core.replica_settings import ReplicaSettings
from registry_core.security.authority.issuer import Issued, Issuer
from registry_core.security.authority.rotation import RotationStep
from tests.authorities import DOMAIN, PASSPHRASE, authority_in, csr_of, settings_for, verified
from tests.integration.replicas import READY, Api, serving

SECRET = "a-secret-of-the-fleet"
TOKEN = {TOKEN_HEADER: SECRET}
CSR = csr_of(ec.generate_private_key(ec.SECP256R1()))


def key_of(service: str) -> dict[str, str]:
    return {API_KEY_HEADER: hashlib.sha256((service + SECRET).encode()).hexdigest()}


@pytest.fixture
def folder(tmp_path: Path) -> AuthorityFolder:
    """The folder of a new authority."""
    return authority_in(tmp_path / "ca")


def signing(folder: AuthorityFolder) -> ReplicaSettings:
    return msgspec.structs.replace(READY, secrets=(SECRET,), authority=settings_for(folder))


async def wanted(api: Api, service: str = "billing", headers: dict[str, str] | None = None) -> Any:
    return await api.call("POST", "/certificates", {"service_name": service, "csr": CSR}, headers=headers or TOKEN)


async def test_a_service_gets_a_certificate_with_its_own_key_alone(folder: AuthorityFolder) -> None:
    async with serving(signing(folder)) as api:
        answer = await wanted(api, "billing", key_of("billing"))
        assert answer.status == 201, answer.body
        leaf, intermediate = x509.load_pem_x509_certificates(answer.body["certificate"].encode())
        root = x509.load_pem_x509_certificates(answer.body["bundle"].encode())[0]
        leaf.verify_directly_issued_by(intermediate)
        intermediate.verify_directly_issued_by(root)
        assert answer.body["spiffe_id"] == "spiffe://fleet.example/service/billing"
        assert int(answer.body["serial"], 16) == leaf.serial_number
        assert answer.body["expires_in_seconds"] == pytest.approx(3600, abs=2)
        assert answer.body["renew_in_seconds"] == pytest.approx(2400, abs=2)
        other = await wanted(api, "mail_relay", key_of("billing"))
        assert (other.status, other.body["error"]) == (403, "Forbidden")
        nobody = await api.call("POST", "/certificates", {"service_name": "billing", "csr": CSR})
        assert nobody.status == 401
        metrics = (await api.call("GET", "/metrics")).body.decode()
        assert 'registry_certificates_total{outcome="issued"} 1.0' in metrics
        assert 'registry_certificates_total{outcome="Forbidden"} 1.0' in metrics


async def test_a_wrong_request_names_its_field(folder: AuthorityFolder) -> None:
    async with serving(signing(folder)) as api:
        for body, field in (
            ({"service_name": "billing", "csr": "nothing"}, "csr"),
            ({"service_name": "../operator", "csr": CSR}, "service_name"),
            ({"service_name": "billing"}, "csr"),
            ({"service_name": "billing", "csr": CSR, "lifetime": 10**9}, "lifetime"),
        ):
            answer = await api.call("POST", "/certificates", body, headers=TOKEN)
            assert (answer.status, answer.body["error"], answer.body["field"]) == (400, "ValidationError", field)
            assert answer.body["example"] or field == "lifetime"


async def test_a_registry_without_an_authority_says_so() -> None:
    async with serving(READY) as api:
        for method, path, body in (
            ("POST", "/certificates", {"service_name": "billing", "csr": CSR}),
            ("GET", "/certificates", None),
            ("GET", "/certificates/bundle", None),
        ):
            answer = await api.call(method, path, body)
            assert (answer.status, answer.body["error"]) == (404, "NoAuthority")
            assert "REGISTRY_CA_CERT" in answer.body["message"]


async def test_anybody_gets_the_roots_to_trust(folder: AuthorityFolder) -> None:
    async with serving(signing(folder)) as api:
        answer = await api.call("GET", "/certificates/bundle")
        assert answer.body == folder.trust.read_bytes()
        assert answer.headers["Content-Type"] == "application/pem-certificate-chain"
        again = await api.call("GET", "/certificates/bundle", headers={"If-None-Match": answer.headers["ETag"]})
        assert again.status == 304
        said = (await api.call("GET", "/certificates")).body
        assert (said["trust_domain"], said["zones"]) == (DOMAIN.trust_domain, list(DOMAIN.zones))
        assert said["bundle"] == answer.body.decode()


async def test_a_denied_service_gets_no_certificate_until_it_is_allowed(folder: AuthorityFolder) -> None:
    async with serving(signing(folder)) as api:
        for headers, status in ((key_of("ip_intel"), 403), ({}, 401), (TOKEN, 200)):
            denied = await api.call("POST", "/certificates/denied", {"service_name": "ip_intel"}, headers=headers)
            assert denied.status == status
        for spelling in ("ip_intel", "ip-intel"):
            answer = await wanted(api, spelling)
            assert (answer.status, answer.body["error"]) == (403, "Forbidden")
            assert "vertice ca allow" in answer.body["message"]
        assert (await wanted(api, "billing")).status == 201
        listed = (await api.call("GET", "/certificates/denied")).body
        assert [one["subject"] for one in listed["denied"]] == ["spiffe://fleet.example/service/ip-intel"]
        body = {"service_name": "ip-intel", "withdraw": True}
        assert (await api.call("POST", "/certificates/denied", body, headers=TOKEN)).body["denied"] == []
        assert (await wanted(api, "ip_intel")).status == 201
        assert (await api.call("POST", "/certificates/denied", body, headers=TOKEN)).status == 404


async def test_a_denied_certificate_is_listed_by_its_serial_number(folder: AuthorityFolder) -> None:
    async with serving(signing(folder)) as api:
        serial = (await wanted(api)).body["serial"]
        body = {"serial": serial.upper(), "reason": "lost"}
        assert (await api.call("POST", "/certificates/denied", body, headers=TOKEN)).status == 200
        (entry,) = (await api.call("GET", f"/certificates/denied?serial={serial}")).body["denied"]
        assert (entry["subject"], entry["reason"]) == (f"serial:{serial}", "lost")
        assert (await api.call("GET", "/certificates/denied?serial=ff")).body["denied"] == []
        assert api.replica.certificates.denied.is_denied(int(serial, 16), "spiffe://fleet.example/service/billing")
        assert (await wanted(api)).status == 201, "its service gets another one"
        for wrong in ({}, {"serial": "xyz"}, {"serial": "1", "service_name": "billing"}):
            assert (await api.call("POST", "/certificates/denied", wrong, headers=TOKEN)).status == 400


async def test_a_new_intermediate_is_used_without_a_restart_and_half_a_copy_is_not(folder: AuthorityFolder) -> None:
    key = folder.replicas.key
    async with serving(signing(folder)) as api:
        before = (await wanted(api)).body["issuer"]
        old_key = key.read_bytes()
        await asyncio.to_thread(renew_intermediate, folder, PASSPHRASE, time.time())
        new_key = key.read_bytes()
        key.write_bytes(old_key)  # only the certificate has been copied
        await api.replica.certificates.refresh()
        assert (await wanted(api)).body["issuer"] == before
        health = (await api.call("GET", "/health")).body
        assert health["status"] == "degraded"
        assert any("the key is not that of the certificate" in reason for reason in health["reasons"])
        key.write_bytes(new_key)
        await api.replica.certificates.refresh()
        assert (await wanted(api)).body["issuer"] != before
        assert not [r for r in (await api.call("GET", "/health")).body["reasons"] if "authority" in r]


async def test_each_step_of_a_rotation_is_trusted_by_the_roots_of_the_step_before(
    folder: AuthorityFolder, tmp_path: Path
) -> None:
    async with serving(signing(folder)) as api:
        bundles = [folder.trust.read_bytes()]
        for step in RotationStep:
            await asyncio.to_thread(partial(rotate, folder, step, PASSPHRASE, time.time(), longest_s=0))
            await api.replica.certificates.refresh()
            answer = (await wanted(api)).body
            for bundle in (bundles[-1], answer["bundle"].encode()):
                await asyncio.to_thread(verified, answer["certificate"].encode(), bundle, tmp_path)
            bundles.append(answer["bundle"].encode())
        assert bundles[0] not in bundles[-1]


async def test_a_replica_does_not_start_with_files_that_it_cannot_use(tmp_path: Path) -> None:
    (tmp_path / "a.crt").write_text("nothing")
    (tmp_path / "a.key").write_text("nothing")
    for files, because in (
        (("a.crt", "a.key"), "holds no certificates in PEM"),
        (("b.crt", "a.key"), "No such file or directory"),
    ):
        cert, key = (str(tmp_path / name) for name in files)
        settings = msgspec.structs.replace(READY, authority=AuthoritySettings(cert, key))
        with pytest.raises(SettingsError, match=f"REGISTRY_CA_CERT: .*{because}"):
            async with serving(settings):
                pass


async def test_no_more_certificates_are_signed_at_once_than_there_are_threads(
    folder: AuthorityFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    sign, most, now = Issuer.issue, 0, 0

    def slow(issuer: Issuer, service: str, csr: str, at: float, lifetime_s: float) -> Issued:
        nonlocal most, now
        now += 1
        most = max(most, now)
        time.sleep(0.02)
        now -= 1
        return sign(issuer, service, csr, at, lifetime_s)

    monkeypatch.setattr(Issuer, "issue", slow)
    async with serving(signing(folder)) as api:
        answers = await asyncio.gather(*(wanted(api) for _ in range(20)))
        assert most <= MOST_SIGNING
        assert {answer.status for answer in answers} == {201, 503}
        assert all("Retry-After" in answer.headers for answer in answers if answer.status == 503)


async def test_nothing_is_issued_before_the_deny_list_is_known(folder: AuthorityFolder) -> None:
    async with serving(signing(folder)) as api:
        assert (await wanted(api)).status == 201
        api.replica.certificates.denied.known = False
        answer = await wanted(api)
        assert (answer.status, answer.body["error"]) == (503, "StoreUnavailable")
    assert certificates.REFRESH_S <= 5.0
