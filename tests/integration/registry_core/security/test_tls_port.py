"""A replica's port with TLS, as openssl, curl and rude clients see it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from registry_core import loopback_survey
from registry_core.errors import SettingsError
from registry_core.ports.clock import Clock, SystemClock
from registry_core.replica import Replica
from registry_core.security.tls_contexts import server_context
from registry_core.security.tls_port import DONE, EVICTED, FAILED, LATE, NO_TLS, HandshakeLimits, TlsPort
from tests.certificates import Authority
from tests.integration.replicas import READY, serving
from tests.integration.tls import TlsFiles, s_client, tls_files
from tests.programs import eventually, find
from tests.samples import FakeClock

HELLO_OF_TLS_1_0 = b"\x16\x03\x01"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls") / "fleet")


@pytest.fixture
def files(tmp_path: Path, authority: Authority) -> TlsFiles:
    return tls_files(tmp_path, authority)


class Echo(asyncio.Protocol):
    """Sends back what arrives, and counts the connections."""

    served = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        type(self).served += 1
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)


@contextlib.asynccontextmanager
async def port_of(
    files: TlsFiles, limits: HandshakeLimits, clock: Clock | None = None
) -> AsyncIterator[tuple[TlsPort, int]]:
    """Serve an echo behind TLS."""
    context = await asyncio.to_thread(lambda: server_context(files.pair)[0])
    port = TlsPort(lambda: context, clock=clock if clock is not None else SystemClock(), limits=limits)
    server = await asyncio.get_running_loop().create_server(port.guarding(Echo), "127.0.0.1", 0)
    try:
        yield port, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for connection in list(port.handshaking):
            connection.end(FAILED, "")
        await asyncio.sleep(0)


async def test_it_speaks_tls_1_2_and_1_3_and_nothing_older(files: TlsFiles) -> None:
    async with serving(files.settings(), tls=files.trusting()) as api:
        port = api.replica.listen.port
        trust = ("-CAfile", files.authority.ca, "-cipher", "ALL:@SECLEVEL=0")
        assert "Cipher is ECDHE-ECDSA-AES256-GCM-SHA384" in await s_client(port, "-tls1_2", *trust)
        assert "Cipher is TLS_AES_256_GCM_SHA384" in await s_client(port, "-tls1_3", *trust)
        for version in ("-tls1", "-tls1_1"):
            assert "alert protocol version" in await s_client(port, version, *trust)


async def test_weak_ciphers_renegotiation_and_tickets_are_refused(files: TlsFiles) -> None:
    async with serving(files.settings()) as api:
        port = api.replica.listen.port
        said = await s_client(port, "-tls1_2", "-cipher", "AES128-SHA:ECDHE-ECDSA-AES128-SHA")
        assert "handshake failure" in said
        said = await s_client(port, "-tls1_2", given="R\n", until="no renegotiation")
        assert "no renegotiation" in said
        assert "TLS session ticket:" not in said
        assert "Compression: NONE" in said
        asked = "GET /live HTTP/1.1\r\nHost: x\r\n\r\n"
        assert "New Session Ticket" not in await s_client(port, "-tls1_3", given=asked, until='"status"')


async def test_curl_looks_up_and_writes(files: TlsFiles) -> None:
    async with serving(files.settings()) as api:
        body = '{"service_name":"billing","host":"10.0.0.7","port":8034}'
        json_type = ("-H", "Content-Type: application/json")
        curl = (find("curl"), "-sS", "--fail", "--cacert", str(files.authority.ca))

        async def ask(*words: str) -> bytes:
            program = await asyncio.create_subprocess_exec(*curl, *words, stdout=-1)
            said, _ = await program.communicate()
            assert program.returncode == 0
            return said

        await ask(*json_type, "-d", body, f"{api.url}/register")
        assert json.loads(await ask("--http2", f"{api.url}/services")) == ["billing"]


async def test_plain_http_on_the_port_is_told_to_use_https(files: TlsFiles) -> None:
    async with serving(files.settings()) as api:
        with capture_logs() as lines:
            for _ in range(3):
                reader, writer = await asyncio.open_connection("127.0.0.1", api.replica.listen.port)
                writer.write(b"GET /services HTTP/1.1\r\nHost: x\r\n\r\n")
                head, _, body = (await reader.read()).partition(b"\r\n\r\n")
                writer.close()
                assert head.startswith(b"HTTP/1.1 400 ")
                assert set(json.loads(body)) == {"error", "field", "message", "provided", "example"}
                assert b"https" in body
        told = [line for line in lines if line["event"] == "tls_handshake_failed"]
        assert len(told) == 1  # thinned
        assert api.replica.tls.handshakes()[NO_TLS] == 3


async def test_tls_on_a_plain_port_is_logged_now_and_then(files: TlsFiles) -> None:
    async with serving() as api:
        with capture_logs() as lines:
            for _ in range(3):
                with pytest.raises(ssl.SSLError):
                    await asyncio.open_connection("127.0.0.1", api.replica.listen.port, ssl=files.trusting())
        assert [line["event"] for line in lines] == ["tls_on_a_plain_port"]
        assert "REGISTRY_TLS_CERT" in lines[0]["because"]
        assert (await api.call("GET", "/services")).status == 200


async def test_large_bodies_and_answers_pass_whole(files: TlsFiles) -> None:
    async with serving(files.settings(), tls=files.trusting()) as api:
        note = "x" * 3000
        for number in range(400):
            await api.register(f"svc-{number}", port=2000 + number, metadata={"note": note})
        body = (await api.call("GET", "/catalog")).body
        assert len(msgspec.json.encode(body)) > 400 * 3000
        refused = await api.call("POST", "/register", b" " * 200_000)
        assert refused.status in (400, 413)


async def test_a_handshake_that_does_not_end_is_ended(files: TlsFiles) -> None:
    async with port_of(files, HandshakeLimits(seconds=0.05)) as (port, number):
        silent, idle = await asyncio.open_connection("127.0.0.1", number)
        half, writer = await asyncio.open_connection("127.0.0.1", number)
        writer.write(HELLO_OF_TLS_1_0)
        with contextlib.suppress(ConnectionError):
            assert await silent.read() == b""
        with contextlib.suppress(ConnectionError):
            assert await half.read() == b""
        for one in (idle, writer):
            one.close()
        assert port.outcomes[LATE] == 2
        assert not port.handshaking


async def test_the_oldest_handshake_makes_room_for_a_client_that_means_it(files: TlsFiles) -> None:
    async with port_of(files, HandshakeLimits(connections=8)) as (port, number):
        held = [await asyncio.open_connection("127.0.0.1", number) for _ in range(40)]
        await eventually(lambda: port.outcomes[EVICTED] >= 32, "the limit")
        assert len(port.handshaking) <= 8
        reader, writer = await asyncio.open_connection("127.0.0.1", number, ssl=files.trusting())
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()
        for _, idle in held:
            idle.close()


class From(asyncio.Transport):
    """A transport of a connection from some address, which takes everything."""

    def __init__(self, host: str, number: int = 1) -> None:
        super().__init__({"peername": (host, number), "sockname": ("10.0.0.9", 8888)})
        self.protocol: asyncio.Protocol | None = None
        self.sent = b""
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += bytes(data)

    def abort(self) -> None:
        self.aborted = True

    close = abort

    def is_closing(self) -> bool:
        return self.aborted

    def pause_reading(self) -> None:
        """There is nothing more to read."""

    resume_reading = pause_reading


def connect(port: TlsPort, host: str, hello: bytes = b"", number: int = 1) -> From:
    transport = From(host, number)
    transport.protocol = connection = port.guarding(Echo)()
    connection.connection_made(transport)
    if hello:
        connection.data_received(hello)
    return transport


async def test_a_flood_of_handshakes_from_one_address_costs_no_other_its_own(files: TlsFiles) -> None:
    async with port_of(files, HandshakeLimits(connections=8)) as (port, _):
        good = [connect(port, f"10.0.0.{number}") for number in range(1, 4)]
        flood = [connect(port, "10.6.6.6") for _ in range(100)]
        assert not any(each.aborted for each in good), "although they are the oldest"
        assert sum(not each.aborted for each in flood) == 4, "half of all are for one address"
        newcomer = connect(port, "10.0.0.9")
        assert not newcomer.aborted
        assert len(port.handshaking) == len(port._slots) <= 8
        assert port.outcomes[EVICTED] == 96


async def test_a_slow_handshake_is_not_the_one_that_a_fresh_flood_costs(files: TlsFiles) -> None:
    clock = FakeClock()
    async with port_of(files, HandshakeLimits(connections=8), clock) as (port, _):
        slow = [connect(port, f"10.0.0.{number}") for number in range(1, 5)]
        clock.pass_time(3.0)
        flood = [connect(port, "10.6.6.6") for _ in range(4)]
        connect(port, "10.0.0.9")
        assert not any(each.aborted for each in slow)
        assert sum(each.aborted for each in flood) == 1


async def test_many_addresses_take_no_more_than_all_places_and_a_newcomer_still_gets_one(files: TlsFiles) -> None:
    async with port_of(files, HandshakeLimits(connections=8)) as (port, _):
        for number in range(100):
            connect(port, f"10.6.{number}.1")
        assert len(port.handshaking) == 8
        assert not connect(port, "10.0.0.9").aborted


async def test_a_trusted_proxy_has_no_share_and_loses_its_handshakes_last(files: TlsFiles) -> None:
    context = await asyncio.to_thread(lambda: server_context(files.pair)[0])
    port = TlsPort(
        lambda: context, clock=SystemClock(), limits=HandshakeLimits(connections=8), is_shared="10.0.0.5".__eq__
    )
    proxied = [connect(port, "10.0.0.5") for _ in range(6)]
    connect(port, "10.6.6.6"), connect(port, "10.6.6.6")
    assert not connect(port, "10.0.0.5").aborted
    assert not any(each.aborted for each in proxied)
    for connection in list(port.handshaking):
        connection.end(FAILED, "")


async def test_a_handshake_does_not_stand_behind_a_hundred_of_another_address(files: TlsFiles) -> None:
    async with port_of(files, HandshakeLimits()) as (port, _):
        hello, _ = _client_hello(files)
        flood = [connect(port, "10.6.6.6", hello) for _ in range(100)]
        good = connect(port, "10.0.0.1", hello)
        for _ in range(4):
            await asyncio.sleep(0)
        assert good.sent, "its address has every other turn"
        assert sum(bool(each.sent) for each in flood) < 5


async def test_who_leaves_during_a_handshake_takes_no_turn_and_no_memory(files: TlsFiles) -> None:
    async with port_of(files, HandshakeLimits()) as (port, _):
        hello, _ = _client_hello(files)
        for _ in range(50):
            protocol = connect(port, "10.6.6.6", hello).protocol
            assert protocol is not None
            protocol.connection_lost(None)
        assert (len(port.turns), len(port.handshaking), len(port._slots)) == (0, 0, 0)


async def test_on_loopback_the_process_with_most_handshakes_loses_its_own(
    files: TlsFiles, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    def peers(port: int) -> dict[int, str]:
        asked.append(port)
        return dict.fromkeys(range(2, 9), "pid 66")

    monkeypatch.setattr(loopback_survey, "loopback_peers", peers)
    async with port_of(files, HandshakeLimits(connections=8)) as (port, _):
        good = connect(port, "127.0.0.1", number=1)
        flood = [connect(port, "127.0.0.1", number=number) for number in range(2, 9)]
        another = connect(port, "127.0.0.1", number=99)  # the oldest goes: nobody knows yet whose it is
        assert good.aborted
        await eventually(lambda: port._slots.held_by("pid 66") == 7, "it is known")
        for _ in range(3):
            connect(port, "127.0.0.1", number=100)
        assert sum(each.aborted for each in flood) == 3
        assert not another.aborted
        assert asked == [8888]


async def test_an_endless_handshake_is_cut_off(files: TlsFiles) -> None:
    async with port_of(files, HandshakeLimits(octets=20_000)) as (port, number):
        reader, writer = await asyncio.open_connection("127.0.0.1", number)
        # A ClientHello of 100,000 octets, which OpenSSL would take, up to its middle.
        start = b"\x01\x01\x86\xa0\x03\x03" + b"x" * 16_000
        with contextlib.suppress(ConnectionError):
            for part in (start, *[b"x" * 16_000] * 3):
                writer.write(b"\x16\x03\x01" + len(part).to_bytes(2) + part)
                await writer.drain()
            await reader.read()
        writer.close()
        await eventually(lambda: port.outcomes[FAILED] == 1, "the end")


async def test_open_connections_are_served_between_handshakes(files: TlsFiles) -> None:
    many = 40
    async with port_of(files, HandshakeLimits()) as (port, number):
        reader, writer = await asyncio.open_connection("127.0.0.1", number, ssl=files.trusting())
        waiting = [await asyncio.open_connection("127.0.0.1", number) for _ in range(many)]
        await eventually(lambda: len(port.handshaking) == many, "all are there")
        hello, _ = _client_hello(files)
        for _, other in waiting:
            other.write(hello)
        turns = 0
        while len(port.turns) or not turns:
            writer.write(b"x")
            await reader.readexactly(1)
            turns += 1
        assert turns >= many // 4
        assert port.outcomes[DONE] == 1
        for _, other in (*waiting, (reader, writer)):
            other.close()


def _client_hello(files: TlsFiles) -> tuple[bytes, ssl.SSLObject]:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = files.trusting().wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read(), tls


async def test_a_wrong_file_stops_the_start_in_one_line(files: TlsFiles, tmp_path: Path) -> None:
    other = files.authority.issue("IP:127.0.0.1")
    expired = files.authority.issue("IP:127.0.0.1", expired=True)
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nothing")
    for pair, client_ca, setting, because in (
        ((files.pair.cert, str(other.key)), "", "REGISTRY_TLS_CERT", "the key is not that of the certificate"),
        ((str(expired.cert), str(expired.key)), "", "REGISTRY_TLS_CERT", "its certificate has expired"),
        ((str(nonsense), ""), "", "REGISTRY_TLS_CERT", "it does not hold a certificate and its key in PEM"),
        ((str(tmp_path / "none"), ""), "", "REGISTRY_TLS_CERT", "No such file"),
        (files.pair.files, str(nonsense), "REGISTRY_TLS_CLIENT_CA", "it does not hold certificates in PEM"),
    ):
        changed = msgspec.structs.replace(
            files.settings(mutual=bool(client_ca)).tls, pair=type(files.pair)(*pair), client_ca=client_ca
        )
        replica = Replica(msgspec.structs.replace(READY, tls=changed))
        with pytest.raises(SettingsError, match=f"^{setting}: .*{because}"):
            await replica.start()
