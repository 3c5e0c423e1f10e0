"""The doctor's queries to real name servers, agents and registries, and the command as a whole."""

from __future__ import annotations

import asyncio
import http.server
import json
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from cli.doctor.dns_probes import ask_for_zone
from cli.doctor.fact_collector import examine, look_up
from cli.doctor.facts import ZoneAnswer
from cli.doctor.http_probes import ask_agent, ask_registry
from registry_core.security.sending import SenderKeys
from registry_core.security.signing_keys import shared_key
from tests.beside import http_server
from tests.foreign import name_in, reply_to
from tests.integration.replicas import READY, serving
from tests.programs import VERTICE, accepts, find, free_port, running, wait_until
from tests.resolvers import face, honest, resolver, silent

ZONE = "vertice.internal"
TOKEN = "a-long-random-word"


def doctor(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    argv = ["/usr/bin/env", *(f"{name}={value}" for name, value in environment.items()), *VERTICE, "doctor", *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=40, check=False)


def found(*words: str, **environment: str) -> dict[str, Any]:
    """Return the doctor's findings by id."""
    done = doctor("--json", *words, **environment)
    assert done.returncode in (0, 1), done.stderr
    return {one["id"]: one for one in json.loads(done.stdout)["findings"]}


# -- name servers


async def ask(port: int, zone: str = ZONE, host: str = "127.0.0.1") -> ZoneAnswer:
    return await asyncio.to_thread(ask_for_zone, host, zone, port)


async def test_an_agent_is_recognised_by_the_name_that_only_agents_know() -> None:
    async with face("none") as agent:
        assert await ask(agent.port) is ZoneAnswer.OURS
        assert await ask(agent.port, "fleet.internal") is ZoneAnswer.REFUSES


async def test_a_negative_answer_differs_from_a_refusal() -> None:
    async with resolver(lambda query, _: [reply_to(query, rcode=3)]) as one:
        assert await ask(one.port) is ZoneAnswer.UNKNOWN
    async with resolver(lambda query, _: [reply_to(query, rcode=2)]) as one:
        assert await ask(one.port) is ZoneAnswer.REFUSES


async def test_an_agent_behind_a_forwarding_resolver_is_recognised_too(tmp_path: Path) -> None:
    async with face("none") as agent:
        port = free_port()
        argv = [find("dnsmasq"), "--keep-in-foreground", "--no-resolv", "--no-hosts", "--conf-file=/dev/null"]
        argv += ["--listen-address=127.0.0.1", "--bind-interfaces", f"--port={port}", "--pid-file="]
        argv += [f"--server=/{ZONE}/127.0.0.1#{agent.port}"]
        with running(argv, tmp_path / "log"):
            await asyncio.to_thread(wait_until, lambda: accepts(port), "dnsmasq listens")
            assert await ask(port) is ZoneAnswer.OURS
            assert await ask(port, "fleet.internal") is ZoneAnswer.REFUSES


async def test_a_foreign_zone_differs_from_ours() -> None:
    def theirs(query: bytes, transport: str) -> list[bytes]:
        if name_in(query).rstrip(".") == ZONE:
            return [reply_to(query, f"{ZONE}. 300 IN SOA ns.example. root.example. 1 2 3 4 5")]
        return [reply_to(query, rcode=3)]

    async with resolver(theirs) as one:
        assert await ask(one.port) is ZoneAnswer.ELSEWHERES
    # A server that answers every name with the same address is no agent, although it answers ours.
    async with resolver(honest) as one:
        assert await ask(one.port) is ZoneAnswer.ELSEWHERES


async def test_no_answer_and_a_foreign_answer_count_as_silent() -> None:
    async with resolver(silent) as one:
        assert await ask(one.port) is ZoneAnswer.SILENT
    assert await ask(free_port()) is ZoneAnswer.SILENT
    async with resolver(lambda query, _: [b"\0\0" + reply_to(query)[2:], b"x", query]) as one:
        assert await ask(one.port) is ZoneAnswer.SILENT


def test_a_missing_name_is_a_problem_but_no_error() -> None:
    looked = look_up("nobody.invalid")
    assert (looked.done, looked.addresses) == (True, ())
    assert looked.problem
    assert look_up("localhost").addresses


# -- the registry


async def test_the_registry_reports_the_source_address_of_a_request() -> None:
    async with serving() as api:
        answer = await api.call("GET", "/whoami", headers={"X-Forwarded-For": "192.0.2.1"})
        assert (answer.status, answer.body) == (200, {"address": "127.0.0.1"})


@pytest.mark.parametrize(("token", "status"), [(TOKEN, 404), ("wrong", 401), ("", 401)])
async def test_a_registry_is_seen_with_its_clock_and_its_answer_to_our_token(token: str, status: int) -> None:
    keys = SenderKeys(shared_key(token)) if token else SenderKeys()
    async with serving(msgspec.structs.replace(READY, secrets=(TOKEN,))) as api:
        seen = await asyncio.to_thread(ask_registry, api.url, keys)
        assert (seen.problem, seen.is_ready, seen.write_status, seen.seen_as) == ("", True, status, "127.0.0.1")
        assert seen.version
        assert seen.ahead_s is not None
        assert abs(seen.ahead_s) <= seen.error_s + 0.1, "the same clock"
        listed = (await api.call("GET", "/services")).body
        # A registry that has refused writes and holds nothing does not say that there is nothing.
        assert listed == [] or listed["error"] == "Warming", "nothing was registered"


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"<html>welcome</html>")

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def website() -> Iterator[str]:
    with http_server(_Handler) as port:
        yield f"http://127.0.0.1:{port}"


