"""Which services get an agent, what it is told, and why others get none."""

from __future__ import annotations

import pytest

from cli.compose.errors import ComposeError
from cli.compose.reader import project_of
from cli.compose.sidecar_plan import Planning, is_database, planned
from cli.compose.sidecars import Options, Recipe, SidecarSpec

NETNS = Options()
BESIDE = Options(recipe=Recipe.BESIDE)
HOST = Options(recipe=Recipe.HOST, host_address="10.0.0.7")


def plan(services: str, options: Options = NETNS, *wanted: str, databases: bool = True) -> Planning:
    return planned(project_of([("c.yml", f"services:\n{services}".encode())]), options, wanted, databases=databases)


def one(body: str, options: Options = NETNS, name: str = "web_shop") -> Planning:
    return plan(f"  {name}: {{{body}}}\n", options)


def the_only(found: Planning) -> SidecarSpec:
    [sidecar] = found.sidecars
    return sidecar


def check(test: str) -> str:
    return f"ports: ['80:8000', '90:9000'], healthcheck: {{test: {test}}}"


@pytest.mark.parametrize(
    ("test", "port", "path", "protocol", "how"),
    [
        ("[CMD, curl, -f, 'http://localhost:8000/ok']", 8000, "/ok", "http", "http"),
        ("[CMD, curl, -f, 'http://localhost:9000/ok?a=1']", 9000, "/ok?a=1", "http", "http"),
        ("[CMD, wget, --spider, 'https://127.0.0.1:8000/']", 8000, "/", "https", "http"),
        ("'wget -q -O- http://localhost:8000/live || exit 1'", 8000, "/live", "http", "http"),
        ("[CMD-SHELL, 'curl http://localhost:8000']", 8000, "/", "http", "http"),
        (
            "[CMD, python, -c, \"import urllib.request as r; r.urlopen('http://localhost:8000/py')\"]",
            8000,
            "/py",
            "http",
            "http",
        ),
        ("[CMD, nc, -z, localhost, '8000']", 8000, "/health", "tcp", "tcp"),
        ("'timeout 1 bash -c </dev/tcp/localhost/8000'", 8000, "/health", "tcp", "tcp"),
        ("[CMD, grpc_health_probe, '-addr=:8000']", 8000, "/health", "grpc", "tcp"),
        ("[CMD, /check]", 8000, "/health", "http", "tcp"),
        ("[NONE]", 8000, "/health", "http", "tcp"),
    ],
)
def test_the_agent_asks_what_the_health_check_asks(test: str, port: int, path: str, protocol: str, how: str) -> None:
    sidecar = the_only(one(check(test)))
    assert (sidecar.port, sidecar.health_endpoint, sidecar.protocol, sidecar.check) == (port, path, protocol, how)


@pytest.mark.parametrize(
    ("body", "port"),
    [
        ("ports: ['8000:8034']", 8034),
        ("ports: [{target: 8034, published: '8000'}]", 8034),
        ("ports: ['53:53/udp', '8000:8034']", 8034),
        ("ports: ['53:53/udp'], expose: [8034]", 8034),
        ("expose: ['8034']", 8034),
        ("environment: {PORT: 8034}", 8034),
        ("environment: [PORT=8034]", 8034),
        ("healthcheck: {test: 'curl http://localhost:8034/'}", 8034),
        ("expose: ['8034'], environment: {PORT: 9000}", 8034),
    ],
)
def test_the_port_is_the_one_that_the_file_says(body: str, port: int) -> None:
    assert the_only(one(body)).port == port


@pytest.mark.parametrize(
    ("body", "options", "reason"),
    [
        ("image: x", NETNS, "it has no port in `ports`, `expose`, PORT or its health check"),
        ("ports: ['53:53/udp']", NETNS, "it has no TCP port"),
        ("ports: [http]", NETNS, "it has no readable port"),
        ("ports: ['8000:80800']", NETNS, "it has no readable port"),
        ("ports: ['8000'], network_mode: host", NETNS, "it is in the host's network (network_mode: host)"),
        ("ports: ['8000'], network_mode: none", BESIDE, "it has no network"),
        ("ports: ['8000'], network_mode: none", HOST, "it has no network"),
        ("ports: ['8000'], network_mode: 'service:vpn'", NETNS, "it uses the network of another container"),
        ("ports: ['8000'], deploy: {replicas: 3}", NETNS, "it asks for 3 replicas"),
        ("ports: ['8000'], scale: 0", BESIDE, "it asks for 0 replicas"),
        ("ports: ['8000']", HOST, "it publishes no fixed host port for its port 8000"),
        ("ports: ['127.0.0.1:80:8000']", HOST, "it publishes no fixed host port for its port 8000"),
        ("expose: ['8000']", HOST, "it publishes no fixed host port for its port 8000"),
    ],
)
def test_who_is_left_out_is_named_with_the_reason(body: str, options: Options, reason: str) -> None:
    found = one(body, options)
    assert found.sidecars == ()
    assert str(found.left_out[0]).startswith(f"web_shop: {reason}")
    assert found.left_out[0].place.line == 2


