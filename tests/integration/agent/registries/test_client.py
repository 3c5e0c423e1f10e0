"""Requests to the registry: every answer has one outcome, and every wait is bounded."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import time
from collections.abc import AsyncIterator
from typing import Any, Self

import aiohttp
import msgspec
import pytest

from agent.registration.decisions import RequestOutcome
from agent.registries import client as registry_client
from agent.registries.client import LeaseTold, RegistryClient, RegistryReply, TimeTold, reply_of
from registry_core.domain.records import Registration, Status
from registry_core.replica_settings import ReplicaSettings
from registry_core.settings import Listen
from registry_core.upstreams.choice import Use
from tests.integration.agents import StandIn, stand_in
from tests.integration.registries import registry_client_for, upstreams_at
from tests.integration.replicas import Api, serving
from tests.programs import free_port
from tests.samples import claim


@contextlib.asynccontextmanager
async def client(*urls: str, token: str = "") -> AsyncIterator[RegistryClient]:
    async with registry_client_for(urls, token=token) as registry:
        yield registry


def owned(epoch: int = 5, **more: Any) -> Registration:
    return claim("osint_service", epoch=epoch, **more)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry_client, "TIMEOUT", aiohttp.ClientTimeout(total=0.2))


async def test_a_success_is_done(api: Api) -> None:
    async with client(api.url) as registry:
        reply, lease = await registry.register(owned(tags=("blue",), metadata={"team": "osint"}))
        assert (reply.outcome, lease) == (RequestOutcome.DONE, LeaseTold(ttl_s=60.0, heartbeat_s=30.0))
        assert [r.outcome for _, r in await registry.beat([owned()])] == [RequestOutcome.DONE]
        assert (await registry.set_status(owned(), Status.DRAINING)).outcome is RequestOutcome.DONE
        assert [(i.status, i.tags) for i in api.replica.view.catalog] == [(Status.DRAINING, ("blue",))]
        assert (await registry.deregister(owned())).outcome is RequestOutcome.DONE
        assert len(api.replica.view.catalog) == 0


async def test_an_unregistered_instance_is_unknown(api: Api) -> None:
    async with client(api.url) as registry:
        assert [r.outcome for _, r in await registry.beat([owned()])] == [RequestOutcome.UNKNOWN]
        assert (await registry.set_status(owned(), Status.PASSING)).outcome is RequestOutcome.UNKNOWN
        assert (await registry.deregister(owned())).outcome is RequestOutcome.UNKNOWN


async def test_a_newer_owners_instance_is_fenced(api: Api) -> None:
    async with client(api.url) as registry:
        await registry.register(owned(epoch=9))
        assert (await registry.register(owned()))[0].outcome is RequestOutcome.FENCED
        assert [r.outcome for _, r in await registry.beat([owned()])] == [RequestOutcome.FENCED]
        assert (await registry.set_status(owned(), Status.CRITICAL)).outcome is RequestOutcome.FENCED
        assert (await registry.deregister(owned())).outcome is RequestOutcome.FENCED
        assert len(api.replica.view.catalog) == 1


async def test_an_invalid_or_conflicting_claim_is_refused_in_the_registrys_words(api: Api) -> None:
    async with client(api.url) as registry:
        await registry.register(owned())
        reply, _ = await registry.register(claim("other_service", epoch=5))
        assert reply.outcome is RequestOutcome.REFUSED
        assert reply.said.startswith("Conflict: port: 10.0.0.7:8034 is registered")
        reply, _ = await registry.register(claim("low_port", port=80))
        assert reply.outcome is RequestOutcome.REFUSED
        assert reply.said.startswith("ValidationError: port: ports below 1024")


async def test_the_token_is_sent() -> None:
    settings = ReplicaSettings(listen=Listen("127.0.0.1", 0), warming_s=0.0, secrets=("s3cret",))
    async with serving(settings) as api:
        async with client(api.url) as registry:
            assert (await registry.register(owned()))[0].outcome is RequestOutcome.REFUSED
        async with client(api.url, token="s3cret") as registry:
            assert (await registry.register(owned()))[0].outcome is RequestOutcome.DONE


async def test_very_many_heartbeats_go_in_several_requests(api: Api) -> None:
    async with client(api.url) as registry:
        many = [claim(f"a-service-with-quite-a-long-name-{n}", "10.0.1.1", 2000 + n, epoch=5) for n in range(1500)]
        await registry.register(many[700])
        replies = await registry.beat(many)
        assert [key for key, _ in replies] == [c.key for c in many]
        assert [n for n, (_, reply) in enumerate(replies) if reply.outcome is RequestOutcome.DONE] == [700]
        assert {reply.outcome for _, reply in replies} == {RequestOutcome.DONE, RequestOutcome.UNKNOWN}


async def test_the_next_registry_is_tried_when_one_does_not_listen(api: Api) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    async with client(nobody, api.url) as registry:
        assert (await registry.register(owned()))[0].outcome is RequestOutcome.DONE
    async with client(nobody) as registry:
        reply, lease = await registry.register(owned())
        assert reply.outcome is RequestOutcome.UNAVAILABLE
        assert nobody in reply.said
        assert lease is None
        assert [r.outcome for _, r in await registry.beat([owned()])] == [RequestOutcome.UNAVAILABLE]


async def test_the_next_registry_is_tried_when_one_cannot_write(api: Api) -> None:
    async with stand_in() as failing:
        failing.status = 503
        failing_url = f"http://{failing.host}:{failing.port}"
        async with client(failing_url, api.url) as registry:
            assert (await registry.register(owned()))[0].outcome is RequestOutcome.DONE
            assert len(failing.asked) == 1
        async with stand_in("127.77.0.2") as other:
            other.status = 503
            async with client(failing_url, f"http://{other.host}:{other.port}") as registry:
                assert (await registry.set_status(owned(), Status.PASSING)).outcome is RequestOutcome.UNAVAILABLE
                assert (len(failing.asked), len(other.asked)) == (2, 1), "each is tried once"


@pytest.mark.usefixtures("impatient")
async def test_a_silent_registry_is_left_in_time() -> None:
    async with stand_in() as silent, client(f"http://{silent.host}:{silent.port}") as registry:
        silent.silent.set()
        reply = await registry.set_status(owned(), Status.PASSING)
        assert reply.outcome is RequestOutcome.UNAVAILABLE
        assert "did not answer in time" in reply.said


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, b"no JSON", RequestOutcome.UNAVAILABLE),
        (200, b'{"status":"renewed","instances":[]}', RequestOutcome.UNAVAILABLE),
        (
            200,
            b'{"status":"x","instances":[{"service_name":"a","instance_id":"b","status":"odd"}]}',
            RequestOutcome.UNAVAILABLE,
        ),
        (200, b'{"status":"\xff","instances":[]}', RequestOutcome.UNAVAILABLE),
        (500, b'{"error":"X","message":"no","example":' + b"[" * 100_000, RequestOutcome.UNAVAILABLE),
        (200, b"x" * 2_000_000, RequestOutcome.UNAVAILABLE),
        (502, b"<html>", RequestOutcome.UNAVAILABLE),
        (404, b"", RequestOutcome.UNKNOWN),
    ],
)
async def test_an_invalid_answer_to_heartbeats_counts_as_none(
    status: int, body: bytes, outcome: RequestOutcome
) -> None:
    async with stand_in() as odd, client(f"http://{odd.host}:{odd.port}") as registry:
        odd.status, odd.body = status, body
        assert [r.outcome for _, r in await registry.beat([owned()])] == [outcome]


async def test_a_registration_counts_even_with_an_unreadable_answer() -> None:
    async with stand_in() as odd, client(f"http://{odd.host}:{odd.port}") as registry:
        reply, lease = await registry.register(owned())
        assert (reply.outcome, lease) == (RequestOutcome.DONE, None)


async def test_an_unreadable_answer_about_a_drain_gives_nothing() -> None:
    async with stand_in() as odd, client(f"http://{odd.host}:{odd.port}") as registry:
        odd.body = b'{"service_name":"\xff"}'
        assert await registry.drains(owned()) == [None]


async def test_a_connection_closed_meanwhile_costs_nothing(api: Api) -> None:
    async with StandInOnce() as server, client(server.url) as registry:
        for _ in range(3):
            assert (await registry.set_status(owned(), Status.PASSING)).outcome is RequestOutcome.DONE


async def test_the_time_comes_from_the_first_registry_that_sends_it(api: Api) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    async with stand_in() as timeless:
        async with client(nobody, f"http://{timeless.host}:{timeless.port}", api.url) as registry:
            told = await registry.time()
            assert told.unix is not None
            assert abs(told.unix - time.time()) < 60
            assert timeless.asked == ["/live"]
        async with client(nobody, f"http://{timeless.host}:{timeless.port}") as registry:
            assert await registry.time() == TimeTold(None)


async def test_registries_that_do_not_tell_the_time_because_they_are_silent_are_left_for_another_one() -> None:
    away = [f"http://127.0.0.1:{free_port()}" for _ in range(5)]
    upstreams = upstreams_at(away)
    async with registry_client_for(away, upstreams=upstreams) as registry:
        told = await registry.time()
        assert (told.unix, told.unanswered) == (None, f"{away[0]}: Connection refused")
        assert upstreams.current(Use.WRITE) == away[4]


def sequences(*servers: StandIn) -> list[int]:
    """Return the sequences of the writes that these registries got, in order of arrival at each."""
    said = [line.split(": ")[1] for server in servers for line in sequence_lines(server)]
    return [int(number) for number in said]


def sequence_lines(server: StandIn) -> list[str]:
    lines = [line for request in server.requests for line in request.split("\r\n")]
    return [line for line in lines if line.lower().startswith(registry_client.SEQUENCE_HEADER.lower())]


async def test_every_write_has_a_higher_sequence_than_all_before_it_and_nothing_else_has_one() -> None:
    async with stand_in() as server, client(f"http://{server.host}:{server.port}") as registry:
        await registry.register(owned())
        await registry.beat([owned()])
        await registry.set_status(owned(), Status.CRITICAL)
        await registry.drains(owned())
        await registry.register(owned())
        await registry.deregister(owned())
    assert sequences(server) == [1, 2, 3, 4]
    assert len(server.requests) == 6


async def test_a_retry_at_the_next_registry_has_a_higher_sequence() -> None:
    async with stand_in() as failing, stand_in("127.77.0.2") as other:
        failing.status = 503
        async with client(*(f"http://{each.host}:{each.port}" for each in (failing, other))) as registry:
            assert (await registry.deregister(owned())).outcome is RequestOutcome.DONE
    assert (sequences(failing), sequences(other)) == ([1], [2])


async def test_a_registration_sent_again_on_another_connection_has_a_higher_sequence() -> None:
    async with StandInOnce() as server, client(server.url) as registry:
        for _ in range(2):
            assert (await registry.register(owned()))[0].outcome is RequestOutcome.DONE
    assert sequences(server) == [1, 2, 3], "the second one used a connection that was being closed"


class StandInOnce(StandIn):
    """A server that promises to keep the connection, and closes it when the next request comes."""

    def __init__(self) -> None:
        super().__init__("127.77.0.4")

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            self.requests.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\n{}")
            self.requests.append((await reader.readuntil(b"\r\n\r\n")).decode(errors="replace"))
        writer.close()


@pytest.mark.parametrize(
    ("status", "error", "outcome"),
    [
        (400, "ValidationError", RequestOutcome.REFUSED),
        (401, "Unauthorized", RequestOutcome.REFUSED),
        (403, "Forbidden", RequestOutcome.REFUSED),
        (404, "NotFound", RequestOutcome.UNKNOWN),
        (409, "Conflict", RequestOutcome.REFUSED),
        (409, "Fenced", RequestOutcome.FENCED),
        (409, "Late", RequestOutcome.LATE),
        (413, "PayloadTooLarge", RequestOutcome.REFUSED),
        (429, "TooManyRequests", RequestOutcome.LIMITED),
        (500, "InternalError", RequestOutcome.UNAVAILABLE),
        (503, "StoreUnavailable", RequestOutcome.UNAVAILABLE),
        (302, "", RequestOutcome.UNAVAILABLE),
    ],
)
def test_the_table_of_outcomes(status: int, error: str, outcome: RequestOutcome) -> None:
    reply = reply_of(status, msgspec.json.encode({"error": error, "message": "why"}))
    assert reply == RegistryReply(outcome, f"{error or status}: why")


async def test_no_registry_is_blamed_for_a_lack_of_descriptors(monkeypatch: pytest.MonkeyPatch, api: Api) -> None:
    urls = (api.url, f"http://127.0.0.1:{free_port()}")
    known = upstreams_at(urls)

    def refuse(*_args: object, **_more: object) -> socket.socket:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async with registry_client_for(urls, upstreams=known) as registry:
        monkeypatch.setattr(socket, "socket", refuse)
        reply, _ = await registry.register(owned())
        assert (reply.outcome, "Too many open files" in reply.said) == (RequestOutcome.UNAVAILABLE, True)
        assert await registry._probes.lives(api.url)
        monkeypatch.undo()
        assert known.current(Use.WRITE) == api.url
        assert not any(sum(one.failures.values()) for one in known.report().known)
        assert (await registry.register(owned()))[0].outcome is RequestOutcome.DONE
