"""What an agent sends to registries: signed, whatever happens on the way, and never the secret itself."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import aiohttp
import msgspec
import pytest

from agent.checks.spec import CheckKind
from agent.registration.decisions import RequestOutcome
from agent.settings.settings import AgentSettings
from registry_core.domain.records import Status
from registry_core.ports.clock import SystemClock
from registry_core.security.access_settings import AccessSettings, PlainForms
from registry_core.security.sending import MAX_ATTEMPTS, RequestSigner, Send, SenderKeys
from registry_core.security.signing_keys import SigningKey, service_key, shared_key
from registry_core.upstreams.requests import RegistryRequests
from tests.integration.agents import QUICK, becomes, spec, stand_in, standing
from tests.integration.registries import registry_client_for
from tests.integration.replicas import READY, Api, serving
from tests.programs import eventually
from tests.samples import claim

SECRET: Final = "a-long-random-word"
# No secret is taken in plain sight; over loopback it would be, so the test also looks at what is sent.
CLOSED: Final = msgspec.structs.replace(READY, secrets=(SECRET,), access=AccessSettings(plain=PlainForms.OFF))
WITHIN: Final = aiohttp.ClientTimeout(total=5)
_HEAD: Final = re.compile(rb"(GET|POST|PUT|DELETE) (/\S*) HTTP/1\.1\r\n(.*?)\r\n\r\n", re.DOTALL)


class Wire:
    """A line to a registry that keeps all that is sent to it, and can lose answers."""

    def __init__(self, to: int) -> None:
        self._to = to
        self.port = 0
        self.sent = bytearray()
        self.writers: set[asyncio.StreamWriter] = set()
        self.losing = 0  # so many answers are lost from now on, with their connections

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def requests(self) -> list[tuple[str, str, str]]:
        """Method, target and headers of all requests."""
        return [(m.decode(), t.decode(), h.decode()) for m, t, h in _HEAD.findall(bytes(self.sent))]

    @property
    def paths(self) -> set[str]:
        """The targets of all requests."""
        return {target for _, target, _ in self.requests}

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there = await asyncio.open_connection("127.0.0.1", self._to)
        self.writers |= {writer, there}

        async def forth() -> None:
            while data := await reader.read(65536):
                self.sent += data
                there.write(data)

        async def back() -> None:
            while data := await there_reader.read(65536):
                if self.losing:
                    self.losing -= 1
                    break
                writer.write(data)

        tasks = [asyncio.ensure_future(forth()), asyncio.ensure_future(back())]
        with contextlib.suppress(OSError):
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        writer.close()
        there.close()


@contextlib.asynccontextmanager
async def wire_to(api: Api) -> AsyncIterator[Wire]:
    wire = Wire(api.replica.listen.port)
    server = await asyncio.start_server(wire.carry, "127.0.0.1", 0)
    wire.port = server.sockets[0].getsockname()[1]
    try:
        yield wire
    finally:
        server.close()
        for writer in wire.writers:
            writer.transport.abort()
        await asyncio.sleep(0)  # the transports close their sockets


def with_keys(keys: SenderKeys) -> AgentSettings:
    return msgspec.structs.replace(QUICK, keys=keys)


def registered(api: Api) -> list[str]:
    return sorted(one.service_name for one in api.replica.view.catalog)


async def test_every_request_of_an_agent_is_signed_and_none_has_the_secret() -> None:
    settings = with_keys(SenderKeys(shared_key(SECRET)))
    async with serving(CLOSED) as api, wire_to(api) as wire, stand_in() as service:
        async with standing(wire.url, spec(service, check=CheckKind.NONE), settings=settings) as agent:
            await becomes(lambda: agent.addresses("osint-service"), [service.host])
            async with agent.session.post(f"{agent.url}/drain") as answer:
                assert answer.status == 200
            await eventually(lambda: {"/watch/ack", "/heartbeat"} <= wire.paths, "it acknowledges, and renews")
        kinds = {f"{method} {re.split('[/?]', path)[1]}" for method, path, _ in wire.requests}
        expected = {"POST register", "POST heartbeat", "POST watch", "GET watch", "PUT status", "DELETE deregister"}
        assert expected <= kinds
        for method, path, headers in wire.requests:
            assert "Signature-Input: vertice=" in headers, (method, path)
        assert SECRET.encode() not in wire.sent
        signatures = re.findall(rb"\r\nSignature: [^\r]*", bytes(wire.sent))
        assert len(set(signatures)) == len(signatures), "each is signed anew"
        assert registered(api) == [], "it could also deregister"


async def test_each_service_is_written_with_its_own_key_alone() -> None:
    keys = {
        "first-service": service_key("first_service", SECRET),
        "second-service": service_key("second-service", SECRET),
    }
    settings = with_keys(SenderKeys(None, keys))
    async with (
        serving(CLOSED) as api,
        wire_to(api) as wire,
        stand_in("127.77.0.1") as one,
        stand_in("127.77.0.2") as two,
    ):
        services = (spec(one, "first_service", check=CheckKind.NONE), spec(two, "second-service", check=CheckKind.NONE))

        def renewed_by() -> set[str]:
            beats = [headers for _, path, headers in wire.requests if path == "/heartbeat"]
            return {key_id for headers in beats for key_id in re.findall(r'keyid="([^"]*)"', headers)}

        async with standing(wire.url, *services, settings=settings):
            await eventually(lambda: registered(api) == ["first_service", "second-service"], "both are registered")
            both = {"service:first_service", "service:second-service"}
            await eventually(lambda: renewed_by() == both, "each is renewed with its own key")
        assert registered(api) == []


async def test_a_key_of_one_service_writes_no_other() -> None:
    keys = SenderKeys(service_key("first_service", SECRET))
    async with serving(CLOSED) as api, stand_in() as other:
        async with standing(
            api.url, spec(other, "second_service", check=CheckKind.NONE), settings=with_keys(keys)
        ) as agent:
            session = agent.sidecar.session
            assert session is not None
            await eventually(lambda: session.report()[0].refused, "it is refused")
            assert "has no right to write" in session.report()[0].problem
        assert registered(api) == []


class Shifted(SystemClock):
    """A machine whose clock is wrong."""

    def __init__(self, by_s: float) -> None:
        super().__init__()
        self._by_s = by_s

    def wall(self) -> float:
        return time.time() + self._by_s


@pytest.mark.parametrize("by_s", [-3600.0, 3600.0, -1e9])
async def test_an_agent_with_a_wrong_clock_signs_by_that_of_the_registry(by_s: float) -> None:
    settings = with_keys(SenderKeys(shared_key(SECRET)))
    async with serving(CLOSED) as api, wire_to(api) as wire, stand_in() as service:
        async with standing(wire.url, spec(service, check=CheckKind.NONE), settings=settings, clock=Shifted(by_s)):
            await eventually(lambda: registered(api) == ["osint_service"], "it is registered")
        registers = [path for method, path, _ in wire.requests if path == "/register"]
        assert len(registers) == 2, "refused once"


async def test_a_write_whose_answer_was_lost_is_signed_anew_and_done_once() -> None:
    """A PUT on a connection that was closed is repeated by aiohttp, signature and all, which looks like a replay."""
    async with serving(CLOSED) as api, wire_to(api) as wire:
        async with registry_client_for((wire.url,), token=SECRET) as client:
            reply, _ = await client.register(claim("billing"), passing=True)
            assert reply.outcome is RequestOutcome.DONE
            wire.losing = 1
            reply = await client.set_status(claim("billing"), Status.WARNING)
            assert reply.outcome is RequestOutcome.DONE, reply.said
        sent = [headers for method, _, headers in wire.requests if method == "PUT"]
        assert len(sent) >= 2
        assert [one.status for one in api.replica.view.catalog] == [Status.WARNING]


@contextlib.asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Run a server that answers every request alike; give its URL, and what it was sent."""
    got: list[bytes] = []
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                got.append(await reader.readuntil(b"\r\n\r\n"))
                writer.write(answer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", got
    finally:
        server.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0)  # the transports close their sockets


