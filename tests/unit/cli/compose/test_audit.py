"""The audit's findings on each address of a fleet, and on the fleet's other mistakes."""

from __future__ import annotations

import json

import pytest

from cli.compose.audit import Audit, audit
from cli.compose.errors import ComposeError
from cli.compose.findings import KINDS, AuditFinding, AuditSeverity
from cli.compose.reader import project_of, read_project
from cli.compose.report import dot_of, json_of, text_of
from tests.fleets import ROOT

DOCUMENT = ROOT / "docs" / "reference" / "compose-findings.md"

# The called service: `back_end` listens on 8010, which the host shows as 9000, as its health check says. Its image is
# built here, so that the health check is proof.
FLEET = """
services:
  front:
    healthcheck: {{test: [CMD, check]}}
    ports: ["80:8000"]
    {front}
  back_end:
    build: .
    container_name: the-back
    hostname: rear
    networks: {{default: {{aliases: [behind]}}}}
    ports: ["9000:8010", "9001:8011"]
    healthcheck: {{test: "curl http://localhost:8010/health"}}
  silent: {{healthcheck: {{test: [CMD, check]}}}}
  cache: {{image: "redis:7-alpine", healthcheck: {{test: [CMD, check]}}}}
  apart: {{networks: [other], expose: ["7000"], healthcheck: {{test: [CMD, check]}}}}
  inner:
    expose: ["7100-7110"]
    environment: {{PORT: "7200"}}
    healthcheck: {{test: [CMD, check]}}
  stats: {{ports: ["8125:8125/udp"], healthcheck: {{test: [CMD, check]}}}}
networks: {{other: }}
"""


def audited(text: str, **variables: str) -> Audit:
    return audit(project_of([("compose.yml", text.encode())], variables))


def of_front(front: str, **variables: str) -> list[AuditFinding]:
    return [f for f in audited(FLEET.format(front=front), **variables).findings if f.service == "front"]


def codes(text: str) -> list[tuple[str, str]]:
    """Return (code, service) of each finding, without those on health checks."""
    return [(f.code, f.service) for f in audited(text).findings if f.code != "no-healthcheck"]


# -- addresses that are right


@pytest.mark.parametrize(
    "environment",
    [
        "[BACK_URL=http://back_end:8010]",
        "{BACK_URL: 'http://back_end:8011/path?x=1'}",
        "[A_URL=http://the-back:8010, B_URL=http://rear:8010, C_ADDR=behind:8010, D_URL=HTTP://BACK_END:8010]",
        "[BACK_HOST=back_end, BACK_PORT=8010]",
        "['DB=amqp://u:p@back_end:8010/v', 'LIST=back_end:8010,the-back:8011']",
        "[CACHE_URL=redis://cache, CACHES=redis://cache:6379/3]",
        "['INNER_URL=http://inner:7105', 'JAVA_OPTS=-Dx=inner:7100 -Dy=1']",
        "[SELF_URL=http://localhost:8000, ME_URL=http://127.0.0.1:8000, OTHER_URL=http://front:8000]",
        "[AT=12:30, IMAGE=repository:5, LIST=1:2:3, HOST=0.0.0.0, SERVICE_HOST=elsewhere, BIND=0.0.0.0:80]",
        "['LISTENERS=PLAINTEXT://0.0.0.0:9092', 'STATS_HOST=stats', STATS_PORT=8125]",
        "[SOCKET=unix:///var/run/docker.sock, DB=sqlite:///x.db, EMPTY_URL=, BARE_URL]",
        "['BACK_URL=${BACK:-http://back_end:8010}', 'D_URL=http://${H:-back_end}:${P-8010}']",
    ],
)
def test_a_working_address_is_no_finding(environment: str) -> None:
    assert of_front(f"environment: {environment}") == []


# -- addresses that are wrong


