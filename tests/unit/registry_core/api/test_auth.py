"""Credentials: who they make a caller, which way decides, and what the caller may then do."""

from __future__ import annotations

from typing import Any
from unittest import mock

import pytest
from aiohttp.test_utils import make_mocked_request

from registry_core.api.auth import API_KEY_HEADER, CALLER, TOKEN_HEADER, Authenticator, Caller
from registry_core.api.endpoints import ENDPOINTS
from registry_core.api.plain_forms import PlainPolicy, PlainRefused
from registry_core.errors import Forbidden, Unauthorized
from registry_core.ports.once import signed_once
from registry_core.security.access_settings import PlainForms
from registry_core.security.identities import Identity, Proof, Role
from registry_core.security.keyring import Credentials, Keyring
from registry_core.security.nonces import Nonces
from registry_core.security.rights import Right
from registry_core.security.signature_errors import MalformedSignature, OutOfTime, Replayed, UnknownKey, WrongSignature
from registry_core.security.signatures import signed
from registry_core.security.signing_keys import SigningKey, api_key, replica_key, service_key, shared_key
from tests.samples import FakeClock

CLOCK = FakeClock()
READ_KEY = "a-key-for-reading-alone"
CERTIFIED = Identity(Role.SERVICE, Proof.CERTIFICATE, "billing", "serial:1")


def authenticator(
    *secrets: str,
    is_open: bool = False,
    reads_are_open: bool = True,
    certified: Identity | None = None,
    plain: PlainForms = PlainForms.WARN,
    store_lets_once: bool = False,
) -> Authenticator:
    return Authenticator(
        Keyring(Credentials(secrets, (READ_KEY,))),
        Nonces(CLOCK.wall() - 1000),
        PlainPolicy(plain, CLOCK),
        CLOCK,
        is_open=is_open,
        reads_are_open=reads_are_open,
        store_lets_once=store_lets_once,
        certified=lambda _: certified,
    )


BOTH = authenticator("old", "new")


async def caller_of(headers: dict[str, str], who: Authenticator = BOTH, name: str = "register") -> Caller:
    endpoint = next(one for one in ENDPOINTS if one.name == name)
    request = make_mocked_request(endpoint.method, endpoint.path, headers=headers)
    who.check(request, endpoint)
    return request[CALLER]


def signature(key: SigningKey, method: str = "POST", path: str = "/register", **more: Any) -> dict[str, str]:
    created = more.pop("created", int(CLOCK.wall()))
    return signed(key, method, path, created=created, nonce=more.pop("nonce", "n" * 20), **more)


async def test_an_open_registry_asks_nobody() -> None:
    caller = await caller_of({}, authenticator(is_open=True))
    caller.require(Right.WRITE, "ip_intel")
    assert caller.may_displace


@pytest.mark.parametrize("secret", ["old", "new"])
async def test_either_secret_is_valid_during_a_rotation(secret: str) -> None:
    (await caller_of({TOKEN_HEADER: secret})).require(Right.WRITE, "anything")
    (await caller_of({API_KEY_HEADER: api_key("ip_intel", secret)})).require(Right.WRITE, "ip_intel")
    signing = authenticator("old", "new")
    caller = await caller_of(signature(shared_key(secret)), signing)
    caller.require(Right.WRITE, "anything")
    assert caller.identity.key_id == ("shared#1" if secret == "old" else "shared#2")
    (await caller_of(signature(service_key("ip_intel", secret)), signing)).require(Right.WRITE, "ip_intel")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {TOKEN_HEADER: ""},
        {TOKEN_HEADER: "older"},
        {TOKEN_HEADER: "old,new"},
        {API_KEY_HEADER: ""},
        {API_KEY_HEADER: "0" * 63},
        {API_KEY_HEADER: "z" * 64},
        {"Authorization": "Bearer wrong"},
        {"Authorization": f"Basic {READ_KEY}"},
        {TOKEN_HEADER: "wrong", API_KEY_HEADER: api_key("ip_intel", "old")},
        {"Signature-Input": "vertice=()", TOKEN_HEADER: "old"},
        {"Signature": "vertice=::", TOKEN_HEADER: "old"},
    ],
)
async def test_no_credential_and_a_wrong_one_are_unauthorized(headers: dict[str, str]) -> None:
    with pytest.raises(Unauthorized):
        await caller_of(headers)


