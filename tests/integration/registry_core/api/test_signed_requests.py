"""Signed requests over real HTTP: what their holder may do, and every attack by who sees or forges one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import msgspec
import pytest

from registry_core.security.signatures import content_digest
from registry_core.security.signing_keys import SigningKey, api_key, replica_key, service_key, shared_key
from tests.integration.replicas import READY, Api, serving
from tests.integration.signed_requests import GOOD, SignedRequest, signed_request

SECRET = "a-long-random-word"
CLOSED = msgspec.structs.replace(READY, secrets=(SECRET, "the-next-one"))
KEY = service_key("ip_intel", SECRET)


@pytest.fixture
async def closed() -> AsyncIterator[Api]:
    async with serving(CLOSED) as api:
        yield api


def refusals(api: Api) -> dict[str, float]:
    families = api.replica.metrics.registry.collect()
    samples = [sample for family in families if family.name == "registry_refusals" for sample in family.samples]
    return {sample.labels["reason"]: sample.value for sample in samples}


@pytest.mark.parametrize("key", [shared_key(SECRET), shared_key("the-next-one"), KEY], ids=lambda key: str(key.id))
async def test_the_holder_of_a_key_does_everything_that_it_may(key: SigningKey, closed: Api) -> None:
    instance = "/ip_intel/10.0.0.7:8034"
    calls = [
        ("POST", "/register", GOOD, 201),
        ("POST", "/heartbeat", {"instances": [{"service_name": "ip_intel", "instance_id": "10.0.0.7:8034"}]}, 200),
        ("PUT", f"/status{instance}", {"status": "warning"}, 200),
        ("DELETE", f"/deregister{instance}?epoch=0", None, 200),
    ]
    for method, path, body, status in calls:
        answer = await signed_request(key, method, path, body).send(closed)
        assert answer.status == status, answer.body
    metrics = closed.replica.metrics.registry
    assert metrics.get_sample_value("registry_credentials_accepted_total", {"form": "signature"}) == len(calls)


async def test_a_service_signs_for_itself_alone(closed: Api) -> None:
    answer = await signed_request(KEY, body={**GOOD, "service_name": "billing"}).send(closed)
    assert (answer.status, answer.body["error"]) == (403, "Forbidden")
    beats = {"instances": [{"service_name": "ip_intel"}, {"service_name": "billing"}]}
    answer = await signed_request(KEY, path="/heartbeat", body=beats).send(closed)
    assert (answer.status, answer.body["error"]) == (403, "Forbidden")


async def test_a_replica_does_not_write(closed: Api) -> None:
    answer = await signed_request(replica_key(SECRET)).send(closed)
    assert (answer.status, answer.body["error"]) == (403, "Forbidden")


ATTACKS: dict[str, tuple[Callable[[SignedRequest], SignedRequest], str]] = {
    "another path": (lambda r: r.having(path="/restore"), "WrongSignature"),
    "another spelling of the path": (lambda r: r.having(path="/%72egister"), "WrongSignature"),
    "another method": (lambda r: r.having(method="PUT", path="/status/ip_intel/x"), "WrongSignature"),
    "another query": (lambda r: r.having(path="/register?dry_run=true"), "WrongSignature"),
    "another body": (lambda r: r.having(body=(r.body or b"").replace(b"8034", b"8035")), "AlteredBody"),
    "no body": (lambda r: r.having(body=b""), "AlteredBody"),
    "another body with its digest": (
        lambda r: r.having(body=b"{}").with_header("Content-Digest", content_digest(b"{}")),
        "WrongSignature",
    ),
    "no digest": (lambda r: r.with_header("Content-Digest", None), "MalformedSignature"),
    "another sequence": (lambda r: r.with_header("X-Registry-Sequence", "8"), "WrongSignature"),
    "no sequence": (lambda r: r.with_header("X-Registry-Sequence", None), "MalformedSignature"),
    "a check that it does not claim": (lambda r: r.with_header("X-Registry-Check", "passing"), "MalformedSignature"),
    "two signatures": (lambda r: r.having(headers=[*r.headers, ("Signature", "vertice=::")]), "MalformedSignature"),
    "two inputs": (
        lambda r: r.having(headers=[*r.headers, ("Signature-Input", 'vertice=("@method");created=1')]),
        "MalformedSignature",
    ),
    "two sequences": (
        lambda r: r.having(headers=[*r.headers, ("X-Registry-Sequence", "9")]),
        "MalformedSignature",
    ),
    "the signature left out": (lambda r: r.with_header("Signature", None), "MalformedSignature"),
    "its input left out, and a token": (
        lambda r: r.with_header("Signature-Input", None).with_header("X-Registry-Token", "guess"),
        "MalformedSignature",
    ),
    "another key's name": (
        lambda r: r.with_header(
            "Signature-Input", dict(r.headers)["Signature-Input"].replace("service:ip_intel", "service:billing")
        ),
        "WrongSignature",
    ),
    "a key that nobody has": (
        lambda r: r.with_header(
            "Signature-Input", dict(r.headers)["Signature-Input"].replace("service:ip_intel", "k-0123456789ab")
        ),
        "UnknownKey",
    ),
    "a later time": (
        lambda r: r.with_header(
            "Signature-Input", dict(r.headers)["Signature-Input"].replace("created=1", "created=2")
        ),
        "WrongSignature",
    ),
}


@pytest.mark.parametrize("name", ATTACKS)
async def test_an_altered_request_is_refused(name: str, closed: Api) -> None:
    alter, error = ATTACKS[name]
    genuine = signed_request(KEY, headers={"X-Registry-Sequence": "7"})
    answer = await alter(genuine).send(closed)
    assert (answer.status, answer.body["error"]) == (401, error), answer.body
    assert answer.body["message"]
    assert len(closed.replica.view.catalog) == 0
    assert refusals(closed) == {error: 1.0}
    if error != "AlteredBody":  # that request was genuine up to its body, so its nonce is used up
        assert (await genuine.send(closed)).status == 201, "the holder of the key is not locked out by it"


@pytest.mark.parametrize(("off_s", "words"), [(-302, "s ago"), (303, "in the future")])
async def test_a_late_and_a_future_request_are_told_the_time(off_s: float, words: str, closed: Api) -> None:
    answer = await signed_request(KEY, off_s=off_s).send(closed)
    assert (answer.status, answer.body["error"]) == (401, "OutOfTime")
    assert words in answer.body["message"]
    correction = answer.body["example"] - answer.body["provided"]
    again = await signed_request(KEY, off_s=off_s + correction).send(closed)
    assert again.status == 201, "a sender with a wrong clock corrects itself by the answer"


async def test_only_the_holder_of_a_key_is_told_the_time(closed: Api) -> None:
    answer = await signed_request(service_key("ip_intel", "guess"), off_s=-1000).send(closed)
    assert answer.body["error"] == "WrongSignature"


async def test_a_replayed_request_is_refused(closed: Api) -> None:
    beat = signed_request(KEY, path="/heartbeat", body={"service_name": "ip_intel"})
    assert (await signed_request(KEY).send(closed)).status == 201
    assert (await beat.send(closed)).status == 200
    answer = await beat.send(closed)
    assert (answer.status, answer.body["error"]) == (401, "Replayed")


async def test_of_many_copies_at_once_one_is_accepted(closed: Api) -> None:
    request = signed_request(KEY)
    answers = await asyncio.gather(*(request.send(closed) for _ in range(20)))
    assert sorted(answer.status for answer in answers) == [201, *[401] * 19]


async def test_a_chunked_body_is_signed_like_any_other(closed: Api) -> None:
    async def send(request: SignedRequest, *chunks: bytes) -> bytes:
        listen = closed.replica.listen
        reader, writer = await asyncio.open_connection(listen.host, listen.port)
        head = "".join(f"{name}: {value}\r\n" for name, value in request.headers)
        writer.write(f"POST /register HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n{head}\r\n".encode())
        for chunk in chunks:
            await writer.drain()
            writer.write(f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n")
        writer.write(b"0\r\n\r\n")
        answer = await reader.readuntil(b"\r\n")
        writer.close()
        return answer

    body = signed_request(KEY).body or b""
    assert b" 201 " in await send(signed_request(KEY), body[:10], body[10:])
    assert b" 401 " in await send(signed_request(KEY), body[:10], body[10:], b" ")
    assert b" 401 " in await send(signed_request(KEY))
    assert b" 401 " in await send(signed_request(KEY).with_header("Content-Digest", None), body)


async def test_a_certain_service_of_a_batch_is_not_smuggled_in_by_a_second_body(closed: Api) -> None:
    """A request is one body: what follows on the connection is another request, with no signature."""
    request = signed_request(KEY)
    listen = closed.replica.listen
    reader, writer = await asyncio.open_connection(listen.host, listen.port)
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers)
    body = request.body or b""
    second = b'{"service_name":"billing","host":"10.0.0.8","port":8034}'
    writer.write(f"POST /register HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode() + body)
    writer.write(
        b"POST /register HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        + f"Content-Length: {len(second)}\r\nConnection: close\r\n\r\n".encode()
        + second
    )
    answers = await reader.read()
    writer.close()
    assert answers.count(b"HTTP/1.1 201 ") == 1
    assert answers.count(b"HTTP/1.1 401 ") == 1


async def test_what_a_signature_does_not_protect_stays_refused_as_before(closed: Api) -> None:
    """The key of a service as a bearer value still writes that service: DESIGN's plain form, until it is turned off."""
    headers = {"X-Registry-API-Key": api_key("ip_intel", SECRET)}
    assert (await closed.call("POST", "/register", GOOD, headers=headers)).status == 201


