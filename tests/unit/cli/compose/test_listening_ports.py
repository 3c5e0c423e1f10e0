"""The ports on which a service listens: declared, hinted at, and published."""

from __future__ import annotations

import pytest

from cli.compose.listening_ports import ListeningPorts, is_infrastructure, listening_of
from cli.compose.model import ComposeService
from cli.compose.reader import project_of
from tests.growth import grows_linearly


def service(body: str) -> ComposeService:
    """Return the service that a flow mapping describes."""
    return project_of([("compose.yml", f"services: {{one: {body}}}".encode())], {}).checked().services["one"]


def listening(body: str) -> ListeningPorts:
    return listening_of(service(body))


@pytest.mark.parametrize(
    ("body", "numbers", "main"),
    [
        ("{ports: ['8000:8034']}", [8034], 8034),
        ("{ports: ['8034'], expose: ['9000']}", [8034, 9000], 8034),
        ("{ports: ['[::1]:8000:8034', '10.0.0.7:8001:8035']}", [8034, 8035], 8034),
        ("{expose: ['7000-7002', '7000-7002', '7001']}", [7000, 7001, 7002], 7000),
        ("{expose: ['7000-7100']}", list(range(7000, 7020)), 7000),
        ("{ports: ['53:53/udp']}", [], None),
        ("{image: example/web}", [], None),
    ],
)
def test_declared_ports_are_the_containers_tcp_ports(body: str, numbers: list[int], main: int | None) -> None:
    found = listening(body)
    assert (found.numbers, found.main) == (numbers, main)
    assert all(found.is_declared(number) for number in numbers)


@pytest.mark.parametrize(
    ("body", "hinted"),
    [
        ("{environment: {PORT: '8034'}}", {8034: "PORT"}),
        ("{environment: {http_port: ' 8034 ', METRICS_PORT: 9100}}", {8034: "http_port", 9100: "METRICS_PORT"}),
        ("{environment: {PORT: '8034', APP_PORT: '8034'}}", {8034: "PORT"}),
        ("{environment: {DB_PORT: '5432', PORT: web, API_PORT: '', WEB_PORT: }}", {}),
        ("{environment: {PORT: '0', APP_PORT: '65536', API_PORT: '999999', WEB_PORT: '65535'}}", {65535: "WEB_PORT"}),
        ("{environment: {PORT: '\uff18\uff10'}}", {}),
        ("{healthcheck: {test: 'curl http://localhost:8034/health'}}", {8034: "its health check"}),
        ("{healthcheck: {test: 'curl http://localhost:8034/health', disable: true}}", {}),
        ("{image: 'registry.example:5000/library/Redis:7-alpine@sha256:00'}", {6379: "its image"}),
        ("{image: 'redis:7', environment: {PORT: '8034'}}", {8034: "PORT"}),
        ("{image: 'redis:7', expose: ['7000']}", {}),
    ],
)
def test_health_check_variables_and_image_hint_at_ports(body: str, hinted: dict[int, str]) -> None:
    found = listening(body)
    assert found.hinted == hinted
    assert found.known is bool(hinted or found.declared)


@pytest.mark.parametrize(
    ("body", "main"),
    [
        ("{expose: ['7000', '7001'], environment: {PORT: '7001'}}", 7001),
        ("{expose: ['7000', '7001'], environment: {PORT: '7002'}}", 7000),
        ("{environment: {APP_PORT: '7001', METRICS_PORT: '7002'}}", 7001),
    ],
)
def test_the_main_port_is_a_declared_one_and_the_hinted_one_of_several(body: str, main: int) -> None:
    assert listening(body).main == main


@pytest.mark.parametrize(
    ("body", "published", "target"),
    [
        ("{ports: ['8000:8034']}", 8000, 8034),
        ("{ports: ['8000-8002:7000-7002']}", 8002, 7002),
        ("{ports: [{target: 8034, published: 8000}]}", 8000, 8034),
        ("{ports: ['8000:8034']}", 8034, None),
        ("{ports: ['3000-3005:80']}", 3000, None),
        ("{ports: ['8000:8034/udp']}", 8000, None),
    ],
)
def test_the_port_behind_a_published_one_is_known_when_it_is_certain(
    body: str, published: int, target: int | None
) -> None:
    assert listening(body).behind(published) == target


def test_ports_of_other_protocols_are_kept_apart() -> None:
    found = listening("{ports: ['8125:8125/udp', '8034'], expose: ['9000-9001/udp']}")
    assert (found.declared, found.others) == ((range(8034, 8035),), (range(8125, 8126), range(9000, 9002)))


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("{expose: ['7000']}", "7000"),
        ("{expose: ['7000-7002'], ports: ['8000']}", "8000 or 7000-7002"),
        ("{expose: ['1', '2', '3', '4']}", "1 or 2 or 3 or others"),
        ("{environment: {PORT: '7001', API_PORT: '7002'}}", "7001 (by PORT) or 7002 (by API_PORT)"),
        ("{image: example/web}", ""),
    ],
)
def test_the_ports_are_described_in_words(body: str, text: str) -> None:
    assert listening(body).text == text


@pytest.mark.parametrize(
    ("image", "known"),
    [
        ("postgres", True),
        ("docker.io/library/postgres:16@sha256:00", True),
        ("localhost:5000/nginx", True),
        ("example/my-redis", False),
        ("redis/web", False),
        ("", False),
    ],
)
def test_a_well_known_image_is_infrastructure(image: str, *, known: bool) -> None:
    assert is_infrastructure(service(f"{{image: '{image}'}}")) is known
    assert not is_infrastructure(service("{build: .}"))


