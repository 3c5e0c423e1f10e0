"""Credentials: which writes each permits."""

from __future__ import annotations

import pytest

from registry_core.api.auth import API_KEY_HEADER, TOKEN_HEADER, Authenticator, api_key
from registry_core.errors import Forbidden, Unauthorized
from registry_core.security.rights import Right

BOTH = Authenticator(("old", "new"))


def test_without_a_secret_every_caller_may_write() -> None:
    Authenticator(()).identify({}).require(Right.WRITE, "ip_intel")


@pytest.mark.parametrize("secret", ["old", "new"])
def test_either_secret_is_valid_during_a_rotation(secret: str) -> None:
    BOTH.identify({TOKEN_HEADER: secret}).require(Right.WRITE, "anything")
    BOTH.identify({API_KEY_HEADER: api_key("ip_intel", secret)}).require(Right.WRITE, "ip_intel")


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {TOKEN_HEADER: ""},
        {TOKEN_HEADER: "older"},
        {TOKEN_HEADER: "old,new"},
        {TOKEN_HEADER: "\udcff"},
        {API_KEY_HEADER: ""},
        {API_KEY_HEADER: "0" * 63},
        {API_KEY_HEADER: "z" * 64},
        {TOKEN_HEADER: "wrong", API_KEY_HEADER: api_key("ip_intel", "old")},
    ],
)
def test_no_credential_and_a_wrong_one_are_unauthorized(headers: dict[str, str]) -> None:
    with pytest.raises(Unauthorized):
        BOTH.identify(headers)


def test_a_key_is_valid_for_its_own_service_only() -> None:
    caller = BOTH.identify({API_KEY_HEADER: api_key("ip_intel", "old")})
    for other in ("billing", "ip-intel", "ip_intel2"):
        with pytest.raises(Forbidden):
            caller.require(Right.WRITE, other)


def test_a_key_of_one_service_has_no_right_that_concerns_every_service() -> None:
    caller = BOTH.identify({API_KEY_HEADER: api_key("ip_intel", "old")})
    for right in (Right.RESTORE, Right.RELEASE_GUARD):
        with pytest.raises(Forbidden):
            caller.require(right)


def test_only_a_caller_that_may_write_everything_takes_a_living_instances_address() -> None:
    assert Authenticator(()).identify({}).may_displace
    assert BOTH.identify({TOKEN_HEADER: "new"}).may_displace
    assert not BOTH.identify({API_KEY_HEADER: api_key("ip_intel", "new")}).may_displace


def test_a_key_is_the_sha_256_of_name_and_secret() -> None:
    # printf 'ip_intelold' | sha256sum
    assert api_key("ip_intel", "old") == "8b2505173f5539b170d86401e7f49e62db62815ed95b8cd3ca0e5ee2aa1443fd"