@pytest.mark.parametrize(
    ("environment", "code", "right"),
    [
        ("[BACK_URL=http://back_end:9000]", "published-port", "http://back_end:8010"),
        ("[BACK_URL=http://back_end:9001/x]", "published-port", "http://back_end:8011"),
        ("[BACK_URL=http://behind:9000]", "published-port", "http://behind:8010"),
        ("[BACK_URL=http://back_end:80]", "wrong-port", "http://back_end:8010"),
        ("[BACK_URL=http://back_end/x]", "wrong-port", "http://back_end:8010"),
        ("[BACK_URL=http://back_end]", "unproven-port", None),
        ("[BACK_ENDPOINT=back_end:1]", "unproven-port", None),
        ("[BACK_HOST=back_end, BACK_PORT=9000]", "published-port", "BACK_PORT=8010"),
        ("[X_URL=http://back_end:804040]", "port-out-of-range", "http://back_end:8010"),
        ("[X_URL=http://back_end:0]", "port-out-of-range", "http://back_end:8010"),
        ("[X_URL=http://localhost:99999]", "port-out-of-range", None),
        ("[X_URL=http://api.example.org:99999]", "port-out-of-range", None),
        ("[X_URL=http://nobody:80]", "unknown-target", None),
        ("[X_HOST=nobody]", "unknown-target", None),
        ("[KAFKA_BROKERS=nobody:9092]", "unknown-target", None),
        ("[BACK_URL=http://back-end:9000]", "other-spelling", "http://back_end:8010"),
        ("[X_URL=http://apart:7000]", "no-shared-network", "http://apart:7000"),
        ("[X_URL=http://inner:7200]", "doubtful-port", "http://inner:7200"),
        ("[X_URL=redis://cache:6380]", "unproven-port", None),
        ("[X_URL=http://localhost:7000]", "localhost", "http://apart:7000"),
        ("[X_URL=http://localhost:1234]", "localhost", None),
        ("[X_URL=http://localhost:80]", "localhost", "http://localhost:8000"),
        ("[X_URL=http://stats:8125]", "unknown-port", None),
        ("[X_URL=http://silent:80]", "unknown-port", None),
        ("[BACK_HOST=back_end]", "no-port", "8010"),
        ("[X_URL=http://host.docker.internal:9000]", "by-the-host", "http://back_end:8010"),
        ("[X_URL=http://host.docker.internal:1337]", "by-the-host", None),
        ("[X_URL=https://api.example.org/v1]", "outside", None),
        ("[X_URL=http://10.0.0.7:80]", "outside", None),
        ("[X_URL=http://$NOWHERE]", "unset-variable", None),
        ("['ES_HOSTS=back_end,nobody']", "unknown-target", None),
        ("['DB=postgres://u:s3cret@x@back_end:5432/y']", "unproven-port", None),
        ("['DB=postgres://s3cret:1@back_end:5432,cache/y']", "unproven-port", None),
        ("[DB_DSN=postgres://u:s3cret@back_end:5432/x]", "unproven-port", None),
    ],
)
def test_a_dead_address_is_reported_with_the_right_one(environment: str, code: str, right: str | None) -> None:
    (finding,) = [f for f in of_front(f"environment: {environment}") if f.code != "no-port" or code == "no-port"]
    assert finding.code == code
    assert finding.right == right
    assert "s3cret" not in finding.message + finding.cure


@pytest.mark.parametrize("key", ["command", "entrypoint"])
def test_addresses_in_the_command_are_judged_and_other_words_are_not(key: str) -> None:
    (finding,) = of_front(f"{key}: [serve, '--to=http://back_end:9000', '--at=12:30', 'tag:5', 'inner:7100']")
    assert (finding.code, finding.variable, finding.place.line) == ("published-port", key, 6)


def test_each_host_of_a_list_is_judged_on_its_own() -> None:
    found = of_front("environment: ['NATS=nats://back_end:8010,nobody:4222,inner:9']")
    assert [(f.code, f.message.partition(":")[0]) for f in found] == [
        ("unknown-target", "nats"),
        ("unproven-port", "nats"),
    ]
    assert {f.variable for f in found} == {"NATS"}