@pytest.mark.parametrize(
    ("send", "proven", "given_away"),
    [(Send.AUTO, False, True), (Send.AUTO, True, False), (Send.SIGNED, False, False)],
    ids=["a first contact", "proven", "signed"],
)
async def test_who_pretends_to_be_of_the_last_release_gets_the_secret_at_a_first_contact_at_most(
    monkeypatch: pytest.MonkeyPatch, send: Send, *, proven: bool, given_away: bool
) -> None:
    monkeypatch.setattr("registry_core.security.sending.is_safe", lambda _url: False)
    asking = b"HTTP/1.1 401 X\r\nWWW-Authenticate: X-Registry-Token\r\nContent-Length: 0\r\n\r\n"
    async with answering(asking) as (url, got), aiohttp.ClientSession() as session:
        keys = SenderKeys(shared_key(SECRET), send=send)
        signer = RequestSigner(keys, SystemClock(), proven=(url,) if proven else ())
        answer = await RegistryRequests(session, signer).open("DELETE", url, "/deregister/a/b", within=WITHIN)
        answer.response.close()
    assert answer.response.status == 401
    assert any(SECRET.encode() in request for request in got) is given_away


async def test_an_endless_refusal_ends_the_attempts() -> None:
    body = b'{"error":"Replayed","field":null,"message":"","provided":null,"example":null}'
    refusing = b"HTTP/1.1 401 X\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    async with answering(refusing) as (url, got), aiohttp.ClientSession() as session:
        requests = RegistryRequests(session, RequestSigner(SenderKeys(SigningKey("a", "b")), SystemClock()))
        answer = await requests.open("GET", url, "/live", within=WITHIN)
        assert await answer.read(1000) == body
    assert len(got) == MAX_ATTEMPTS


async def test_a_registry_that_took_signatures_for_an_hour_is_known_after_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("registry_core.security.sending.PROVEN_S", 0.0)
    monkeypatch.setattr("agent.registries.proven.LOOK_S", 0.05)
    settings = msgspec.structs.replace(
        with_keys(SenderKeys(shared_key(SECRET))), state_dir=str(tmp_path / "state"), registry_urls=()
    )
    async with serving(CLOSED) as api, stand_in() as service:
        async with standing(api.url, spec(service, check=CheckKind.NONE), settings=settings):
            await eventually((tmp_path / "state" / "registries.json").exists, "it is kept")
        async with standing(api.url, settings=settings) as agent:
            assert agent.sidecar._signer.proven == {api.url}


@pytest.mark.parametrize("send", [Send.AUTO, Send.TOKEN])
async def test_in_the_middle_of_a_change_of_the_secret_the_second_is_used_where_only_that_is_taken(send: Send) -> None:
    accepting = msgspec.structs.replace(READY, secrets=(SECRET,))
    keys = SenderKeys(shared_key("the-secret-that-was-before"), send=send, other=shared_key(SECRET))
    async with serving(accepting) as api, stand_in() as service:
        async with standing(api.url, spec(service, check=CheckKind.NONE), settings=with_keys(keys)):
            await eventually(lambda: registered(api) == ["osint_service"], "it is registered")
        assert registered(api) == []