async def test_a_key_is_valid_for_its_own_service_only() -> None:
    caller = await caller_of({API_KEY_HEADER: api_key("ip_intel", "old")})
    for other in ("billing", "ip-intel", "ip_intel2"):
        with pytest.raises(Forbidden):
            caller.require(Right.WRITE, other)


@pytest.mark.parametrize("name", ["restore", "release_guard"])
async def test_a_service_has_no_right_that_concerns_every_service(name: str) -> None:
    path = next(one.path for one in ENDPOINTS if one.name == name)
    for headers in (
        {API_KEY_HEADER: api_key("ip_intel", "old")},
        signature(service_key("ip_intel", "old"), path=path),
    ):
        with pytest.raises(Forbidden):
            await caller_of(headers, authenticator("old"), name)


async def test_an_api_key_whose_service_is_not_named_proves_nothing() -> None:
    closed = authenticator("old", reads_are_open=False)
    with pytest.raises(Forbidden, match="concerns its own service"):
        await caller_of({API_KEY_HEADER: "0" * 64}, closed, "services")


async def test_only_a_caller_that_may_write_everything_takes_a_living_instances_address() -> None:
    assert (await caller_of({TOKEN_HEADER: "new"})).may_displace
    assert not (await caller_of({API_KEY_HEADER: api_key("ip_intel", "new")})).may_displace


async def test_the_first_way_that_is_used_decides() -> None:
    certified = authenticator("old", certified=CERTIFIED)
    token = {TOKEN_HEADER: "old"}
    assert (await caller_of(token, certified)).identity == CERTIFIED
    both = {**signature(service_key("ip_intel", "old")), **token}
    assert (await caller_of(both, certified)).identity.name == "service:ip-intel"


async def test_the_read_key_reads_and_does_nothing_else() -> None:
    closed = authenticator("old", reads_are_open=False)
    bearer = {"Authorization": f"Bearer {READ_KEY}"}
    for name in ("services", "watch", "metrics", "health", "guard"):
        assert (await caller_of(bearer, closed, name)).identity.role is Role.READER
        with pytest.raises(Unauthorized, match="reading needs a credential"):
            await caller_of({}, closed, name)
    for name in ("register", "restore"):
        with pytest.raises(Forbidden):
            await caller_of(bearer, closed, name)
    await caller_of({}, closed, "live")


async def test_open_reads_look_at_no_credential() -> None:
    assert (await caller_of({TOKEN_HEADER: "wrong"}, BOTH, "services")).identity.role is Role.ANYONE
    with pytest.raises(Unauthorized):
        await caller_of({TOKEN_HEADER: "wrong"}, BOTH, "acknowledge")
    assert (await caller_of({}, BOTH, "acknowledge")).identity.role is Role.ANYONE


@pytest.mark.parametrize("off_s", [-301, 302])
async def test_a_late_and_a_future_request_are_refused(off_s: int) -> None:
    with pytest.raises(OutOfTime):
        await caller_of(signature(shared_key("old"), created=int(CLOCK.wall()) + off_s), authenticator("old"))


async def test_a_replayed_a_foreign_and_a_retargeted_request_are_refused() -> None:
    who = authenticator("old")
    genuine = signature(shared_key("old"))
    await caller_of(genuine, who)
    with pytest.raises(Replayed):
        await caller_of(genuine, who)
    with pytest.raises(WrongSignature):
        await caller_of(signature(shared_key("another")), who)
    with pytest.raises(WrongSignature):
        await caller_of(signature(shared_key("old"), nonce="m" * 20), who, "restore")
    with pytest.raises(UnknownKey):
        await caller_of(signature(SigningKey("k-0123456789ab", "old")), who)


