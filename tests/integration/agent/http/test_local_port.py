"""Attacks on the agent's localhost port: pages in a browser, other machines, proxies, and paths that look alike."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any, Final, NamedTuple

import aiohttp
import msgspec
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from agent.checks.spec import CheckSpec, TtlCheck
from agent.http.routes import ROUTES
from agent.settings.local_port import WRITE_HEADER, LocalPortSettings
from agent.settings.settings import AgentSettings, ServiceSpec
from agent.view.fallback import of_environment
from registry_core.domain.records import Registration
from registry_core.settings import Listen
from tests.integration.agents import QUICK, AgentUnderTest, standing

NOBODY: Final = "http://127.0.0.1:1"
BROWSER: Final = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
REPORT: Final = '{"status": "passing"}'
MINE: Final = ServiceSpec(
    Registration(service_name="night_batch", host="10.0.0.1", port=8034, instance_id="a"),
    (CheckSpec("ttl", TtlCheck(600.0)),),
)
TOKEN: Final = "a-long-random-word"


class RawAnswer(NamedTuple):
    """An answer as it came."""

    status: int
    head: str
    body: Any

    @property
    def error(self) -> str:
        return str(self.body["error"])


async def send(
    agent: AgentUnderTest, request: str, *headers: str, body: str = "", host: str | None = "localhost", at: str = ""
) -> RawAnswer:
    """Send `request` (method and target) exactly as written; `host` is the Host header, None for none."""
    lines = [request if " HTTP/" in request else f"{request} HTTP/1.1", *headers, "Connection: close"]
    lines += [f"Host: {host}"] if host is not None else []
    lines += [f"Content-Length: {len(body)}"] if body or not request.startswith("GET") else []
    where = agent.sidecar.http_listen
    reader, writer = await asyncio.open_connection(at or where.local_host, where.port)
    writer.write("".join(f"{line}\r\n" for line in lines).encode("latin-1") + b"\r\n" + body.encode())
    async with asyncio.timeout(10):
        said = await reader.read()
    writer.close()
    head, _, raw = said.partition(b"\r\n\r\n")
    is_json = b"application/json" in head and raw
    return RawAnswer(int(head.split()[1]), head.decode("latin-1"), json.loads(raw) if is_json else raw)


@pytest_asyncio.fixture
async def agent() -> AsyncIterator[AgentUnderTest]:
    static = (tuple(of_environment({"MAILER_URL": "http://10.9.9.9:8000"})), ())
    async with standing(NOBODY, MINE, settings=msgspec.structs.replace(QUICK, static_services=static)) as running:
        yield running


def held(agent: AgentUnderTest) -> bool:
    assert agent.sidecar.session is not None
    return any(one.held is not None for one in agent.sidecar.session.report())


# -- DNS rebinding: a page makes its own name lead here, and reads as if this were its own server


@pytest.mark.parametrize("path", ["/services", "/self", "/metrics", "/live", "/resolve/mailer", "/nothing"])
@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8880", "127.0.0.1.evil.example", "localhost.evil.example"]
)
async def test_a_name_that_is_not_the_agents_reads_nothing(agent: AgentUnderTest, path: str, host: str) -> None:
    for _ in range(3):  # also once the answer is ready
        assert (await send(agent, f"GET {path}")).status in (200, 404)
        answer = await send(agent, f"GET {path}", host=host)
        assert (answer.status, answer.error, answer.body["field"]) == (421, "Misdirected", "Host")
        assert "AGENT_HTTP_HOSTS" in answer.body["message"]


async def test_a_ready_answer_on_a_kept_connection_is_not_for_another_name(agent: AgentUnderTest) -> None:
    async def ask(host: str) -> int:
        async with agent.session.get(f"{agent.url}/services", headers={"Host": host}) as answer:
            return answer.status

    said = [await ask(host) for host in ("localhost", "localhost", "evil.example", "localhost", "evil.example")]
    assert said == [200, 200, 421, 200, 421]


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8880",
        "app.localhost",
        "127.0.0.1",
        "127.0.0.1:8880",
        "10.2.3.4:8880",
        "[::1]:8880",
        "[2001:db8::7]",
        "agent:8880",
        "web_agent:8880",
        "agent.vertice.internal",
        "vertice.internal.",
        socket.gethostname(),
    ],
)
async def test_names_that_no_page_can_have_are_the_agents(agent: AgentUnderTest, host: str) -> None:
    assert (await send(agent, "GET /live", host=host)).status == 200


async def test_more_names_can_be_configured() -> None:
    port = LocalPortSettings(hosts=("web1.example.net", "*.svc.example"))
    async with standing(NOBODY, settings=msgspec.structs.replace(QUICK, local_port=port)) as agent:
        for host in ("web1.example.net:8880", "WEB1.example.net.", "a.svc.example", "a.b.svc.example"):
            assert (await send(agent, "GET /live", host=host)).status == 200, host
        for host in ("svc.example", "web2.example.net", "evil-svc.example"):
            assert (await send(agent, "GET /live", host=host)).status == 421, host


async def test_any_name_if_the_settings_say_so() -> None:
    port = LocalPortSettings(hosts=("*",))
    async with standing(NOBODY, settings=msgspec.structs.replace(QUICK, local_port=port)) as agent:
        assert (await send(agent, "GET /live", host="evil.example")).status == 200


async def test_only_http_1_0_does_without_a_host(agent: AgentUnderTest) -> None:
    assert (await send(agent, "GET /live HTTP/1.0", host=None)).status == 200
    assert (await send(agent, "GET /live", host=None)).status == 400
    answer = await send(agent, "GET /live HTTP/1.0", host="evil.example")
    assert answer.status == 421


@pytest.mark.parametrize("hosts", [("localhost", "evil.example"), ("evil.example", "localhost")])
async def test_two_hosts_are_none(agent: AgentUnderTest, hosts: tuple[str, str]) -> None:
    answer = await send(agent, "GET /services", f"Host: {hosts[0]}", host=hosts[1])
    assert answer.status == 400


@pytest.mark.parametrize("host", ["", "localhost:x", "[::1", "local host", "localhost/", "a@localhost", "%6cocalhost"])
async def test_a_host_that_is_none_is_refused(agent: AgentUnderTest, host: str) -> None:
    answer = await send(agent, "GET /services", host=host)
    assert answer.status in (400, 421)
    assert b"night" not in json.dumps(answer.body, default=str).encode()


async def test_a_target_with_a_host_counts_by_that_host(agent: AgentUnderTest) -> None:
    """RFC 9112 section 3.2.2: the target's authority replaces that of the Host field."""
    assert (await send(agent, "GET http://localhost:8880/live", host="localhost")).status == 200
    assert (await send(agent, "GET http://evil.example/live", host="localhost")).status == 421
    assert (await send(agent, "GET http://localhost/services", host="evil.example")).status == 200
    assert (await send(agent, "GET localhost:8880", host="localhost")).status == 400
    assert (await send(agent, "OPTIONS *", host="localhost")).status in (400, 404, 405)


