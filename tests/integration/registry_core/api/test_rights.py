"""Every route of a real replica asks the table of rights, and answers each role as the table says."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from registry_core.api.endpoints import ENDPOINTS, NDJSON, Endpoint
from registry_core.replica import Replica
from registry_core.security.identities import Identity, Role
from registry_core.security.issued_keys import ROLES, IssuedKey
from registry_core.security.rights import MAY, OPEN_READS, Right, permits
from tests.integration.replicas import READY, Api, serving
from tests.integration.signed_requests import signed_request

SECRET = "a-long-random-word"
KEYS = {
    role: IssuedKey(
        f"k-{number:012x}",
        role,
        "s" * 43,
        datetime(2026, 1, 1, tzinfo=UTC),
        service="ip_intel" if role is Role.SERVICE else "",
    )
    for number, role in enumerate(ROLES)
}
CLOSED = msgspec.structs.replace(
    READY,
    secrets=(SECRET,),
    access=msgspec.structs.replace(READY.access, reads_are_open=False, issued=tuple(KEYS.values())),
)
REFUSED = (401, 403)


async def test_the_table_names_every_route_of_the_router() -> None:
    known = {(one.method, one.path): one for one in ENDPOINTS}
    walked = set()
    for route in Replica(READY).app.router.routes():
        assert route.resource is not None
        method = "GET" if route.method == "HEAD" else route.method
        endpoint = known.get((method, route.resource.canonical))
        assert endpoint is not None, f"{route.method} {route.resource.canonical} is in no table"
        assert endpoint.right in MAY
        walked.add((endpoint.method, endpoint.path))
    assert walked == set(known)


def methods(endpoint: Endpoint) -> list[str]:
    has_head = endpoint.method == "GET" and endpoint.media_type != NDJSON
    return [endpoint.method, "HEAD"] if has_head else [endpoint.method]


def target(endpoint: Endpoint) -> str:
    path = endpoint.path.replace("{service}", "ip_intel").replace("{instance}", "x")
    return f"{path}?once=true" if endpoint.name == "watch" else path


async def status(api: Api, method: str, endpoint: Endpoint, role: Role) -> int:
    path = target(endpoint)
    if role is Role.ANYONE:
        body = b"{}" if method in ("POST", "PUT") else None
        return (await api.call(method, path, body)).status
    key = KEYS[role].signing_key
    return (await signed_request(key, method, path, {}).send(api)).status


@pytest.mark.parametrize("role", [Role.ANYONE, *ROLES])
async def test_every_route_answers_each_role_as_the_table_says(role: Role) -> None:
    identity = Identity(role, service="ip_intel" if role is Role.SERVICE else "")
    async with serving(CLOSED) as api:
        for endpoint in ENDPOINTS:
            for method in methods(endpoint):
                answered = await status(api, method, endpoint, role)
                where = f"{role}: {method} {endpoint.path}: {answered}"
                if permits(identity, endpoint.right):
                    assert answered not in REFUSED, where
                else:
                    assert answered == (401 if role is Role.ANYONE else 403), where


async def test_open_reads_are_open_and_nothing_else_is() -> None:
    async with serving(msgspec.structs.replace(CLOSED, access=READY.access)) as api:
        for endpoint in ENDPOINTS:
            is_open = endpoint.right in OPEN_READS or endpoint.right is Right.BE_PROBED
            for method in methods(endpoint):
                answered = await status(api, method, endpoint, Role.ANYONE)
                assert (answered not in REFUSED) is is_open, f"{method} {endpoint.path}: {answered}"


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("PATCH", "/register", 405)])
async def test_what_is_no_route_is_said_to_everybody(method: str, path: str, status: int) -> None:
    async with serving(CLOSED) as api:
        assert (await api.call(method, path)).status == status
