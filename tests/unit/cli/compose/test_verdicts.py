"""The verdict on each address: its target, whether it works, and what it should be."""

from __future__ import annotations

import pytest

from cli.compose.findings import AuditFinding
from cli.compose.fleet_names import Meant
from cli.compose.reader import project_of
from cli.compose.sidecars import Recipe
from cli.compose.verdicts import Judge, Judged

# `back_end` shows its 8010 as 9000 of the host; `front` is alone on 8000. `built` is built here, and its check asks
# 8030.
FLEET = """
services:
  front:
    ports: ["80:8000"]
    {front}
  back_end: {{ports: ["9000:8010"], networks: {{default: {{aliases: [twin]}}}}}}
  built: {{build: ., ports: ["9030:8030"], healthcheck: {{test: "curl http://localhost:8030/"}}}}
  other: {{expose: ["8020"], networks: {{default: {{aliases: [twin]}}}}}}
  quiet: {{image: example/quiet}}
  apart: {{networks: [far], expose: ["7000"]}}
  hinted: {{environment: {{PORT: "7200"}}}}
  both: {{expose: ["7100"], environment: {{PORT: "7200"}}}}
  stats: {{ports: ["8125:8125/udp"]}}
networks: {{far: }}
"""


def verdicts(front: str) -> list[tuple[Judged, AuditFinding | None]]:
    """Return the verdicts on the addresses of `front`."""
    return judged_in(FLEET.format(front=front))


def judged_in(text: str) -> list[tuple[Judged, AuditFinding | None]]:
    project = project_of([("compose.yml", text.encode())], {}).checked()
    return Judge(project).judged(project.services["front"])


def verdict(*environment: str) -> tuple[Judged, AuditFinding | None]:
    """Return the verdict on the only address of an environment."""
    (one,) = verdicts(f"environment: [{', '.join(environment)}]")
    return one


@pytest.mark.parametrize(
    ("environment", "target", "right"),
    [
        (["B_URL=http://back_end:8010"], "back_end", 8010),
        (["B_URL=HTTP://BACK_END.:8010"], "back_end", 8010),
        (["B_HOST=back_end", "B_PORT=8010"], "back_end", 8010),
        (["T_URL=http://twin:8010"], "back_end", 8010),
        (["T_URL=http://twin:8020"], "other", 8020),
        (["H_URL=http://hinted:7200"], "hinted", 7200),
        (["S_ADDR=stats:8125"], "stats", 8125),
        (["ME_URL=http://127.0.0.1:8000"], "front", 8000),
        (["ME_URL=gopher://localhost"], "front", None),
    ],
)
def test_a_working_address_has_no_finding(environment: list[str], target: str, right: int | None) -> None:
    judged, finding = verdict(*environment)
    assert finding is None
    assert (judged.service, judged.code, judged.target, judged.right) == ("front", None, target, right)