async def test_no_answer_lets_a_page_of_another_origin_read_it(agent: AgentUnderTest) -> None:
    for request in ("GET /services", "GET /live", "OPTIONS /drain", "POST /drain"):
        answer = await send(
            agent,
            request,
            "Origin: http://evil.example",
            "Access-Control-Request-Method: POST",
            f"Access-Control-Request-Headers: {WRITE_HEADER}",
            "Access-Control-Request-Private-Network: true",
        )
        assert "access-control" not in answer.head.lower()
        assert answer.status in ((200,) if request.startswith("GET") else (403, 405))


# -- writes


FORM: Final = "Content-Type: application/x-www-form-urlencoded"
PLAIN: Final = "Content-Type: text/plain;charset=UTF-8"


@pytest.mark.parametrize(
    "headers",
    [
        ("Origin: http://evil.example", f"User-Agent: {BROWSER}"),
        ("Origin: null", f"User-Agent: {BROWSER}"),
        ("Origin: http://evil.example", f"{WRITE_HEADER}: 1"),
        ("Sec-Fetch-Site: cross-site", f"{WRITE_HEADER}: 1"),
        # Through a proxy on this machine that drops what a browser says of itself.
        (f"User-Agent: {BROWSER}",),
        (f"User-Agent: {BROWSER}", "Accept-Encoding: gzip, deflate, br", FORM),
        (f"User-Agent: {BROWSER}", PLAIN),
        ("User-Agent: some-proxy",),
        (),
        (FORM,),
        ("Accept-Encoding: gzip",),
    ],
)
@pytest.mark.parametrize("path", ["/drain", "/maintenance", "/drain?service=night_batch"])
async def test_a_page_takes_nothing_out_of_use(agent: AgentUnderTest, path: str, headers: tuple[str, ...]) -> None:
    answer = await send(agent, f"POST {path}", *headers)
    assert (answer.status, answer.error) == (403, "Forbidden")
    assert not held(agent)