@pytest.mark.parametrize(
    ("body", "port"),
    [
        ("{image: 'rabbitmq:3-management', ports: ['15672:15672']}", 5672),
        ("{image: x, ports: ['80'], command: serve --metrics-port 9100}", 9100),
        ("{image: x, ports: ['80'], entrypoint: [serve, '0.0.0.0:9100']}", 9100),
        ("{image: x, ports: ['80'], environment: {MANAGEMENT_SERVER_PORT: '9100'}}", 9100),
        ("{image: x, ports: ['80'], environment: {ASPNETCORE_URLS: 'http://+:9100'}}", 9100),
        ("{image: x, ports: ['80'], environment: {LISTENERS: 'A://one:9100,B://0.0.0.0:9200'}}", 9100),
        ("{image: x, ports: ['80'], environment: {LISTENERS: 'A://one:9100,B://0.0.0.0:9200'}}", 9200),
        ("{image: x, ports: ['80'], environment: {LISTEN: ':9100'}}", 9100),
        ("{image: x, ports: ['80'], labels: {traefik.http.services.x.loadbalancer.server.port: 9100}}", 9100),
    ],
)
def test_what_a_service_says_of_its_ports_is_known(body: str, port: int) -> None:
    found = listening_of(service(body.replace("image: x", "build: .")), is_own_image=True)
    assert found.is_named(port)
    assert not found.is_declared(port)
    assert found.against(port, is_http=True) is None


@pytest.mark.parametrize(
    "body",
    [
        "{environment: {DB_HOST: db, DB_PORT: '5432'}}",
        "{environment: {DB_URL: 'postgres://u:5432@db:5432/x'}}",
        "{environment: {ME_URL: 'http://localhost:5432'}}",
    ],
)
def test_the_ports_of_others_are_not_its_own(body: str) -> None:
    assert not listening(body).is_named(5432)


CHECK = "healthcheck: {test: 'curl http://localhost:8010/'}"


@pytest.mark.parametrize(
    ("body", "is_http", "proves"),
    [
        (f"{{build: ., {CHECK}}}", True, True),
        (f"{{build: ., {CHECK}}}", False, False),
        ("{build: ., healthcheck: {test: 'nc -z localhost 8010'}}", True, False),
        (f"{{build: ., {CHECK[:-1]}, disable: true}}}}", True, False),
        ("{build: ., ports: ['9000:8010']}", True, False),
        ('{build: {dockerfile_inline: "FROM x\\nEXPOSE 8010"}}', False, True),
        ('{build: {dockerfile_inline: "FROM x\\nEXPOSE 8010\\nCMD serve 80"}}', False, False),
        ('{build: {dockerfile_inline: "FROM x\\nEXPOSE 8010\\nENV PORT=80"}}', False, False),
        # A range, a variable without a value: the image exposes more than is known.
        ('{build: {dockerfile_inline: "FROM x\\nEXPOSE 8010-8020"}}', False, False),
        ('{build: {dockerfile_inline: "FROM x\\nARG PORT\\nEXPOSE 8010 $$PORT"}}', False, False),
        # The port of a management interface, beside which the program has another.
        ("{build: ., healthcheck: {test: 'curl http://localhost:8010/actuator/health'}}", True, False),
        ("{build: ., healthcheck: {test: 'curl http://localhost:8010/-/healthy'}}", True, False),
        ('{build: {dockerfile_inline: "FROM x\\nHEALTHCHECK CMD curl http://localhost:8010/"}}', True, True),
        ('{build: {dockerfile_inline: "FROM x\\nHEALTHCHECK CMD curl http://localhost:8010/"}}', False, False),
    ],
)
def test_expose_and_a_health_check_over_http_prove_what_an_own_image_listens_on(
    body: str, *, is_http: bool, proves: bool
) -> None:
    found = listening_of(service(body), is_own_image=True)
    assert (found.against(80, is_http=is_http) is not None) is proves
    assert found.against(8010, is_http=is_http) is None
    assert listening_of(service(body)).against(80, is_http=is_http) is None


@pytest.mark.parametrize(
    ("body", "proves"), [("build: .", True), ("build: ., command: work", False), ("build: other, command: work", True)]
)
@pytest.mark.parametrize("line", [b"EXPOSE 8010", b"HEALTHCHECK CMD curl http://localhost:8010/"])
def test_an_image_that_others_share_proves_nothing_of_another_command(body: str, line: bytes, *, proves: bool) -> None:
    text = f"services: {{one: {{{body}}}, server: {{build: .}}}}".encode()
    project = project_of([("c.yml", text)], {}, lambda path: b"FROM x\n" + line if "Dockerfile" in path else b"")
    found = listening_of(project.services["one"], is_own_image=True)
    assert (found.against(80, is_http=True) is not None) is proves
    assert found.known is (proves and b"EXPOSE" in line)


def test_a_variable_called_host_takes_no_port_away() -> None:
    assert listening("{environment: {HOST: 0.0.0.0, EXPORTER_PORT: '9100'}}").is_named(9100)


def test_the_time_to_read_ports_in_variables_grows_with_their_number_and_not_with_its_square() -> None:
    def is_named(count: int) -> bool:
        names = ", ".join(f"A{number}_PORT: '{number}'" for number in range(1, count))
        return listening(f"{{environment: {{{names}}}}}").is_named(count - 1)

    assert is_named(8000)
    assert grows_linearly(is_named, 8000)


def test_a_published_port_knows_the_entry_that_publishes_it() -> None:
    found = listening("{ports: ['8000:8034', '9000']}")
    place = found.mapping_of(8000)
    assert place is not None
    assert place.line == 1
    assert found.mapping_of(9000) is None