@pytest.mark.parametrize(
    ("environment", "code", "meant", "right"),
    [
        (["B_URL=http://back_end:9000"], "published-port", Meant.SERVICE, "http://back_end:8010"),
        (["B_URL=http://built:1"], "wrong-port", Meant.SERVICE, "http://built:8030"),
        (["B_URL=http://built/path"], "wrong-port", Meant.SERVICE, "http://built:8030"),
        (["B_URL=http://built"], "unproven-port", Meant.SERVICE, None),
        (["B_URL=grpc://built:1"], "unproven-port", Meant.SERVICE, None),
        (["B_URL=http://back_end:1"], "unproven-port", Meant.SERVICE, None),
        (["T_URL=http://twin:1"], "unproven-port", Meant.SERVICE, None),
        (["B_URL=http://back_end:0"], "port-out-of-range", Meant.SERVICE, "http://back_end:8010"),
        (["B_URL=http://back_end:65536"], "port-out-of-range", Meant.SERVICE, "http://back_end:8010"),
        (["B_URL=http://back-end:8010"], "other-spelling", Meant.OTHER_SPELLING, "http://back_end:8010"),
        (["B_URL=http://back-end:9000"], "other-spelling", Meant.OTHER_SPELLING, "http://back_end:8010"),
        (["A_URL=http://apart:7000"], "no-shared-network", Meant.NOT_SHARED, "http://apart:7000"),
        (["B_HOST=back_end"], "no-port", Meant.SERVICE, "8010"),
        (["Q_HOST=quiet"], "no-port", Meant.SERVICE, None),
        (["Q_URL=http://quiet:80"], "unknown-port", Meant.SERVICE, None),
        (["S_URL=http://stats:8125"], "unknown-port", Meant.SERVICE, None),
        (["H_URL=http://hinted:1"], "unproven-port", Meant.SERVICE, None),
        (["D_URL=http://both:7200"], "doubtful-port", Meant.SERVICE, "http://both:7200"),
        (["ME_URL=http://localhost:80"], "localhost", Meant.ITSELF, "http://localhost:8000"),
        (["ME_URL=http://localhost:8020"], "localhost", Meant.ITSELF, "http://other:8020"),
        (["ME_URL=http://localhost:1"], "localhost", Meant.ITSELF, None),
        (["ME_URL=http://localhost:70000"], "port-out-of-range", Meant.ITSELF, None),
        (["H_URL=http://host.docker.internal:9000"], "by-the-host", Meant.HOST, "http://back_end:8010"),
        (["H_URL=http://host.docker.internal:1"], "by-the-host", Meant.HOST, None),
        (["H_HOST=host.docker.internal"], "by-the-host", Meant.HOST, None),
        (["H_URL=http://host.docker.internal:0"], "port-out-of-range", Meant.HOST, None),
        (["O_URL=https://api.example.org"], "outside", Meant.OUTSIDE, None),
        (["O_URL=http://10.0.0.7:80"], "outside", Meant.OUTSIDE, None),
        (["O_URL=http://10.0.0.7:99999"], "port-out-of-range", Meant.OUTSIDE, None),
        (["U_URL=http://nobody:80"], "unknown-target", Meant.UNKNOWN, None),
    ],
)
def test_a_dead_address_is_reported_with_the_reason_and_the_right_one(
    environment: list[str], code: str, meant: Meant, right: str | None
) -> None:
    judged, finding = verdict(*environment)
    assert finding is not None
    assert (judged.code, judged.meant, finding.code, finding.right) == (code, meant, code, right)
    assert finding.target == judged.target


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            ["B_URL=http://back_end:9000"],
            "http://back_end:9000: 9000 is published on the host; back_end listens on 8010",
        ),
        (["B_URL=http://back-end:9000"], "http://back-end:9000: the service is called back_end, and listens on 8010"),
        (["B_URL=http://back-end:1"], "http://back-end:1: the service is called back_end"),
        (["A_URL=http://apart:7000"], "http://apart:7000: front is in default, apart in far"),
        (["Q_HOST=quiet"], "quiet has no port; quiet listens on ?"),
        (["Q_URL=http://quiet:0"], "http://quiet:0: a port is a number from 1 to 65535"),
        (["D_URL=http://both:7200"], "http://both:7200: both declares 7100, but PORT mentions 7200"),
        (["B_URL=http://user:secret@built:1"], "http://built:1: built listens on 8030"),
        (
            ["B_URL=http://user:secret@back_end:1"],
            "http://back_end:1: back_end names 8010, and nothing shows whether it listens on 1",
        ),
    ],
)
def test_the_message_names_both_sides_and_never_a_password(environment: list[str], message: str) -> None:
    _, finding = verdict(*environment)
    assert finding is not None
    assert finding.message == message