def test_another_server_is_not_mistaken_for_a_registry_or_an_agent(website: str) -> None:
    assert ask_registry(website, SenderKeys()).problem == "the server there is not a registry (GET /ready: 200)"
    assert ask_agent(website) is None


def test_an_unreachable_registry_is_reported_with_the_reason() -> None:
    assert ask_registry(f"http://127.0.0.1:{free_port()}", SenderKeys()).problem == "Connection refused"
    assert "cannot be resolved" in ask_registry("http://registry.invalid:8888", SenderKeys()).problem
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        assert ask_registry(f"http://127.0.0.1:{deaf.getsockname()[1]}", SenderKeys()).problem == "timed out"
    assert "TLS" in ask_registry_with_tls().problem


def ask_registry_with_tls() -> Any:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        try:
            return ask_registry(f"https://127.0.0.1:{server.server_address[1]}", SenderKeys())
        finally:
            thread.join()


# -- the command


def test_the_doctor_takes_missing_settings_from_a_running_agent(tmp_path: Path) -> None:
    registry, web, dns = free_port(), free_port(), free_port()
    agent = {
        "AGENT_HTTP_LISTEN": f"127.0.0.1:{web}",
        "AGENT_DNS_LISTEN": f"127.0.0.1:{dns}",
        "AGENT_DNS_FORWARD": "none",
    }
    own = {
        "SERVICE_NAME": "billing",
        "SERVICE_HOST": "127.0.0.1",
        "SERVICE_PORT": str(registry),
        "REGISTRY_URL": f"http://127.0.0.1:{registry}",
        "VERTICE_REGISTRY_TOKEN": TOKEN,
        "AGENT_STATE_DIR": str(tmp_path / "state"),
    }
    with (
        running(
            [*VERTICE, "registry", "--listen", f"127.0.0.1:{registry}"], tmp_path / "r", {"REGISTRY_SECRET": TOKEN}
        ),
        running([*VERTICE, "agent"], tmp_path / "a", {**agent, **own}),
    ):
        wait_until(lambda: accepts(registry) and accepts(web), "both listen")
        told = found(**agent)
        assert (
            told["settings-of-agent"]["what"]
            == "SERVICE_NAME and REGISTRY_URL are not set here; the value of the running agent is used"
        )
        assert {"agent", "port-ours", "registry", "advertised-loopback-here", "token-missing"} <= set(told)
        whole = found(**agent, **own)
        assert {"token", "state-dir", "settings"} <= set(whole)
        assert not {"token-missing", "settings-of-agent", "advertised-not-listening", "state-dir-taken"} & set(whole)
        other = found(**{**agent, **own, "SERVICE_NAME": "mail_relay"})
        assert "it registers billing, not mail_relay" in other["agent-other"]["what"]


def test_without_an_agent_its_ports_are_judged() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as rival:
        rival.bind(("127.0.0.1", 0))
        port = rival.getsockname()[1]
        taken = found(AGENT_DNS_LISTEN=f"127.0.0.1:{port}", AGENT_HTTP_LISTEN=f"127.0.0.1:{free_port()}")
        assert f"127.0.0.1:{port} (udp), which the agent needs for DNS, is taken by" in taken["port-taken"]["what"]
        assert {"agent-not-running", "port", "registry-away"} <= set(taken)


