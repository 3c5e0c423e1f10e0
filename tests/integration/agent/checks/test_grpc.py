"""grpc.health.v1 checks against real gRPC servers, and against other servers."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from agent.checks.grpc import MAX_READ_BYTES, GrpcCall, request_message, status_of
from agent.checks.probes import AddressProbe
from agent.checks.result import WELL, CheckResult
from agent.checks.spec import GrpcCheck, Tls
from tests.integration.agent.checks.results import result
from tests.integration.agents import stand_in
from tests.programs import accepts, free_port, running, wait_until
from tests.samples import claim

SERVER = Path(__file__).with_name("grpc_server.py")


@contextlib.contextmanager
def serving(folder: Path, statuses: str, *more: str) -> Iterator[int]:
    """Run a gRPC server; yield its port."""
    port = free_port()
    with running([sys.executable, str(SERVER), str(port), statuses, *more], folder / "grpc.log"):
        wait_until(lambda: accepts(port), "the gRPC server listens")
        yield port


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with serving(tmp_path_factory.mktemp("grpc"), "=1,billing.v1.Invoices=1,down=2,starting=0") as port:
        yield port


async def asked(port: int, service: str = "", tls: Tls | None = None, timeout_s: float = 5.0) -> CheckResult:
    of = claim(host="127.0.0.1", port=port)
    call = GrpcCall(of, GrpcCheck(service=service, tls=tls), timeout_s)
    return await result(AddressProbe(of.host, timeout_s, call))


@pytest.mark.parametrize("service", ["", "billing.v1.Invoices"])
async def test_serving_is_passing(server: int, service: str) -> None:
    assert await asked(server, service) == WELL


@pytest.mark.parametrize(
    ("service", "because"),
    [
        ("down", "NOT_SERVING"),
        ("starting", "UNKNOWN"),
        ("other", "grpc-status 5 NOT_FOUND: it does not know this service unknown service ü"),
    ],
)
async def test_any_other_status_is_critical_and_named(server: int, service: str, because: str) -> None:
    assert (await asked(server, service)).because == because


async def test_a_server_without_the_health_service_is_critical_and_named(tmp_path: Path) -> None:
    with serving(tmp_path, "none") as port:
        assert "UNIMPLEMENTED: it has no grpc.health.v1" in (await asked(port)).because


async def test_the_check_can_use_tls(tmp_path: Path, certificate: tuple[Path, str]) -> None:
    both, pem = certificate
    with serving(tmp_path, "=1", str(both)) as port:
        assert await asked(port, tls=Tls()) == WELL
        assert await asked(port, tls=Tls(verify=True, ca_pem=pem, server_name="billing.example")) == WELL
        assert "certificate" in (await asked(port, tls=Tls(verify=True, ca_pem=pem))).because.lower()
        assert not (await asked(port)).good


@contextlib.asynccontextmanager
async def saying(answer: bytes, *, hold: bool = False) -> AsyncIterator[int]:
    """Run a server that is not gRPC: it sends `answer` to every client, repeatedly with `hold`."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(answer)
            while hold and answer:
                await writer.drain()
                writer.write(answer)
            if hold:
                await reader.read(-1)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


SETTINGS = b"\0\0\0\4\0\0\0\0\0"


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        SETTINGS,
        SETTINGS + b"\xff\xff\xff\x01\x04\0\0\0\x01",  # a frame that is too long
        SETTINGS + b"\0\0\x01\x01\x05\0\0\0\x01\x88",  # :status 200, and nothing else
        SETTINGS + b"\0\0\x01\x01\x05\0\0\0\x01\x8d",  # :status 404
        SETTINGS + b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x02",  # RST_STREAM
        SETTINGS + b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0b",  # GOAWAY
        SETTINGS + b"\0\0\x02\x01\x05\0\0\0\x01\xff\xff",  # HPACK that ends in the middle
    ],
)
async def test_an_answer_that_is_not_grpc_is_critical_with_the_reason(answer: bytes) -> None:
    async with saying(answer) as port:
        result = await asked(port)
    assert not result.good
    assert result.because


@pytest.mark.parametrize(
    ("frame", "because"),
    [
        (b"\0\0\x08\x06\0\0\0\0\0" + b"12345678", "it sends more than 100 HTTP/2 frames without an answer"),  # PING
        (SETTINGS, "it sends more than 100 HTTP/2 frames without an answer"),
        (b"\0\x3f\xff\x20\0\0\0\0\0" + bytes(16_383), f"its answer has more than {MAX_READ_BYTES} bytes"),  # unknown
    ],
    ids=["PING", "SETTINGS", "large"],
)
async def test_an_endless_answer_is_read_up_to_the_limit(frame: bytes, because: str) -> None:
    async with saying(SETTINGS + frame * (MAX_READ_BYTES // len(frame)), hold=True) as port:
        assert (await asked(port, timeout_s=30.0)).because == because


async def test_a_silent_server_is_critical_after_the_timeout() -> None:
    async with saying(b"", hold=True) as port:
        assert (await asked(port, timeout_s=0.05)).because == "no answer within 0.05 s"


async def test_a_closed_port_is_critical() -> None:
    async with stand_in("127.0.0.1") as service:
        port = service.port
    assert "Connect" in (await asked(port)).because


# -- the message


def test_the_request_names_the_service() -> None:
    assert request_message("") == b"\0\0\0\0\0"
    assert request_message("abc") == b"\0\0\0\0\x05\x0a\x03abc"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"\0\0\0\0\0", 0),
        (b"\0\0\0\0\x02\x08\x01", 1),
        (b"\0\0\0\0\x04\x08\x01\x08\x02", 2),  # the last one counts
        (b"\0\0\0\0\x09\x12\x02hi\x1d1234", 0),
        (b"\0\0\0\0\x06\x12\x02hi\x08\x01", 1),  # unknown fields are skipped
        (b"", None),
        (b"\x01\0\0\0\x02\x08\x01", None),  # compressed, which we did not offer
        (b"\0\0\0\0\x03\x08\x01", None),
        (b"\0\0\0\0\x02\x08\xff", None),
        (b"\0\0\0\0\x02\x0f\x01", None),
        (b"\0\0\0\0\x02\x12\x09", None),
    ],
)
def test_the_answer_is_read_or_refused(body: bytes, status: int | None) -> None:
    if status is None:
        with pytest.raises(ValueError, match="message"):
            status_of(body)
    else:
        assert status_of(body) == status


def test_an_agent_without_a_grpc_check_does_not_load_http2() -> None:
    code = "import sys, agent.sidecar; print([m for m in sys.modules if m.split('.')[0] in ('h2', 'hpack')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout.strip() == "[]"