@pytest.mark.parametrize(
    "mark",
    [
        "X-Forwarded-For: 10.0.0.9",
        "X-Forwarded-For: 127.0.0.1",
        "Forwarded: for=10.0.0.9",
        "X-Real-IP: 10.0.0.9",
        "X-Forwarded-Host: evil.example",
        "Via: 1.1 proxy",
    ],
)
@pytest.mark.parametrize("request_line", ["POST /drain", "DELETE /maintenance", "GET /drain", "PUT /check/night_batch"])
async def test_a_request_that_a_proxy_passed_on_is_not_from_this_machine(
    agent: AgentUnderTest, request_line: str, mark: str
) -> None:
    answer = await send(agent, request_line, mark, f"{WRITE_HEADER}: 1", body=REPORT if "PUT" in request_line else "")
    assert (answer.status, answer.error) == (403, "Forbidden")
    assert not held(agent)


async def test_a_write_over_http_1_0_may_be_a_proxys(agent: AgentUnderTest) -> None:
    """The default of nginx, which names nobody for whom it asks."""
    answer = await send(agent, "POST /drain HTTP/1.0", f"{WRITE_HEADER}: 1")
    assert answer.status == 403
    assert not held(agent)


async def test_a_program_of_this_machine_writes(agent: AgentUnderTest) -> None:
    assert (await send(agent, "POST /drain", f"{WRITE_HEADER}: 1")).status == 200
    assert held(agent)
    assert (await send(agent, "DELETE /drain", f"{WRITE_HEADER}: 1")).status == 200
    assert not held(agent)
    assert (await send(agent, "PUT /check/night_batch", f"{WRITE_HEADER}: 1", body=REPORT)).status == 204


async def test_the_command_of_the_last_release_writes(agent: AgentUnderTest) -> None:
    """It sends no User-Agent, and an Accept-Encoding that pages can neither send nor change."""
    answer = await send(agent, "POST /drain", "Accept-Encoding: identity", "Accept: */*")
    assert (answer.status, held(agent)) == (200, True)


async def test_reports_of_services_that_know_no_header_are_taken_and_named_once(agent: AgentUnderTest) -> None:
    """A browser asks before it sends a PUT, and the agent never agrees."""
    with capture_logs() as logs:
        for _ in range(3):
            answer = await send(agent, "PUT /check/night_batch", "User-Agent: curl/8.14", FORM, body=REPORT)
            assert answer.status == 204
        for marks in (["Origin: http://localhost"], ["Sec-Fetch-Mode: cors"], [f"User-Agent: {BROWSER}"]):
            assert (await send(agent, "PUT /check/night_batch", *marks, body=REPORT)).status == 403
    assert [line["path"] for line in logs if line["event"] == "write_without_header"] == ["/check/night_batch"]


# -- beyond loopback, and the token


def beyond(*tokens: str) -> AgentSettings:
    return msgspec.structs.replace(
        QUICK,
        http_listen=Listen("0.0.0.0", 0),
        local_port=LocalPortSettings(tokens=tokens),
    )