@pytest.mark.parametrize(
    ("name", "reason"),
    [("Web", "lower case"), ("ab", "at least 3"), ("a.b.c", "not '.'"), ("x" * 64, "at most 63"), ("_web", "starts")],
)
def test_a_name_that_cannot_be_registered_is_left_out(name: str, reason: str) -> None:
    found = one("ports: ['8000']", name=name)
    assert found.sidecars == ()
    assert reason in found.left_out[0].text


def test_of_two_names_that_are_one_in_dns_the_first_gets_the_agent() -> None:
    found = plan("  a-b-c: {expose: ['1']}\n  a_b_c: {expose: ['2']}\n")
    assert [s.service for s in found.sidecars] == ["a-b-c"]
    assert "the same name as" in found.left_out[0].text


def test_databases_are_checked_by_tcp_and_left_out_when_that_is_said_unless_they_are_named() -> None:
    services = "  cache: {image: 'redis:7', ports: ['6379:6379']}\n  web: {ports: ['8000']}\n"
    without = plan(services, databases=False)
    assert [s.service for s in without.sidecars] == ["web"]
    assert str(without.left_out[0]).startswith("cache: it is a database or a broker")
    for found in (plan(services), plan(services, NETNS, "cache", databases=False)):
        assert (found.sidecars[0].service, found.sidecars[0].protocol, found.sidecars[0].check) == (
            "cache",
            "tcp",
            "tcp",
        )


@pytest.mark.parametrize(
    ("body", "database"),
    [
        ("image: 'registry.example:5000/library/postgres:16@sha256:00'", True),
        ("image: timescale/timescaledb:latest-pg15", True),
        ("image: mcr.microsoft.com/mssql/server", True),
        ("image: example/server", False),
        ("image: provectuslabs/kafka-ui", False),
        ("image: example/postgres-exporter", False),
        ("build: ., healthcheck: {test: [CMD-SHELL, pg_isready -U shop]}", True),
        ("build: .", False),
    ],
)
def test_a_database_is_known_by_its_image_or_by_its_health_check(body: str, database: bool) -> None:
    project = project_of([("c.yml", f"services: {{web: {{{body}}}}}".encode())])
    assert is_database(project.services["web"]) is database


def test_an_unknown_service_is_refused_by_name() -> None:
    with pytest.raises(ComposeError, match="no service 'nobody'"):
        plan("  web: {ports: ['8000']}\n", NETNS, "web", "nobody")


def test_the_host_is_the_containers_name_where_that_is_a_good_one() -> None:
    assert the_only(one("expose: [80], container_name: the-shop")).host == "the-shop"
    assert the_only(one("expose: [80], container_name: The-Shop")).host == "web_shop"
    assert the_only(one("expose: [80]")).host == "web_shop"


def test_for_the_hosts_agent_it_is_the_host_and_the_published_port() -> None:
    found = the_only(one("ports: ['8105:8034']", HOST))
    assert (found.host, found.port) == ("10.0.0.7", 8105)
    inside = the_only(one("ports: ['8105:8034'], network_mode: host", HOST))
    assert (inside.host, inside.port, inside.dns) == ("10.0.0.7", 8034, False)


def test_networks_and_profiles_are_those_of_the_service() -> None:
    body = "{expose: [80], networks: {front: , back: {aliases: [b]}}, profiles: [full]}"
    sidecar = the_only(plan(f"  web_shop: {body}\nnetworks: {{front: , back: }}\n", BESIDE))
    assert (sidecar.networks, sidecar.profiles) == (("front", "back"), ("full",))


def test_an_agents_name_is_one_that_nobody_has() -> None:
    found = plan("  web: {expose: [80]}\n  web-agent: {expose: [81]}\n")
    assert [s.agent for s in found.sidecars] == ["web-vertice-agent", "web-agent-agent"]


@pytest.mark.parametrize(
    ("body", "note"),
    [
        (
            "ports: ['8000'], healthcheck: {test: 'curl http://localhost:8001/'}",
            "uses port 8001, but it listens on 8000",
        ),
        ("ports: ['8000:80']", "it listens on 80, which the registry accepts only with REGISTRY_MIN_PORT=80"),
        ("ports: ['8000']", "it has no health check; its port is checked by tcp"),
        ("expose: [8000], dns: 10.0.0.2", "it has its own `dns`, which stays"),
        ("expose: [8000, 53]", "it listens on port 53 itself"),
        ("expose: [8000], healthcheck: {test: 'curl http://localhost:8000/../x'}", "/health is used"),
    ],
)
def test_what_is_doubtful_is_noted_and_done_all_the_same(body: str, note: str) -> None:
    found = one(body)
    assert len(found.sidecars) == 1
    assert any(note in str(n) for n in found.notes)


def test_a_service_with_a_dns_of_its_own_keeps_it() -> None:
    assert not the_only(one("expose: [8000], dns: [10.0.0.2]")).dns
    assert the_only(one("expose: [8000]")).dns
