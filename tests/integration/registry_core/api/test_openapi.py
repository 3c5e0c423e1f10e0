"""The description matches the replica: the same routes, and answers as described."""

from __future__ import annotations

import asyncio
import copy
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import ec

from registry_core.api.endpoints import ENDPOINTS
from registry_core.authority_settings import AuthoritySettings
from registry_core.security.audit.settings import AuditSettings
from registry_core.security.rights import Right
from tests.authorities import authority_in, csr_of, settings_for
from tests.integration.replicas import READY, Api, serving
from tests.json_schema import problems

GOOD = {"service_name": "ip_intel", "host": "10.0.0.7", "port": 8034, "metadata": {"a": [1, None, {"b": 2.5}]}}
SAVED = {
    **GOOD,
    "instance_id": "10.0.0.7:8034",
    "addresses": [],
    "health_endpoint": "/health",
    "protocol": "http",
    "version": "",
    "weight": 1,
    "tags": [],
    "zone": "",
    "status": "passing",
    "epoch": 0,
    "registered_at": 1764000000.0,
}
ONE = "ip_intel/10.0.0.7:8034"
CSR = csr_of(ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture
def authority(tmp_path: Path) -> AuthoritySettings:
    return settings_for(authority_in(tmp_path / "ca"))


async def described(api: Api) -> Any:
    answer = await api.call("GET", "/openapi.json")
    assert answer.status == 200
    return answer.body


def closed(description: Any) -> Any:
    """Return the description with every described object closed, so that an undescribed field is an error."""
    strict = copy.deepcopy(description)
    for schema in strict["components"]["schemas"].values():
        if "properties" in schema:
            schema["additionalProperties"] = False
    return strict


async def test_the_described_routes_are_the_served_routes(api: Api) -> None:
    description = await described(api)
    app = api.replica.app
    assert isinstance(app, web.Application)
    served = {
        (route.method.lower(), route.resource.canonical)
        for route in app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    listed = {(method, path) for path, methods in description["paths"].items() for method in methods}
    assert listed == served
    assert description["openapi"] == "3.1.0"


async def test_every_reference_resolves(api: Api) -> None:
    description = await described(api)
    names = set(description["components"]["schemas"])
    text = msgspec.json.encode(description).decode()
    used = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert used == names


async def test_every_answer_matches_its_description(authority: AuthoritySettings, tmp_path: Path) -> None:
    asked: list[tuple[str, str, str, Any]] = [
        # method, template, path, body; in an order that makes sense
        ("POST", "/heartbeat", "/heartbeat", {"service_name": "ip_intel"}),
        ("POST", "/register", "/register", GOOD),
        ("POST", "/register", "/register", {**GOOD, "port": 1}),
        ("POST", "/register", "/register", {**GOOD, "instance_id": "other"}),
        ("POST", "/register", "/register", b" " * 70_000),
        ("POST", "/heartbeat", "/heartbeat", {"service_name": "ip_intel"}),
        ("POST", "/heartbeat", "/heartbeat", {"instances": [{"service_name": "ip_intel"}, {"service_name": "nobody"}]}),
        ("PUT", "/status/{service}/{instance}", f"/status/{ONE}", {"status": "warning"}),
        ("PUT", "/status/{service}/{instance}", f"/status/{ONE}", {"status": "ill"}),
        ("PUT", "/status/{service}/{instance}", "/status/nobody/a:1", {"status": "passing"}),
        ("GET", "/services", "/services", None),
        ("GET", "/services/{service}", "/services/ip_intel", None),
        ("GET", "/services/{service}", "/services/nobody", None),
        ("GET", "/services/{service}", "/services/ip_intel?x=1", None),
        ("GET", "/catalog", "/catalog", None),
        ("GET", "/catalog", "/catalog?x=1", None),
        ("POST", "/restore", "/restore", SAVED),
        ("POST", "/restore", "/restore?dry_run=yes", SAVED),
        ("POST", "/restore", "/restore?dry_run=true", {**SAVED, "instance_id": "other"}),
        ("GET", "/agents", "/agents", None),
        ("GET", "/agents/part", "/agents/part?usage=true", None),
        ("GET", "/agents/part", "/agents/part?usage=perhaps", None),
        ("GET", "/usage", "/usage", None),
        ("GET", "/usage", "/usage?within=soon", None),
        ("GET", "/guard", "/guard", None),
        ("GET", "/guard", "/guard?x=1", None),
        ("POST", "/guard/release", "/guard/release", None),
        ("POST", "/guard/release", "/guard/release?shard=nowhere", None),
        ("GET", "/health", "/health", None),
        ("GET", "/sd/prometheus", "/sd/prometheus", None),
        ("GET", "/sd/prometheus", "/sd/prometheus?status=odd", None),
        ("GET", "/deployment", "/deployment", None),
        ("GET", "/deployment", "/deployment?x=1", None),
        ("GET", "/live", "/live", None),
        ("GET", "/ready", "/ready", None),
        ("GET", "/whoami", "/whoami", None),
        ("GET", "/openapi.json", "/openapi.json", None),
        ("GET", "/watch", "/watch?cursor=nonsense", None),
        ("POST", "/watch/ack", "/watch/ack", {"watcher": "nobody", "cursor": ""}),
        ("POST", "/watch/ack", "/watch/ack", {"watcher": "nobody", "cursor": "nonsense"}),
        ("POST", "/watch/ack", "/watch/ack", b" " * 70_000),
        ("GET", "/drain/{service}/{instance}", f"/drain/{ONE}", None),
        ("GET", "/drain/{service}/{instance}", "/drain/nobody/a:1", None),
        ("GET", "/drain/{service}/{instance}", "/drain/a/a:1", None),
        ("GET", "/certificates", "/certificates", None),
        ("POST", "/certificates", "/certificates", {"service_name": "ip_intel", "csr": CSR}),
        ("POST", "/certificates", "/certificates", {"service_name": "ip_intel", "csr": "nothing"}),
        ("POST", "/certificates", "/certificates", b" " * 70_000),
        ("POST", "/certificates/denied", "/certificates/denied", {"service_name": "ip_intel", "withdraw": True}),
        ("POST", "/certificates/denied", "/certificates/denied", {"service_name": "ip_intel"}),
        ("POST", "/certificates/denied", "/certificates/denied", {}),
        ("POST", "/certificates", "/certificates", {"service_name": "ip_intel", "csr": CSR}),
        ("GET", "/certificates/denied", "/certificates/denied", None),
        ("GET", "/certificates/denied", "/certificates/denied?serial=xyz", None),
        ("GET", "/audit/entries", "/audit/entries", None),
        ("GET", "/audit/entries", "/audit/entries?from=x", None),
        ("GET", "/audit/proof", "/audit/proof?index=0", None),
        ("GET", "/audit/proof", "/audit/proof", None),
        ("GET", "/audit/consistency", "/audit/consistency?first=0", None),
        ("POST", "/audit/head", "/audit/head", {"head": "", "key": ""}),
        ("GET", "/log-level", "/log-level", None),
        ("PUT", "/log-level", "/log-level?component=tls&level=info", None),
        ("PUT", "/log-level", "/log-level?component=nothing&level=info", None),
        ("PUT", "/log-level", "/log-level", None),
        ("DELETE", "/log-level", "/log-level", None),
        ("DELETE", "/deregister/{service}/{instance}", f"/deregister/{ONE}", None),
        ("DELETE", "/deregister/{service}/{instance}", f"/deregister/{ONE}", None),
        ("DELETE", "/deregister/{service}", "/deregister/ip_intel", None),
    ]
    audit = AuditSettings(folder=tmp_path / "audit")
    settings = msgspec.structs.replace(READY, secrets=("s3cret",), authority=authority, audit=audit)
    async with serving(settings) as api:
        description = closed(await described(api))
        tried = set()
        for method, template, path, body in asked:
            for headers in ({"X-Registry-Token": "s3cret"}, {}):
                answer = await api.call(method, path, body, headers=headers)
                responses = description["paths"][template][method.lower()]["responses"]
                where = f"{method} {path} -> {answer.status}"
                assert str(answer.status) in responses, where
                schema = responses[str(answer.status)]["content"]["application/json"]["schema"]
                assert problems(answer.body, schema, description) == [], where
                tried.add((method, template))
    texts = {("GET", "/metrics"), ("GET", "/certificates/bundle"), ("GET", "/audit/head")}
    assert tried == {(e.method, e.path) for e in ENDPOINTS} - texts


async def test_every_line_of_the_watch_matches_its_description(api: Api) -> None:
    description = closed(await described(api))
    content = description["paths"]["/watch"]["get"]["responses"]["200"]["content"]
    schema = content["application/x-ndjson"]["schema"]
    kinds = set()
    async with api.session.get(f"{api.url}/watch?renewals=1") as stream:
        await api.register(metadata={"a": 1})
        await api.call("PUT", f"/status/{ONE}", {"status": "warning"})
        await api.call("POST", "/heartbeat", {"service_name": "ip_intel"})
        api.replica.hub.tick()
        await api.call("DELETE", f"/deregister/{ONE}")
        while "deregistered" not in kinds:
            line = msgspec.json.decode(await asyncio.wait_for(stream.content.readline(), 10))
            assert problems(line, schema, description) == []
            kinds.add(line["type"])
    assert kinds == {"snapshot", "registered", "status_changed", "renewed", "sync", "deregistered"}


async def test_the_checker_detects_errors(api: Api) -> None:
    description = closed(await described(api))
    schema = {"$ref": "#/components/schemas/BeatView"}
    good = {"service_name": "a", "instance_id": None, "status": "renewed"}
    assert problems(good, schema, description) == []
    wrongs: list[Any] = [{}, {**good, "more": 1}, {**good, "status": 3}, {**good, "instance_id": True}, [], None]
    for wrong in wrongs:
        assert problems(wrong, schema, description)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda e: e.name)
async def test_each_described_body_is_the_one_that_is_read(api: Api, endpoint: Any) -> None:
    description = await described(api)
    operation = description["paths"][endpoint.path][endpoint.method.lower()]
    assert operation["operationId"] == endpoint.name
    assert ("requestBody" in operation) == (endpoint.body is not None)
    assert ("security" in operation) == (endpoint.right is not Right.BE_PROBED)
    # An acknowledgement changes nothing that is stored, and its watcher's id is its credential. A countersignature
    # changes nothing about what is registered, and must not make a line in the audit whose heads are countersigned.
    assert endpoint.writes == (endpoint.method != "GET" and endpoint.name not in ("acknowledge", "witness_head"))
    assert [p["name"] for p in operation["parameters"] if p["in"] == "query"] == [p.name for p in endpoint.query]
    assert [p["name"] for p in operation["parameters"] if p["in"] == "header"] == [p.name for p in endpoint.headers]
