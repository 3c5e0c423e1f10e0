"""What a follower proves to the registry that it follows, and what that one lets it do."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from registry_core.replica_settings import ReplicaSettings
from registry_core.security.access_settings import AccessSettings
from registry_core.security.client_settings import ClientTlsSettings
from registry_core.security.identities import Role
from registry_core.security.issued_keys import IssuedKey
from registry_core.security.pem_paths import KeyPair
from registry_core.security.sending import TOKEN_HEADER, SenderKeys
from registry_core.security.signing_keys import SigningKey, follower_key
from tests.certificates import Authority
from tests.integration.agents import line_to
from tests.integration.followers import follower_in, following_at
from tests.integration.replicas import READY, serving
from tests.integration.tls import TlsFiles, tls_files
from tests.programs import eventually

SECRET = "a-long-random-word"
ISSUED = IssuedKey("k-0123456789ab", Role.FOLLOWER, "s" * 43, datetime(2026, 1, 1, tzinfo=UTC))
GUARDED = msgspec.structs.replace(
    READY, secrets=(SECRET,), access=AccessSettings(reads_are_open=False, issued=(ISSUED,))
)


@pytest.mark.parametrize("key", [follower_key(SECRET), ISSUED.signing_key], ids=["the secret", "a key of its own"])
async def test_a_registry_whose_reads_need_a_key_is_followed_with_one(key: SigningKey) -> None:
    async with serving(GUARDED) as api, following_at(api.url, keys=SenderKeys(key)) as follower:
        assert follower_in(follower).state().state == "ready"


async def test_a_follower_with_a_wrong_secret_says_so_and_answers_nothing() -> None:
    keys = SenderKeys(follower_key("another-long-word"))
    async with serving(GUARDED) as api, following_at(api.url, keys=keys, reads=False) as follower:
        await eventually(lambda: "401" in follower_in(follower).state().problem, "it was refused")
        assert follower_in(follower).state().problem == "HTTP 401 WrongSignature"
        assert (await follower.call("GET", "/services")).status == 503


async def test_two_secrets_of_a_rotation_are_tried() -> None:
    keys = SenderKeys(follower_key("the-next-long-word"), other=follower_key(SECRET))
    async with serving(GUARDED) as api, following_at(api.url, keys=keys):
        pass


async def test_a_follower_may_read_and_may_not_write() -> None:
    async with serving(GUARDED) as api, following_at(api.url, keys=SenderKeys(follower_key(SECRET))) as follower:
        requests = follower_in(follower).link.requests
        body = msgspec.json.encode({"service_name": "osint_service", "host": "10.0.0.1", "port": 8034})
        within = follower_in(follower).watch._timeout
        for path in ("/register", "/guard/release"):
            sent = body if path == "/register" else None
            async with (await requests.open("POST", api.url, path, within=within, body=sent)).response as response:
                assert response.status == 403, path


@pytest.fixture
def files(tmp_path: Path) -> TlsFiles:
    return tls_files(tmp_path, Authority(tmp_path / "fleet"))


def towards(files: TlsFiles, uri: str) -> ReplicaSettings:
    """Return the settings of a follower that trusts the authority of `files`, and has a certificate of it."""
    own = files.authority.issue(uri)
    tls = ClientTlsSettings(str(files.authority.ca), KeyPair(str(own.cert), str(own.key)))
    return msgspec.structs.replace(READY, client_tls=tls)


async def test_a_follower_proves_who_it_is_by_its_certificate(files: TlsFiles) -> None:
    registry = msgspec.structs.replace(GUARDED, tls=files.settings(mutual=True, required=True).tls)
    context = files.trusting(files.authority.issue("URI:spiffe://fleet.example/role/operator"))
    async with serving(registry, tls=context) as api:
        settings = towards(files, "URI:spiffe://fleet.example/role/follower")
        async with following_at(api.url, settings=settings) as follower:
            await api.register("osint_service", "10.0.0.1")
            await eventually(lambda: len(follower.replica.view.catalog) == 1, "the change came over TLS")
        stranger = towards(files, "URI:spiffe://other.example/role/follower")
        async with following_at(api.url, settings=stranger, reads=False) as follower:
            await eventually(lambda: "401" in follower_in(follower).state().problem, "it was refused")


async def test_a_follower_does_not_follow_a_registry_whose_authority_it_does_not_trust(files: TlsFiles) -> None:
    async with (
        serving(files.settings(), tls=files.trusting()) as api,
        following_at(api.url, reads=False) as follower,
    ):
        await eventually(lambda: follower_in(follower).watch.losses > 0, "it tried")
        assert "certificate" in follower_in(follower).state().problem


async def test_what_the_registry_denies_is_refused_at_the_followers_own_port(files: TlsFiles) -> None:
    registry = msgspec.structs.replace(READY, secrets=(SECRET,))
    own = msgspec.structs.replace(files.settings(mutual=True), client_tls=ClientTlsSettings(str(files.authority.ca)))
    headers = {TOKEN_HEADER: SECRET}
    async with (
        serving(registry) as api,
        line_to(api.replica.listen.port) as line,
        following_at(line.url, settings=own) as follower,
    ):
        denied = follower.replica.certificates
        said = await api.call("POST", "/certificates/denied", {"service_name": "ip_intel"}, headers=headers)
        assert said.status == 200
        await denied.refresh()
        assert denied.denied.is_denied(7, "spiffe://vertice.internal/service/ip-intel")
        line.down = True
        line.cut()
        await denied.refresh()
        assert denied.denied.is_denied(7, "spiffe://vertice.internal/service/ip-intel"), "that stays"