def test_a_finding_has_its_line_and_one_about_a_port_variable_that_of_the_port() -> None:
    text = "environment:\n      - OK=1\n      - BACK_HOST=back_end\n      - BACK_PORT=9000"
    (finding,) = of_front(text)
    assert (finding.place.file, finding.place.line, finding.variable) == ("compose.yml", 9, "BACK_PORT")


def test_only_shared_networks_count_and_external_ones_may_have_other_members() -> None:
    text = """
services:
  aaa: {networks: [n, x], environment: [U_URL=http://bbb:80, V_URL=http://stranger:80]}
  bbb: {networks: [n], expose: ["80"]}
  ccc: {networks: [m], environment: [U_URL=http://bbb:80]}
  ddd: {network_mode: "service:bbb", environment: [U_URL=http://localhost:80, V_URL=http://aaa:1]}
  eee: {network_mode: host, ports: ["1:80"], environment: [U_URL=http://localhost:5]}
networks: {x: {external: true}, n: , m: }
"""
    assert codes(text) == [
        ("outside", "aaa"),
        ("no-shared-network", "ccc"),
        ("unknown-port", "ddd"),
        ("by-the-host", "eee"),
    ]


def test_links_name_services_and_extra_hosts_name_outsiders() -> None:
    given = "links: ['back_end:db']\n    extra_hosts: ['box:10.0.0.1']"
    found = of_front(f"{given}\n    environment: [A_URL=http://box:1, B_URL=http://db:9000, C_URL=http://db:8010]")
    assert [(f.code, f.right) for f in found] == [("outside", None), ("published-port", "http://db:8010")]


# -- the rest


@pytest.mark.parametrize(
    ("services", "found"),
    [
        ("{aaa: {ports: ['1:2']}, bbb: {ports: ['1:3']}}", [("shared-host-port", "bbb")]),
        ("{aaa: {ports: ['1:2']}, bbb: {ports: ['127.0.0.1:1:3']}}", [("shared-host-port", "bbb")]),
        ("{aaa: {ports: ['127.0.0.1:1:2']}, bbb: {ports: ['127.0.0.2:1:3']}}", []),
        ("{aaa: {ports: ['[::1]:1:2']}, bbb: {ports: ['[::]:1:3']}}", [("shared-host-port", "bbb")]),
        (
            "{aaa: {ports: ['[::1]:1:2']}, bbb: {ports: [{host_ip: '::1', published: 1, target: 3}]}}",
            [("shared-host-port", "bbb")],
        ),
        ("{aaa: {ports: ['1:2']}, bbb: {ports: ['1:3/udp', '2']}}", []),
        ("{aaa: {ports: ['1-3:1-3']}, bbb: {ports: ['3:3']}}", [("shared-host-port", "bbb")]),
        ("{aaa: {ports: ['1:2'], scale: 2}}", [("replicas-host-port", "aaa")]),
        ("{aaa: {ports: ['1-2:2'], scale: 2}}", []),
        ("{aaa_b: {}, aaa-b: {}}", [("dns-clash", "aaa-b")]),
        ("{aaa: {container_name: x}, bbb: {container_name: x}}", [("container-name-twice", "bbb")]),
        ("{Aaa: {}}", [("mapped-name", "Aaa")]),
        ("{Aaa: {labels: {vertice.name: other}}}", []),
        ("{Aaa: {}, aaa: {}}", [("mapped-name", "Aaa")]),
        ("{aaa: {labels: {vertice.name: X}}}", [("bad-name", "aaa")]),
        ("{aaa: {depends_on: [bbb]}}", [("depends-missing", "aaa")]),
        ("{aaa: {depends_on: {bbb: {required: false}}}}", []),
        ("{aaa: {depends_on: [bbb]}, bbb: {depends_on: [aaa]}}", [("depends-cycle", "aaa")]),
        ("{aaa: {depends_on: [aaa]}}", [("depends-cycle", "aaa")]),
        (
            "{aaa: {ports: ['1:2'], healthcheck: {test: 'curl http://localhost:3/'}}}",
            [("health-port", "aaa")],
        ),
        ("{aaa: {ports: ['99999']}}", [("port", "aaa")]),
        ("{aaa: {image: '${X:?set it}'}}", [("variable-required", "aaa")]),
    ],
)
def test_other_mistakes_are_found(services: str, found: list[tuple[str, str]]) -> None:
    assert codes(f"services: {services}") == found