async def test_reading_needs_a_key_where_the_setting_says_so() -> None:
    access = msgspec.structs.replace(CLOSED.access, reads_are_open=False, read_keys=("a-key-for-reading-alone",))
    async with serving(msgspec.structs.replace(CLOSED, access=access)) as api:
        paths = ("/services", "/services/ip_intel", "/catalog", "/watch?once=true", "/health", "/metrics", "/guard")
        for path in paths:
            answer = await api.call("GET", path)
            assert (answer.status, answer.body["error"]) == (401, "Unauthorized"), path
            assert (await api.call("GET", path, headers={"Authorization": "Bearer guess"})).status == 401
        assert (await signed_request(KEY).send(api)).status == 201
        for path in paths:
            for headers in ({"Authorization": "Bearer a-key-for-reading-alone"}, {"X-Registry-Token": SECRET}):
                assert (await api.call("GET", path, headers=headers)).status == 200, path
            for key in (KEY, shared_key(SECRET), replica_key(SECRET)):
                assert (await signed_request(key, "GET", path, None).send(api)).status == 200, path
        for path in ("/live", "/ready", "/openapi.json"):
            assert (await api.call("GET", path)).status == 200
        headers = {"Authorization": "Bearer a-key-for-reading-alone"}
        answer = await api.call("POST", "/register", GOOD, headers=headers)
        assert (answer.status, answer.body["error"]) == (403, "Forbidden")
        head = await api.call("HEAD", "/services")
        assert head.status == 401