def test_an_invalid_setting_is_a_finding_and_the_rest_is_examined(tmp_path: Path) -> None:
    wrong = found(AGENT_DNS_ZONES="x")
    assert wrong["settings-wrong"]["what"] == "AGENT_DNS_ZONES: there is no such setting (did you mean AGENT_DNS_ZONE?)"
    assert "zone" in wrong
    missing = found("--config", str(tmp_path / "none.toml"))
    assert missing["settings-wrong"]["what"] == f"{tmp_path}/none.toml: cannot be read: No such file or directory"


def test_the_exit_code_shows_errors_and_with_strict_also_warnings(tmp_path: Path) -> None:
    registry = free_port()
    calm = {
        "AGENT_HTTP_LISTEN": f"127.0.0.1:{free_port()}",
        "AGENT_DNS_LISTEN": f"127.0.0.1:{free_port()}",
        "REGISTRY_URL": f"http://127.0.0.1:{registry}",
    }
    argv = [*VERTICE, "registry", "--listen", f"127.0.0.1:{registry}"]
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/resolv.conf").write_text("nameserver 127.0.0.1\n")
    with running(argv, tmp_path / "log"):
        wait_until(lambda: accepts(registry), "the registry listens")
        zone = {**calm, "AGENT_DNS_ZONE": "fleet"}
        warned = doctor("--root", str(root), **zone)
        assert (warned.returncode, warned.stderr) == (0, ""), warned.stdout
        assert "[zone-single-label]" in warned.stdout
        assert "checks passed" in warned.stdout
        assert "\x1b" not in warned.stdout
        assert doctor("--strict", "--root", str(root), **zone).returncode == 1
        assert doctor("--root", str(root), **calm, AGENT_DNS_ZONE="fleet.local").returncode == 1
    usage = doctor("--agent", "nowhere")
    assert (usage.returncode, usage.stdout) == (2, "")


def test_the_examination_ends_and_names_what_hung(monkeypatch: pytest.MonkeyPatch) -> None:
    never = threading.Event()
    monkeypatch.setattr("cli.doctor.fact_collector.ELSEWHERE_S", 0.5)
    monkeypatch.setattr("cli.doctor.fact_collector.look_up", lambda _: never.wait())
    monkeypatch.setattr("cli.doctor.fact_collector.look_at", lambda _: never.wait())
    monkeypatch.setattr("cli.doctor.fact_collector.ask_registry", lambda *_: never.wait())
    facts = examine({"AGENT_STATE_DIR": "/var/lib/vertice", "AGENT_HTTP_LISTEN": f"127.0.0.1:{free_port()}"})
    assert facts.lookup is not None
    assert not facts.lookup.done
    assert facts.registries[0].problem == "it did not answer in time"
    assert "AGENT_STATE_DIR" in facts.not_in_time
    never.set()


async def test_an_agent_whose_service_is_refused_is_found_with_the_registry_s_reason(tmp_path: Path) -> None:
    async with serving(msgspec.structs.replace(READY, secrets=(TOKEN,))) as api:
        http, service = free_port(), free_port()
        settings = {
            "AGENT_HTTP_LISTEN": f"127.0.0.1:{http}",
            "AGENT_DNS_LISTEN": f"127.0.0.1:{free_port()}",
            "AGENT_DNS_FORWARD": "none",
            "REGISTRY_URL": api.url,
            "VERTICE_REGISTRY_TOKEN": "not-the-token",
            "SERVICE_NAME": "billing",
            "SERVICE_HOST": "127.0.0.1",
            "SERVICE_PORT": str(service),
            "AGENT_CHECK": "tcp",
        }
        with socket.create_server(("127.0.0.1", service)), running([*VERTICE, "agent"], tmp_path / "log", settings):

            def refused() -> bool:
                agent = ask_agent(f"http://127.0.0.1:{http}")
                return agent is not None and any(one.refusal for one in agent.services)

            await asyncio.to_thread(wait_until, refused, "the agent knows that it is refused")
            seen = await asyncio.to_thread(found, **settings)
    assert seen["agent-refused"]["severity"] == "error"
    assert seen["agent-refused"]["what"].startswith("the registry refuses billing: ")
    assert "token-wrong" in seen