def test_a_shared_port_in_separate_profiles_is_a_warning() -> None:
    text = "services: {aaa: {profiles: [p], ports: ['1:2']}, bbb: {profiles: [q], ports: ['1:3']}}"
    (finding,) = [f for f in audited(text).findings if f.code == "shared-host-port"]
    assert finding.severity is AuditSeverity.WARNING


@pytest.mark.parametrize("check", ["", "healthcheck: {disable: true}", "healthcheck: {test: [NONE]}"])
def test_a_service_without_a_health_check_is_named(check: str) -> None:
    (finding,) = audited(f"services: {{aaa: {{{check}}}}}").findings
    assert (finding.code, finding.severity) == ("no-healthcheck", AuditSeverity.WARNING)


@pytest.mark.parametrize(
    "text",
    ["services: {aaa: {image: x, image: y}}", "services: {aaa: {extends: aaa}}", "services: {aaa: {extends: b}}"],
)
def test_a_file_that_compose_refuses_is_refused(text: str) -> None:
    with pytest.raises(ComposeError):
        audited(text)


def test_the_graph_has_addresses_dependencies_cycles_and_outsiders() -> None:
    text = """
services:
  aaa: {expose: ["1"], environment: [B_URL=http://bbb:9, B_HOST=bbb, X_URL=http://example.org], depends_on: [ccc]}
  bbb: {expose: ["1"], environment: [A_URL=http://aaa:1]}
  ccc: {environment: [ME_URL=http://localhost:5]}
"""
    graph = audited(text).graph
    assert [(e.consumer, e.target, e.via, e.depends_on) for e in graph.edges] == [
        ("aaa", "bbb", ("B_URL", "B_HOST"), False),
        ("aaa", "ccc", (), True),
        ("bbb", "aaa", ("A_URL",), False),
    ]
    assert graph.cycles() == [("aaa", "bbb")]
    assert graph.outside == (("aaa", "example.org"),)


# -- the report


def test_all_report_formats_agree() -> None:
    found = audited(FLEET.format(front="environment: [BACK_URL=http://back_end:9000, X_URL=http://a.example.org]"))
    text = list(text_of(found))
    assert (
        "compose.yml:6: error: front BACK_URL: http://back_end:9000: 9000 is published on the host; "
        "back_end listens on 8010 (`ports` in line 12 maps 9000 of the host to 8010); write http://back_end:8010 "
        "[published-port]"
    ) in text
    assert "2 hard-coded addresses, 1 of which lead nowhere" in " ".join(text)
    shape = json.loads(json.dumps(json_of(found)))
    assert shape["counts"]["wrong_addresses"] == shape["counts"]["errors"] == 1
    (finding,) = [f for f in shape["findings"] if f["severity"] == "error"]
    assert (finding["line"], finding["right"], finding["target"]) == (6, "http://back_end:8010", "back_end")
    assert finding["evidence"] == "`ports` in line 12 maps 9000 of the host to 8010"
    (address,) = [a for a in shape["addresses"] if a["target"] == "back_end"]
    assert (address["port"], address["right_port"], address["listens"]) == (9000, 8010, [8010, 8011])
    dot = "\n".join(dot_of(found))
    assert '"front" -> "back_end" [color=red];' in dot
    assert '"outside: a.example.org" [label="a.example.org", style=dashed];' in dot


def test_names_do_not_break_out_of_the_graph() -> None:
    dot = list(dot_of(audited("services: {'a\"b\\c': {image: x}}")))
    assert dot[2] == '  "a\\"b\\\\c";'


