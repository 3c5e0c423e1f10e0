"""Everything that is refused: in the standard shape, with a field and an example, and nothing half-stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest

from tests.integration.replicas import Api

GOOD = {"service_name": "ip_intel", "host": "10.0.0.7", "port": 8034}
SHAPE = {"error", "field", "message", "provided", "example"}


def nested(depth: int) -> Any:
    return {"a": nested(depth - 1)} if depth else 1


@pytest.mark.parametrize(
    ("change", "field"),
    [
        # Names, in every way that one can be invalid.
        ({"service_name": ""}, "service_name"),
        ({"service_name": "ab"}, "service_name"),
        ({"service_name": "a" * 64}, "service_name"),
        ({"service_name": "Ip_Intel"}, "service_name"),
        ({"service_name": "_ip"}, "service_name"),
        ({"service_name": "-ip"}, "service_name"),
        ({"service_name": "ip intel"}, "service_name"),
        ({"service_name": "ip.intel"}, "service_name"),
        ({"service_name": "ip/../intel"}, "service_name"),
        ({"service_name": "ip\u0000intel"}, "service_name"),
        ({"service_name": "\u00efntel"}, "service_name"),
        ({"service_name": "i-0123456789ab"}, "service_name"),
        ({"service_name": 3}, "service_name"),
        ({"service_name": None}, "service_name"),
        ({"instance_id": ""}, "instance_id"),
        ({"instance_id": "a/b"}, "instance_id"),
        ({"instance_id": "x" * 300}, "instance_id"),
        # Ports.
        ({"port": 0}, "port"),
        ({"port": -1}, "port"),
        ({"port": 80}, "port"),
        ({"port": 65536}, "port"),
        ({"port": 804040}, "port"),
        ({"port": 10**30}, "port"),
        ({"port": "8034"}, "port"),
        ({"port": 8034.0}, "port"),
        ({"port": True}, "port"),
        ({"port": None}, "port"),
        # Hosts and addresses.
        ({"host": ""}, "host"),
        ({"host": None}, "host"),
        ({"host": "0.0.0.0"}, "host"),
        ({"host": "300.1.1.1"}, "host"),
        ({"host": "a..b"}, "host"),
        ({"host": "a b"}, "host"),
        ({"host": "host:80"}, "host"),
        ({"host": "x" * 254}, "host"),
        ({"host": 7}, "host"),
        ({"addresses": ["ip-intel"]}, "addresses"),
        ({"addresses": ["10.0.0.7"] * 17}, "addresses"),
        ({"addresses": "10.0.0.7"}, "addresses"),
        ({"addresses": [1]}, "addresses[0]"),
        ({"endpoint": "http://10.0.0.8:8034"}, "host"),
        ({"endpoint": "ftp://10.0.0.7:8034"}, "endpoint"),
        ({"endpoint": "http://10.0.0.7:99999"}, "endpoint"),
        ({"endpoint": "http://10.0.0.7:8034/path"}, "endpoint"),
        ({"endpoint": "10.0.0.7:8034"}, "endpoint"),
        # Health paths.
        ({"health_endpoint": "health"}, "health_endpoint"),
        ({"health_endpoint": "/../admin"}, "health_endpoint"),
        ({"health_endpoint": "/%2e%2e/admin"}, "health_endpoint"),
        ({"health_endpoint": "//evil/health"}, "health_endpoint"),
        ({"health_endpoint": "/he\nalth"}, "health_endpoint"),
        ({"health_endpoint": "/" + "h" * 512}, "health_endpoint"),
        # The rest.
        ({"protocol": "gopher"}, "protocol"),
        ({"version": "1.4"}, "version"),
        ({"version": 1}, "version"),
        ({"weight": 0}, "weight"),
        ({"weight": 101}, "weight"),
        ({"weight": "5"}, "weight"),
        ({"tags": ["Canary"]}, "tags"),
        ({"tags": ["a\u0007"]}, "tags"),
        ({"tags": [f"t{n}" for n in range(33)]}, "tags"),
        ({"tags": "canary"}, "tags"),
        ({"zone": "a zone"}, "zone"),
        ({"status": "up"}, "status"),
        ({"epoch": -1}, "epoch"),
        ({"epoch": 2**53}, "epoch"),
        ({"epoch": "1"}, "epoch"),
        ({"metadata": nested(6)}, "metadata.a.a.a.a.a"),
        ({"metadata": {"k": "v" * 9000}}, "metadata"),
        ({"metadata": {f"k{n}": 1 for n in range(300)}}, "metadata"),
        ({"metadata": {"k": "a\u001bb"}}, "metadata.k"),
        ({"metadata": {"k\u0000": "v"}}, "metadata"),
        ({"metadata": ["v"]}, "metadata"),
        ({"surprise": 1}, "surprise"),
    ],
)
async def test_an_invalid_field_is_named_and_nothing_is_stored(api: Api, change: dict[str, Any], field: str) -> None:
    await api.register("neighbour", port=9000)
    digest, cursor = api.replica.view.catalog.digest, api.replica.view.cursor
    answer = await api.call("POST", "/register", {**GOOD, **change})
    assert answer.status == 400, answer.body
    assert set(answer.body) == SHAPE
    assert (answer.body["error"], answer.body["field"]) == ("ValidationError", field)
    assert answer.body["message"]
    if field != "surprise":
        assert answer.body["example"] not in (None, "")
    assert (api.replica.view.catalog.digest, api.replica.view.cursor) == (digest, cursor)
    assert len((await api.replica.store.snapshot()).instances) == len(api.replica.view.catalog) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"3",
        b'"text"',
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b'{"service_name":"ip_intel",}',
        b'{"service_name":"ip_intel","host":"h","port":8034,"metadata":{"a":1e999}}',
        b'{"service_name":"ip_intel","host":"h","port":' + b"9" * 5000 + b"}",
        b'{"service_name":"ip_intel","host":"h","port":8034,"metadata":{"a":' + b"[" * 30_000,
        b'{"service_name":"ip_intel","tags":[' + b"[" * 30_000,
        b'{"service_name":"ip_intel","host":"h","port":8034,"metadata":{"a":"\\ud800"}}',
        b'{"service_name":"ip_intel\xff","host":"h","port":8034}',
    ],
)
@pytest.mark.parametrize("path", ["/register", "/heartbeat", "/status/ip_intel/a:1"])
async def test_a_body_that_is_not_valid_json_is_refused(api: Api, path: str, body: bytes) -> None:
    answer = await api.call("PUT" if path.startswith("/status") else "POST", path, body)
    assert answer.status == 400, answer.body
    assert set(answer.body) == SHAPE
    assert answer.body["error"] == "ValidationError"
    assert len(api.replica.view.catalog) == 0


async def chunks(size: int) -> AsyncIterator[bytes]:
    for _ in range(size // 1024):
        yield b" " * 1024
        await asyncio.sleep(0)


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_above_64_kib_is_refused(api: Api, chunked: bool) -> None:
    good = msgspec.json.encode(GOOD)
    padded = good + b" " * (64 * 1024 - len(good))
    assert (await api.call("POST", "/register", padded)).status == 201
    await api.call("DELETE", "/deregister/ip_intel")
    if chunked:
        async with api.session.post(
            api.url + "/register", data=chunks(80 * 1024), headers={"Content-Type": "application/json"}
        ) as response:
            status, body = response.status, await response.json()
    else:
        answer = await api.call("POST", "/register", padded + b" ")
        status, body = answer.status, answer.body
    assert (status, body["error"], body["field"]) == (413, "PayloadTooLarge", "body")
    assert len(api.replica.view.catalog) == 0


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=utf-8", "Content-Encoding": "gzip"},
        {"Content-Type": "not a type"},
    ],
)
async def test_a_body_with_another_content_type_is_refused(api: Api, headers: dict[str, str]) -> None:
    answer = await api.call("POST", "/register", GOOD, headers=headers)
    assert (answer.status, answer.body["error"]) == (415, "UnsupportedMediaType")
    assert answer.body["field"] in headers
    assert len(api.replica.view.catalog) == 0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "service_name"),
        ({"service_name": "ip"}, "service_name"),
        ({"service_name": 1}, "service_name"),
        ({"service_name": "ip_intel", "instance_id": "a b"}, "instance_id"),
        ({"service_name": "ip_intel", "instances": [{"service_name": "ip_intel"}]}, "instances"),
        ({"instances": []}, "instances"),
        ({"instances": [{"service_name": "ip_intel"}] * 1001}, "instances"),
        ({"instances": [{"service_name": "ip_intel"}, {"service_name": "x"}]}, "instances[1].service_name"),
        ({"instances": [{"service_name": "ip_intel", "more": 1}]}, "instances[0].more"),
        ({"instances": [{}]}, "instances[0].service_name"),
        ({"instances": "all"}, "instances"),
    ],
)
async def test_an_invalid_heartbeat_is_refused_as_a_whole(api: Api, body: dict[str, Any], field: str) -> None:
    answer = await api.call("POST", "/heartbeat", body)
    assert (answer.status, answer.body["error"], answer.body["field"]) == (400, "ValidationError", field)


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("GET", "/services/Ip", None, "service_name"),
        ("GET", "/services/ip_intel?color=red", None, "color"),
        ("GET", "/services/ip_intel?tag=a&tag=b", None, "tag"),
        ("GET", "/services/ip_intel?tag=A", None, "tag"),
        ("GET", "/services/ip_intel?status=up", None, "status"),
        ("GET", "/services?limit=3", None, "limit"),
        ("GET", "/health?verbose=1", None, "verbose"),
        ("GET", "/watch?cursor=abc", None, "cursor"),
        ("GET", "/watch?service=X", None, "service"),
        ("GET", "/watch?renewals=perhaps", None, "renewals"),
        ("DELETE", "/deregister/ip", None, "service_name"),
        ("DELETE", "/deregister/ip_intel?all=maybe", None, "all"),
        ("DELETE", "/deregister/ip_intel?epoch=new", None, "epoch"),
        ("DELETE", "/deregister/ip_intel/a%20b", None, "instance_id"),
        ("PUT", "/status/ip_intel/a:1", {"status": "fine"}, "status"),
        ("PUT", "/status/ip_intel/a:1", {"status": 1}, "status"),
        ("PUT", "/status/ip_intel/a:1", {"status": "passing", "epoch": -1}, "epoch"),
        ("PUT", "/status/ip_intel/a%2Fb", {"status": "passing"}, "instance_id"),
    ],
)
async def test_an_invalid_path_or_parameter_is_refused(api: Api, method: str, path: str, body: Any, field: str) -> None:
    answer = await api.call(method, path, body)
    assert (answer.status, answer.body["error"], answer.body["field"]) == (400, "ValidationError", field)


async def test_a_provided_value_is_shown_truncated(api: Api) -> None:
    answer = await api.call("POST", "/register", {**GOOD, "service_name": "x" * 5000})
    assert len(answer.body["provided"]) == 200


async def test_an_unknown_path_or_method_has_the_same_shape(api: Api) -> None:
    answer = await api.call("GET", "/nothing")
    assert (answer.status, answer.body["error"], set(answer.body)) == (404, "NotFound", SHAPE)
    answer = await api.call("GET", "/register")
    assert (answer.status, answer.body["error"]) == (405, "MethodNotAllowed")
    assert answer.headers["Allow"] == "POST"


async def test_half_a_body_is_waited_for_until_the_timeout(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("registry_core.api.calls.BODY_TIMEOUT_S", 0.05)
    reader, writer = await asyncio.open_connection("127.0.0.1", api.replica.listen.port)
    writer.write(b"POST /register HTTP/1.1\r\nHost: r\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{")
    assert b" 408 " in await asyncio.wait_for(reader.readline(), 10)
    writer.close()


async def test_a_client_that_hangs_up_in_mid_body_disturbs_no_other(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", api.replica.listen.port)
    writer.write(b"POST /register HTTP/1.1\r\nHost: r\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{")
    await writer.drain()
    writer.close()
    await api.register()
    assert [r for r in caplog.records if r.exc_info] == []


@pytest.mark.parametrize(
    "garbage",
    [
        b"no http at all\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"GET /\xff\xfe HTTP/1.1\r\n\r\n",
    ],
)
async def test_bytes_that_are_not_http_are_refused_without_a_traceback_in_the_log(
    api: Api, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", api.replica.listen.port)
    writer.write(garbage)
    assert (await asyncio.wait_for(reader.readline(), 10)).split(b" ")[1] in (b"400", b"431")
    writer.close()
    assert [r for r in caplog.records if r.levelname == "ERROR"] == []
    assert (await api.call("GET", "/live")).status == 200
