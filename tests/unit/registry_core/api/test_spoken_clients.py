"""A follower's word on its clients counts; anybody else's does not."""

from __future__ import annotations

import time

import pytest
from aiohttp.test_utils import make_mocked_request

from registry_core.api.proxies import RequestOrigin
from registry_core.api.spoken_clients import SpokenClients
from registry_core.domain.chain import VIA_HEADER
from registry_core.errors import Unauthorized
from registry_core.ports.clock import SystemClock
from registry_core.security.identities import Identity, Proof, Role
from registry_core.security.keyring import Credentials, Keyring
from registry_core.security.signing_keys import SigningKey, follower_key, replica_key, shared_key
from registry_core.security.spoken_for import FOR_HEADER, spoken_for

SECRET = "a-long-random-word"
VIA = "0" * 16


def origin(headers: dict[str, str], role: Role | None = None) -> RequestOrigin | None:
    keyring = Keyring(Credentials((SECRET,)))
    identity = None if role is None else Identity(role, Proof.CERTIFICATE)
    clients = SpokenClients(keyring, lambda _: identity, SystemClock())
    return clients.origin(make_mocked_request("POST", "/register", {VIA_HEADER: VIA, **headers}))


def said(key: SigningKey, client: str = "203.0.113.9", *, ago_s: float = 0.0, target: str = "/register") -> str:
    return spoken_for(key, "POST", target, client=client, seal="", created=int(time.time() - ago_s))


@pytest.mark.parametrize("key", [follower_key(SECRET), shared_key(SECRET)], ids=lambda key: str(key.id))
def test_the_holder_of_the_secret_names_the_client(key: SigningKey) -> None:
    assert origin({FOR_HEADER: said(key)}) == RequestOrigin("203.0.113.9", "203.0.113.9")


def test_a_client_on_the_followers_machine_has_no_limits_by_address() -> None:
    found = origin({FOR_HEADER: said(follower_key(SECRET), "")})
    assert found is not None
    assert found.limited_as == ""


@pytest.mark.parametrize(
    "header",
    [
        said(follower_key("another secret")),
        said(replica_key(SECRET)),
        said(follower_key(SECRET), ago_s=3600),
        said(follower_key(SECRET), target="/heartbeat"),
        "203.0.113.9",
    ],
    ids=["another secret", "no such right", "late", "another request", "another form"],
)
def test_nobody_else_does(header: str) -> None:
    assert origin({FOR_HEADER: header}) is None


def test_a_certificate_of_a_follower_does_as_well() -> None:
    named = {"X-Forwarded-For": "10.1.1.1, 203.0.113.9"}
    assert origin(named, Role.FOLLOWER) == RequestOrigin("203.0.113.9", "203.0.113.9")
    assert origin(named, Role.SERVICE) is None
    assert origin(named) is None
    assert origin({"X-Forwarded-For": "unknown"}, Role.FOLLOWER) is None


def test_a_certificate_that_is_refused_names_nobody() -> None:
    def refuse(_: object) -> Identity:
        raise Unauthorized("it is denied")

    clients = SpokenClients(Keyring(Credentials((SECRET,))), refuse, SystemClock())
    assert clients.origin(make_mocked_request("GET", "/guard", {VIA_HEADER: VIA})) is None