def test_every_kind_of_finding_is_documented_with_its_severity() -> None:
    rows = [line.split("|") for line in DOCUMENT.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    documented = {
        row[1].strip(" `"): row[2].strip() for row in rows if row[2].strip() in {s.value for s in AuditSeverity}
    }
    assert documented == {code: kind.severity.value for code, kind in KINDS.items()}


@pytest.mark.untraced
def test_five_thousand_services_are_judged() -> None:
    services = "".join(
        f"  svc{n}: {{ports: ['{n + 1}:8000'], environment: [A_URL=http://svc{(n + 1) % 5000}:{n}]}}\n"
        for n in range(5000)
    )
    found = audited(f"services:\n{services}")
    assert len(found.addresses) == 5000
    assert len(found.graph.cycles()[0]) == 5000


# -- the small cases


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("06-literal-dollar.yml", []),
        ("07-duplicate-anchor.yml", []),
        ("08-project-name.yml", []),
        ("10-external-links.yml", ["outside", "outside"]),
        ("11-bridge.yml", ["no-shared-network", "no-shared-network"]),
        ("20-uppercase-protocol.yml", []),
        ("22-environment-of-maps.yml", ["shape"]),
        ("23-undefined-network.yml", ["misspelt-key", "undefined-network"]),
        ("24-include-paths.yml", ["unproven-port"]),
        ("26-include-overridden.yml", []),
        ("27-include-network.yml", ["outside"]),
        ("28-two-documents.yml", []),
        ("29-reset-in-first-file.yml", []),
        ("35-alias-of-another-network.yml", ["no-shared-network"]),
    ],
)
def test_a_case_is_judged_as_its_first_line_says(name: str, found: list[str]) -> None:
    judged = audit(read_project([ROOT / "tests" / "compose_cases" / name]))
    assert sorted(f.code for f in judged.findings if f.code != "no-healthcheck") == found


def test_two_merge_keys_are_refused_as_any_key_that_stands_twice() -> None:
    with pytest.raises(ComposeError, match="'<<' is defined twice, first in line 6"):
        audit(read_project([ROOT / "tests" / "compose_cases" / "21-merge-key-twice.yml"]))


def test_what_compose_refuses_is_told_with_an_example() -> None:
    (found,) = [f for f in audited("services: {web: {environment: [{A: b}]}}").findings if f.code == "shape"]
    assert found.cure == "write it like `environment: {NAME: value}`"


LONG = "1" * 5000


@pytest.mark.parametrize(
    "body",
    [
        f"ports: ['80:80'], deploy: {{replicas: '{LONG}'}}",
        f"environment: {{PORT: '{LONG}', A_PORT: '{LONG}', A_HOST: other}}",
        f"healthcheck: {{test: 'curl http://localhost:{LONG}/'}}",
        f"build: {{dockerfile_inline: 'FROM x\\nEXPOSE {LONG}'}}",
        f"environment: {{A_URL: 'http://other:{LONG}/'}}",
    ],
)
def test_a_number_of_thousands_of_digits_is_no_number(body: str) -> None:
    text = f"services: {{web: {{image: x, {body}}}, other: {{image: y}}}}"
    assert audit(project_of([("c.yml", text.encode())])).project.services["web"].replica_count == 1


@pytest.mark.parametrize(
    "body",
    [
        'command: "redis-server --requirepass s3cret\'"',
        "environment: {PASSWORD: 'x${s3cret'}",
        "environment: {PASSWORD: 'x${-s3cret}'}",
        "environment: {DB_URL: 'postgres://me:s3cret@nobody:99999/x'}",
        "environment: {DB_URL: '//me:s3cret@nobody:1/x'}",
        "environment: {DB_URL: 'jdbc:oracle:thin:me/s3cret@nobody:1:xe'}",
        "environment: {DSN: 'host=nobody port=1 password=s3cret user=me'}",
        "environment: [{PASSWORD: s3cret}]",
    ],
)
def test_no_report_shows_a_password(body: str) -> None:
    text = f"services: {{web: {{image: x, {body}}}}}"
    found = audit(project_of([("c.yml", text.encode())]))
    assert "s3cret" not in "\n".join(text_of(found)) + json.dumps(json_of(found))
    assert found.findings
