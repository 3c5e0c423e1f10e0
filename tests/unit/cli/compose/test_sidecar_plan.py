"""Which services get an agent, with which settings, and why others get none."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from cli.compose.databases import is_database
from cli.compose.errors import ComposeError
from cli.compose.reader import NO_VARIABLES, project_of
from cli.compose.sidecar_plan import Planning, planned
from cli.compose.sidecars import Options, Recipe, SidecarSpec
from tests.fleets import ROOT

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
def test_the_agents_check_matches_the_health_check(test: str, port: int, path: str, protocol: str, how: str) -> None:
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
def test_the_port_comes_from_the_file(body: str, port: int) -> None:
    assert the_only(one(body)).port == port


@pytest.mark.parametrize(
    ("body", "options", "reason"),
    [
        ("image: x", NETNS, "it has no port in `ports`, `expose`, PORT, its health check or its image"),
        ("ports: ['53:53/udp']", NETNS, "it has no TCP port"),
        ("ports: [http]", NETNS, "it has no readable port"),
        ("ports: ['8000:80800']", NETNS, "it has no readable port"),
        ("ports: ['8000'], network_mode: host", NETNS, "it is in the host's network (network_mode: host)"),
        ("ports: ['8000'], network_mode: none", BESIDE, "it has no network"),
        ("ports: ['8000'], network_mode: bridge", NETNS, "it is in Docker's bridge, where no name resolves"),
        ("ports: ['8000'], network_mode: default", BESIDE, "it is in Docker's bridge, where no name resolves"),
        ("ports: ['8000'], network_mode: shared", NETNS, "an agent cannot join its network (network_mode: shared)"),
        ("ports: ['8000'], provider: {type: cloud}", NETNS, "it has no container: a provider runs it"),
        ("ports: ['8000'], network_mode: none", HOST, "it has no network"),
        ("ports: ['8000'], network_mode: 'service:vpn'", NETNS, "it uses the network of another container"),
        ("ports: ['8000'], deploy: {replicas: 3}", NETNS, "it asks for 3 replicas"),
        ("ports: ['8000'], scale: 0", BESIDE, "it asks for 0 replicas"),
        ("ports: ['8000']", HOST, "it publishes no fixed host port for its port 8000"),
        ("ports: ['127.0.0.1:80:8000']", HOST, "it publishes no fixed host port for its port 8000"),
        ("expose: ['8000']", HOST, "it publishes no fixed host port for its port 8000"),
    ],
)
def test_a_service_left_out_is_named_with_the_reason(body: str, options: Options, reason: str) -> None:
    found = one(body, options)
    assert found.sidecars == ()
    assert str(found.left_out[0]).startswith(f"web_shop: {reason}")
    assert found.left_out[0].place.line == 2


@pytest.mark.parametrize(
    ("name", "reason"),
    [("x" * 63, "at most 62"), ("_web", "is not a host name"), ("...", "holds a-z")],
)
def test_a_name_that_cannot_be_registered_is_left_out(name: str, reason: str) -> None:
    found = one("ports: ['8000']", name=name)
    assert found.sidecars == ()
    assert reason in found.left_out[0].text


def test_the_first_of_two_names_that_are_equal_in_dns_gets_the_agent() -> None:
    found = plan("  a-b-c: {expose: ['1']}\n  a_b_c: {expose: ['2']}\n")
    assert [s.service for s in found.sidecars] == ["a-b-c"]
    assert "the same name as" in found.left_out[0].text


def test_databases_are_checked_by_tcp_and_left_out_on_request_unless_named() -> None:
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


def test_the_host_is_the_containers_name_if_that_is_valid() -> None:
    assert the_only(one("expose: [80], container_name: the-shop")).host == "the-shop"
    assert the_only(one("expose: [80], container_name: The-Shop")).host == "web_shop"
    assert the_only(one("expose: [80]")).host == "web_shop"


def test_the_hosts_agent_registers_the_host_and_the_published_port() -> None:
    found = the_only(one("ports: ['8105:8034']", HOST))
    assert (found.host, found.port) == ("10.0.0.7", 8105)
    inside = the_only(one("ports: ['8105:8034'], network_mode: host", HOST))
    assert (inside.host, inside.port, inside.dns) == ("10.0.0.7", 8034, False)


def test_networks_and_profiles_are_those_of_the_service() -> None:
    body = "{expose: [80], networks: {front: , back: {aliases: [b]}}, profiles: [full]}"
    sidecar = the_only(plan(f"  web_shop: {body}\nnetworks: {{front: , back: }}\n", BESIDE))
    assert (sidecar.networks, sidecar.profiles) == (("front", "back"), ("full",))


def test_an_agents_name_is_unused() -> None:
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
def test_a_doubtful_choice_is_made_and_noted(body: str, note: str) -> None:
    found = one(body)
    assert len(found.sidecars) == 1
    assert any(note in str(n) for n in found.notes)


def test_a_service_with_its_own_dns_keeps_it() -> None:
    assert not the_only(one("expose: [8000], dns: [10.0.0.2]")).dns
    assert the_only(one("expose: [8000]")).dns


# -- other people's files, each with what is right in its first lines


def case(name: str, options: Options = NETNS, *wanted: str, variables: Mapping[str, str] = NO_VARIABLES) -> Planning:
    path = next((ROOT / "tests" / "compose_cases").glob(f"{name}-*.yml"))
    return planned(project_of([("c.yml", path.read_bytes())], variables), options, wanted)


@pytest.mark.parametrize("variables", [{}, {"APP_PORT": "9000", "PREFIX": "x"}])
def test_variables_stay_variables(variables: dict[str, str]) -> None:
    sidecar = the_only(case("04", variables=variables))
    assert (sidecar.written_port, sidecar.host) == ("${APP_PORT:-8080}", "${PREFIX:-acme}-shop")
    assert sidecar.port == int(variables.get("APP_PORT", "8080"))
    of_host = the_only(case("04", HOST, variables=variables))
    assert (of_host.written_port, of_host.port) == ("${APP_PORT:-8080}", sidecar.port)


def test_variables_stay_in_a_path_and_in_profiles() -> None:
    body = (
        "expose: [8000], profiles: ['${STAGE:-all}'], healthcheck: {test: 'curl http://localhost:8000/${H:-ok}?a=$$b'}"
    )
    sidecar = the_only(one(body))
    assert (sidecar.health_endpoint, sidecar.health_path) == ("/ok?a=$b", "/${H:-ok}?a=$$b")
    assert sidecar.profiles == ("${STAGE:-all}",)


def test_a_variable_that_cannot_be_followed_is_noted() -> None:
    found = planned(
        project_of(
            [("c.yml", b"services: {web_shop: {ports: ['${BOTH}'], healthcheck: {test: 'true'}}}")], {"BOTH": "80:8080"}
        ),
        NETNS,
    )
    assert the_only(found).written_port == "8080"
    assert "its port is written with variables; 8080 is what they are now" in [n.text for n in found.notes]


def test_a_check_of_another_service_gives_neither_port_nor_path() -> None:
    found = case("13")
    sidecars = {s.service: s for s in found.sidecars}
    assert sidecars.keys() == {"search", "portal"}
    portal = sidecars["portal"]
    assert (portal.port, portal.health_endpoint, portal.check) == (5601, "/health", "tcp")
    [worker] = found.left_out
    assert (worker.service, "its health check, which asks search, or" in worker.text) == ("worker", True)
    assert any("its health check asks search, not itself" in note.text for note in found.notes)


def test_a_job_gets_no_agent_and_a_likely_one_gets_it_when_it_is_named() -> None:
    found = case("14")
    assert [s.service for s in found.sidecars] == ["shop"]
    assert "it is a job: shop waits until it has ended" in str(found.left_out[0])
    assert case("14", NETNS, "migrate").sidecars == ()
    services = "  migrate: {expose: [8000], restart: 'no'}\n"
    assert plan(services).sidecars == ()
    assert [s.service for s in plan(services, NETNS, "migrate").sidecars] == ["migrate"]


def test_a_script_with_a_common_name_makes_no_database() -> None:
    path = ROOT / "tests" / "compose_cases" / "15-healthcheck-script.yml"
    found = planned(project_of([("c.yml", path.read_bytes())]), NETNS, databases=False)
    assert [(s.service, s.protocol) for s in found.sidecars] == [("shop", "http"), ("web", "http")]


def test_the_agent_of_the_host_takes_a_name_that_nobody_has() -> None:
    found = case("05", HOST)
    assert {s.agent for s in found.sidecars} == {"vertice-agent-of-the-host"}
    assert {s.agent for s in one("ports: ['80:80']", HOST).sidecars} == {"vertice-agent"}


@pytest.mark.parametrize(
    ("service", "name", "note"),
    [
        ("db", "db-shop", "it is registered as db-shop: a service name has at least 3 characters, this one has 2"),
        ("Web", "web", "it is registered as web: a service name is written in lower case"),
        ("api.v1", "api-v1", "it is registered as api-v1: "),
    ],
)
def test_a_name_that_cannot_be_registered_is_offered_as_another(service: str, name: str, note: str) -> None:
    text = f"name: shop\nservices: {{{service}: {{expose: [8000]}}}}".encode()
    found = planned(project_of([("c.yml", text)]), NETNS)
    sidecar = the_only(found)
    assert (sidecar.service, sidecar.registered_name, sidecar.agent) == (service, name, f"{service}-agent")
    assert any(remark.text.startswith(note) and "label vertice.name" in remark.text for remark in found.notes)


def test_the_label_chooses_the_name() -> None:
    found = one("expose: [8000], labels: {vertice.name: orders_store}")
    assert the_only(found).registered_name == "orders_store"
    assert any("its label vertice.name says so" in note.text for note in found.notes)


@pytest.mark.parametrize(
    "body",
    [
        "expose: [80], networks: [nowhere]",
        "expose: [80], environment: [{A: b}]",
        "expose: [80], enviroment: {A: b}",
        "expose: [80], network_mode: bridge, networks: {default: }",
    ],
)
def test_what_compose_refuses_gets_no_agents(body: str) -> None:
    with pytest.raises(ComposeError, match="Compose"):
        one(body)