async def test_a_forged_request_does_not_use_up_the_nonce_of_a_genuine_one() -> None:
    who = authenticator("old")
    with pytest.raises(WrongSignature):
        await caller_of(signature(shared_key("forged")), who)
    await caller_of(signature(shared_key("old")), who)


async def test_a_replica_reads_and_does_not_write() -> None:
    who = authenticator("old", reads_are_open=False)
    path = "/services"
    caller = await caller_of(signature(replica_key("old"), "GET", path), who, "services")
    assert caller.identity.name == "replica"
    with pytest.raises(Forbidden):
        await caller_of(signature(replica_key("old"), nonce="m" * 20), who)


def test_a_key_is_the_sha_256_of_name_and_secret() -> None:
    # printf 'ip_intelold' | sha256sum
    assert api_key("ip_intel", "old") == "8b2505173f5539b170d86401e7f49e62db62815ed95b8cd3ca0e5ee2aa1443fd"


# -- what is sent as it is, over a line that others can read


@pytest.mark.parametrize(
    ("name", "headers"),
    [
        ("register", {TOKEN_HEADER: "new"}),
        ("register", {API_KEY_HEADER: api_key("ip_intel", "new")}),
        ("services", {"Authorization": f"Bearer {READ_KEY}"}),
    ],
)
async def test_each_plain_form_is_refused_in_plain_sight_where_it_is_not_taken(
    name: str, headers: dict[str, str]
) -> None:
    who = authenticator("old", "new", reads_are_open=False, plain=PlainForms.OFF)
    endpoint = next(one for one in ENDPOINTS if one.name == name)
    for peer, is_refused in (("10.0.0.7", True), ("127.0.0.1", False)):
        known = {"peername": (peer, 4000), "ssl_object": None}
        transport = mock.Mock(get_extra_info=lambda what, default=None, known=known: known.get(what, default))
        request = make_mocked_request(endpoint.method, endpoint.path, headers=headers, transport=transport)
        if is_refused:
            with pytest.raises(PlainRefused):
                who.check(request, endpoint)
        else:
            who.check(request, endpoint)


# -- a signed write is marked, so that a store carries it out once


async def test_a_signed_write_is_marked_for_the_store_and_what_follows_on_its_connection_is_not() -> None:
    """Requests of one connection share their context: with a mark that stays, the next write is taken for a replay."""
    who = authenticator("new", store_lets_once=True)
    await caller_of(signature(shared_key("new")), who)
    marked = signed_once.get()
    assert marked is not None
    assert marked.mark
    await caller_of({TOKEN_HEADER: "new"}, who)
    assert signed_once.get() is None


async def test_only_a_write_to_the_store_is_marked() -> None:
    who = authenticator("new", store_lets_once=True, reads_are_open=False)
    await caller_of(signature(shared_key("new"), "GET", "/services"), who, name="services")
    assert signed_once.get() is None
    deny = next(one for one in ENDPOINTS if one.name == "deny")
    assert deny.writes
    assert not deny.from_store
    await caller_of(signature(shared_key("new"), "POST", deny.path, nonce="e" * 20), who, name="deny")
    assert signed_once.get() is None


async def test_without_a_store_that_remembers_nothing_is_marked() -> None:
    await caller_of(signature(shared_key("new"), nonce="f" * 20), authenticator("new"))
    assert signed_once.get() is None


def test_a_body_that_was_not_signed_is_refused_before_it_is_read() -> None:
    endpoint = next(one for one in ENDPOINTS if one.name == "register")
    headers = signature(shared_key("new"), nonce="g" * 20)
    request = make_mocked_request(endpoint.method, endpoint.path, headers=headers, payload=mock.Mock())
    with pytest.raises(MalformedSignature, match="does not cover 'content-digest'"):
        BOTH.check(request, endpoint)