def own_address() -> str:
    """Return an address of this machine that is not loopback; skips the test without one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("WRITES FROM BEYOND LOOPBACK WERE NOT TRIED: this machine has no other address")
        return str(probe.getsockname()[0])


async def test_another_machine_reads_but_writes_only_with_the_token() -> None:
    other = own_address()
    async with standing(NOBODY, MINE, settings=beyond(TOKEN, "the-last-word")) as agent:
        assert (await send(agent, "GET /self", at=other, host=other)).status == 200
        for headers in ((), (f"{WRITE_HEADER}: 1",)):
            answer = await send(agent, "POST /drain", *headers, at=other, host=other)
            assert (answer.status, answer.error) == (401, "Unauthorized")
            assert "WWW-Authenticate: Bearer" in answer.head
        for wrong in ("", "wrong", TOKEN[:-1], f"{TOKEN}x", "\xff"):
            answer = await send(agent, "POST /drain", f"Authorization: Bearer {wrong}", at=other, host=other)
            assert (answer.status, held(agent)) == (401, False), wrong
            assert TOKEN not in answer.head + str(answer.body)
        for right in (TOKEN, "the-last-word"):
            answer = await send(agent, "POST /drain", f"Authorization: Bearer {right}", at=other, host=other)
            assert answer.status == 200
        assert held(agent)


async def test_without_a_token_no_other_machine_writes() -> None:
    other = own_address()
    async with standing(NOBODY, MINE, settings=beyond()) as agent:
        for request in ("POST /drain", "GET /drain", "PUT /check/night_batch"):
            answer = await send(agent, request, f"{WRITE_HEADER}: 1", at=other, host=other)
            assert (answer.status, answer.error, held(agent)) == (403, "Forbidden", False)
            assert "AGENT_HTTP_TOKEN" in answer.body["message"]


async def test_with_a_token_programs_of_this_machine_need_it_too() -> None:
    """A proxy on this machine may hide for whom it asks."""
    async with standing(NOBODY, MINE, settings=beyond(TOKEN)) as agent:
        assert (await send(agent, "POST /drain", f"{WRITE_HEADER}: 1")).status == 401
        assert (await send(agent, "POST /drain", f"Authorization: bearer {TOKEN}")).status == 200


async def test_a_page_with_the_token_is_a_page() -> None:
    async with standing(NOBODY, MINE, settings=beyond(TOKEN)) as agent:
        answer = await send(agent, "POST /drain", f"Authorization: Bearer {TOKEN}", "Origin: http://evil.example")
        assert (answer.status, held(agent)) == (403, False)


# -- paths are matched as sent


@pytest.mark.parametrize(
    "target",
    [
        "/services/../self",
        "/services/%2e%2e/self",
        "/services%2fnight_batch",
        "/%73ervices",
        "//services",
        "/services//night_batch",
        "/services/night_batch/",
        "/services/",
        "/self/",
        "/self%00",
        "/self%3fx=1",
        "/drain%2f",
        "/Drain",
        "/.%2fself",
        "/check",
        "/check/",
        "/check/night_batch/a/b",
        "/services/night_batch%2f..%2f..%2fself",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT"])
async def test_what_looks_like_a_path_is_not_that_path(agent: AgentUnderTest, method: str, target: str) -> None:
    answer = await send(agent, f"{method} {target}", f"{WRITE_HEADER}: 1", body=REPORT if method == "PUT" else "")
    assert answer.status in (400, 404, 405)
    assert not held(agent)


@pytest.mark.parametrize(
    "name", ["night%2fbatch", "%00night_batch", "night_batch%0d%0aX: 1", "%ff%fe", "%", "%zz", "%u0041"]
)
@pytest.mark.parametrize("path", ["/services", "/resolve", "/check"])
async def test_an_encoded_separator_is_part_of_a_name(agent: AgentUnderTest, path: str, name: str) -> None:
    method = "PUT" if path == "/check" else "GET"
    answer = await send(agent, f"{method} {path}/{name}", f"{WRITE_HEADER}: 1", body=REPORT if method == "PUT" else "")
    assert answer.status in (400, 404, 503), "no name of a service has such characters"


async def test_an_encoded_letter_of_a_name_is_that_letter(agent: AgentUnderTest) -> None:
    answer = await send(agent, "PUT /check/n%69ght_batch/%61", f"{WRITE_HEADER}: 1", body=REPORT)
    assert answer.status == 204


async def test_every_route_of_the_table_is_served_and_no_other(agent: AgentUnderTest) -> None:
    served = {path: set(handlers) for path, handlers in agent.sidecar._api.handlers.items()}
    assert served == {path: set(rights) for path, rights in ROUTES.items()}


async def test_the_agent_under_test_is_asked_by_its_address(agent: AgentUnderTest) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{agent.url}/live") as answer:
        assert answer.status == 200