def test_a_wrong_port_has_the_position_of_its_variable() -> None:
    ((_, finding),) = verdicts("environment:\n      B_HOST: back_end\n      B_PORT: 9000")
    assert finding is not None
    assert (finding.variable, finding.right, finding.place.line) == ("B_PORT", "B_PORT=8010", 7)


def test_a_wrong_name_has_the_position_of_the_host() -> None:
    ((_, finding),) = verdicts("environment:\n      B_HOST: nobody\n      B_PORT: 9000")
    assert finding is not None
    assert (finding.variable, finding.place.line) == ("B_HOST", 6)


def test_localhost_gets_no_proposal_when_several_services_listen_on_the_port() -> None:
    text = FLEET.format(front="environment: [ME_URL=http://localhost:8020]")
    ((_, finding),) = judged_in(text.replace("{image: example/quiet}", "{expose: [8020]}"))
    assert finding is not None
    assert (finding.code, finding.right) == ("localhost", None)


def test_a_service_without_addresses_has_no_verdicts() -> None:
    assert verdicts("environment: [AT=12:30, HOST=back_end]") == []


def test_verdicts_are_in_the_order_of_the_file() -> None:
    found = verdicts("environment: [B_URL=http://other:8020, A_URL=http://back_end:8010]")
    assert [judged.address.host for judged, _ in found] == ["other", "back_end"]


def code_of(text: str) -> tuple[str | None, str, int | None]:
    ((judged, _),) = judged_in(text)
    return judged.code, judged.evidence, judged.right


@pytest.mark.parametrize(
    ("target", "address", "code", "evidence"),
    [
        (
            "image: acme/x, ports: ['80:8000']",
            "http://api:80",
            "published-port",
            "`ports` in line 4 maps 80 of the host",
        ),
        ("image: acme/x, ports: ['80:8000']", "http://api", "unproven-port", ""),
        ("image: acme/x, ports: ['8000:8000']", "http://api:4318", "unproven-port", ""),
        (
            "image: acme/x, ports: ['8000:8000'], healthcheck: {test: 'curl localhost:8000'}",
            "http://api:80",
            "unproven-port",
            "",
        ),
        ("build: ., ports: ['8000:8000']", "http://api:80", "unproven-port", ""),
        (
            "build: ., healthcheck: {test: 'curl http://localhost:8000'}",
            "http://api:80",
            "wrong-port",
            "its image is built here, and its health check asks 8000 in line 4",
        ),
        ("build: ., healthcheck: {test: 'curl http://localhost:8000'}", "api:9090", "unproven-port", ""),
        ("build: ., healthcheck: {test: 'curl http://localhost:8000'}", "http://api", "unproven-port", ""),
        (
            'build: {dockerfile_inline: "FROM x\\nEXPOSE 8000"}',
            "tcp://api:80",
            "wrong-port",
            "its image is built here, and EXPOSE names 8000 in line 4",
        ),
        ('build: {dockerfile_inline: "FROM x\\nEXPOSE 8000"}, command: "-p 80"', "tcp://api:80", None, ""),
        ('build: {dockerfile_inline: "FROM nginx\\nEXPOSE 8000"}', "http://api:80", None, ""),
        ("build: ., ports: ['8000']", "http://api:99999", "port-out-of-range", "there is no port 99999"),
        ("image: rabbitmq, ports: ['15672:15672']", "amqp://api:5672", None, ""),
        ("image: rabbitmq, ports: ['5672:15672']", "amqp://api:5672", None, ""),
    ],
)
def test_a_port_is_wrong_only_with_evidence(target: str, address: str, code: str | None, evidence: str) -> None:
    text = f"services:\n  front:\n    environment: {{API_URL: '{address}'}}\n  api: {{{target}}}\n"
    found = code_of(text)
    assert found[0] == code
    assert found[1].startswith(evidence) if evidence else found[1] == ""


def test_of_an_unproven_port_no_other_one_is_offered() -> None:
    _, finding = verdict("B_URL=http://back_end:1")
    assert finding is not None
    assert (finding.right, finding.cure, finding.severity.value) == (None, "none needed if it works", "info")


