"""Who may write, over real HTTP."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import pytest

from tests.integration.replicas import READY, Api, serving

SECRET = "a-long-random-word"
CLOSED = msgspec.structs.replace(READY, secrets=(SECRET, "the-next-one"))
GOOD = {"service_name": "ip_intel", "host": "10.0.0.7", "port": 8034}
WRITES: list[tuple[str, str, Any]] = [
    ("POST", "/register", GOOD),
    ("POST", "/heartbeat", {"service_name": "ip_intel"}),
    ("PUT", "/status/ip_intel/10.0.0.7:8034", {"status": "passing"}),
    ("DELETE", "/deregister/ip_intel/10.0.0.7:8034", None),
    ("DELETE", "/deregister/ip_intel", None),
]


def key(service_name: str, secret: str = SECRET) -> dict[str, str]:
    return {"X-Registry-API-Key": hashlib.sha256(f"{service_name}{secret}".encode()).hexdigest()}


async def register(api: Api) -> None:
    answer = await api.call("POST", "/register", GOOD, headers={"X-Registry-Token": SECRET})
    assert answer.status == 201


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
async def test_a_write_without_a_credential_is_refused(method: str, path: str, body: Any) -> None:
    async with serving(CLOSED) as api:
        await register(api)
        for headers in ({}, {"X-Registry-Token": "wrong"}, {"X-Registry-Token": ""}, {"X-Registry-API-Key": "abc"}):
            answer = await api.call(method, path, body, headers=headers)
            assert (answer.status, answer.body["error"]) == (401, "Unauthorized")
            assert "WWW-Authenticate" in answer.headers
        assert len(api.replica.view.catalog) == 1


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
async def test_the_token_and_the_services_own_key_write(method: str, path: str, body: Any) -> None:
    async with serving(CLOSED) as api:
        for headers in (
            {"X-Registry-Token": SECRET},
            {"X-Registry-Token": "the-next-one"},
            key("ip_intel"),
            key("ip_intel", "the-next-one"),
            {"X-Registry-API-Key": key("ip_intel")["X-Registry-API-Key"].upper()},
        ):
            await register(api)
            assert (await api.call(method, path, body, headers=headers)).status in (200, 201)


@pytest.mark.parametrize(("method", "path", "body"), WRITES)
async def test_a_key_writes_its_own_service_alone(method: str, path: str, body: Any) -> None:
    async with serving(CLOSED) as api:
        await register(api)
        answer = await api.call(method, path, body, headers=key("billing"))
        assert (answer.status, answer.body["error"]) == (403, "Forbidden")
        assert len(api.replica.view.catalog) == 1


async def test_a_key_does_not_renew_others_within_many() -> None:
    async with serving(CLOSED) as api:
        await register(api)
        beats = {"instances": [{"service_name": "ip_intel"}, {"service_name": "billing"}]}
        assert (await api.call("POST", "/heartbeat", beats, headers=key("ip_intel"))).status == 403


async def test_lookups_need_no_credential() -> None:
    async with serving(CLOSED) as api:
        await register(api)
        for path in ("/services", "/services/ip_intel", "/catalog", "/health", "/metrics", "/openapi.json"):
            assert (await api.call("GET", path)).status == 200


async def test_a_credential_that_is_no_ascii_is_merely_wrong() -> None:
    async with serving(CLOSED) as api:
        answer = await api.call("POST", "/register", GOOD, headers={"X-Registry-Token": "\u00e9\u00e8"})
        assert answer.status == 401