@pytest.mark.parametrize(
    "environment",
    [
        "CORS_ORIGINS=http://back_end:9000",
        "OIDC_ISSUER=http://back-end:1/realms/x",
        "REDIRECT_URI=http://apart:1/cb",
        "PUBLIC_URL=http://back_end:1",
    ],
)
def test_a_name_that_is_compared_is_no_edge_and_no_mistake(environment: str) -> None:
    judged, finding = verdict(environment)
    assert finding is not None
    assert (finding.code, finding.severity.value, finding.cure) == ("identity", "info", "keep it as it is")
    assert judged.target is None
    assert judged.identity in finding.message
    assert not judged.is_hard_coded


@pytest.mark.parametrize(
    "environment",
    [
        *("VIRTUAL_HOST=whoami", "KC_HOSTNAME=auth", "NEXT_PUBLIC_API=http://localhost:9000"),
        *("CORS_ORIGINS=http://localhost:80", "ME_URL=http://front:1", "ALLOWED_HOSTS=shop"),
    ],
)
def test_a_name_for_others_that_is_no_service_needs_no_word(environment: str) -> None:
    for judged, finding in verdicts(f"environment: ['{environment}']"):
        assert finding is None
        assert judged.identity


@pytest.mark.parametrize(
    ("address", "code", "target"),
    [
        ("http://back-end.vertice.internal:8010", None, "back_end"),
        ("http://back-end.vertice.internal:9000", None, "back_end"),
        ("http://back-end.vertice.internal:1", "wrong-port", "back_end"),
        ("http://quiet.vertice.internal:1", "unknown-port", "quiet"),
        ("http://back-end.vertice.internal:99999", "port-out-of-range", "back_end"),
        ("http://nobody.vertice.internal:80", "outside", None),
    ],
)
def test_a_discovered_name_means_its_service(address: str, code: str | None, target: str | None) -> None:
    judged, _ = verdict(f"A_URL={address}")
    assert (judged.code, judged.target, judged.is_discovered) == (code, target, True)
    assert not judged.is_hard_coded


def test_a_published_port_behind_a_discovered_name_is_right_only_with_the_hosts_agent() -> None:
    text = FLEET.format(front="environment: [A_URL=http://back-end.vertice.internal:9000]")
    project = project_of([("compose.yml", text.encode())])
    for recipe, code in ((Recipe.HOST, None), (Recipe.NETNS, "published-port")):
        ((judged, _),) = Judge(project, recipes=frozenset({recipe})).judged(project.services["front"])
        assert judged.code == code


@pytest.mark.parametrize("variable", ["CORS_ORIGINS", "ALLOWED_HOSTS", "VIRTUAL_HOST"])
def test_a_discovered_name_that_is_compared_is_never_wrong(variable: str) -> None:
    judged, finding = verdict(f"{variable}=http://back-end.vertice.internal:9999")
    assert (judged.code, finding, judged.is_discovered, bool(judged.identity)) == (None, None, True, True)
    assert judged.target == "back_end"


@pytest.mark.parametrize(
    ("guest", "code"),
    [
        ("image: example/app", "unproven-port"),
        ('build: {dockerfile_inline: "FROM x\\nEXPOSE 8001"}', "wrong-port"),
        ('build: {dockerfile_inline: "FROM x\\nEXPOSE 9999"}', None),
    ],
)
def test_a_service_in_the_same_network_namespace_may_listen_there(guest: str, code: str | None) -> None:
    text = f"""
services:
  front: {{environment: [VPN_URL=http://vpn:9999/]}}
  vpn: {{build: {{dockerfile_inline: "FROM x\\nEXPOSE 8000"}}}}
  guest: {{{guest}, network_mode: "service:vpn"}}
"""
    ((judged, _),) = judged_in(text)
    assert judged.code == code
