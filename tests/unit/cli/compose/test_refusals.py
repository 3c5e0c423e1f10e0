"""What Compose refuses, told with file, line, field and an example, while the rest of the file is read."""

from __future__ import annotations

import pytest

from cli.compose.errors import ComposeError, Place
from cli.compose.findings import KINDS
from cli.compose.reader import project_of
from cli.compose.refusals import REFUSED

TEXT = """
services:
  web:
    image: i
    {line}
networks: {{front: }}
"""


@pytest.mark.parametrize(
    ("line", "code", "field", "reason", "example"),
    [
        (
            'environment: [{A: "1"}, "B=1"]',
            "shape",
            "services.web.environment[0]",
            "environment[0] is a map, not NAME=value; Compose refuses that",
            "environment: {NAME: value}",
        ),
        (
            "environment: {A: [1]}",
            "shape",
            "services.web.environment.A",
            "environment.A is a list, not a value; Compose refuses that",
            "environment: {NAME: value}",
        ),
        (
            "labels: some",
            "shape",
            "services.web.labels",
            "labels is a text, not a map or a list; Compose refuses that",
            "labels: {NAME: value}",
        ),
        (
            "depends_on: [{db: }]",
            "shape",
            "services.web.depends_on[0]",
            "depends_on[0] is a map, not a name; Compose refuses that",
            "depends_on: [name]",
        ),
        (
            "networks: [front, back]",
            "undefined-network",
            "services.web.networks",
            "it is in the network 'back', which the file does not define; Compose refuses that",
            "networks: {back: }",
        ),
        (
            "enviroment: {A: 1}",
            "misspelt-key",
            "services.web.enviroment",
            "Compose knows no key 'enviroment'; is 'environment' meant?",
            "environment: ...",
        ),
        (
            "color: red",
            "unknown-key",
            "services.web.color",
            "Compose knows no key 'color'",
            "x-color: ...",
        ),
        (
            "command: sh -c 'open",
            "command",
            "services.web.command",
            "command: a quote is not closed; Compose refuses that",
            'command: ["sh", "-c", "..."]',
        ),
        (
            "ports: ['80:80/tpc']",
            "port",
            "services.web.ports",
            "'80:80/tpc' has the protocol 'tpc', which is not tcp, udp or sctp",
            "8000:8034",
        ),
        (
            "ports: ['local:80:80']",
            "port",
            "services.web.ports",
            "'local:80:80' has the host address 'local', which is not an IP address",
            "8000:8034",
        ),
        (
            "ports: ['8000-8002:80-81']",
            "port",
            "services.web.ports",
            "'8000-8002:80-81' publishes 3 ports for 2",
            "8000:8034",
        ),
    ],
)
def test_what_compose_refuses_is_told_with_its_place(
    line: str, code: str, field: str, reason: str, example: str
) -> None:
    found = project_of([("c.yml", TEXT.format(line=line).encode())])
    (problem,) = found.problems
    assert (problem.code, problem.field, problem.service) == (code, field, "web")
    assert (problem.message, problem.hint, problem.place) == (reason, example, Place("c.yml", 5))
    assert found.services["web"].image == "i"


def test_a_network_mode_beside_networks_is_refused() -> None:
    text = TEXT.format(line="network_mode: host\n    networks: [front]")
    (problem,) = project_of([("c.yml", text.encode())]).problems
    assert (problem.code, problem.place, problem.field) == (
        "network-mode",
        Place("c.yml", 5),
        "services.web.network_mode",
    )


@pytest.mark.parametrize(("body", "kind"), [("text", "a text"), ("[a]", "a list")])
def test_a_service_that_is_no_map_is_refused(body: str, kind: str) -> None:
    (problem,) = project_of([("c.yml", f"services:\n  web: {body}\n".encode())]).problems
    assert (problem.code, problem.service, problem.place) == ("shape", "web", Place("c.yml", 2))
    assert kind in problem.message
    assert project_of([("c.yml", b"services: {web: , api: !reset x}")]).problems == ()


def test_each_refusal_is_a_finding_of_the_audit() -> None:
    assert KINDS.keys() >= REFUSED


def test_a_key_at_the_top_is_known_or_an_extension() -> None:
    text = TEXT.format(line="x-own: 1") + "serices: {}\nx-more: 1\n"
    (problem,) = project_of([("c.yml", text.encode())]).problems
    assert (problem.code, problem.field, problem.service) == ("misspelt-key", "serices", None)


def test_a_map_is_not_merged_with_a_list() -> None:
    files = [("a.yml", TEXT.format(line="links: ['db']").encode()), ("b.yml", b"services: {web: {links: {a: b}}}\n")]
    with pytest.raises(ComposeError, match=r"links is a map here and a list in a\.yml:5") as error:
        project_of(files)
    assert (error.value.code, error.value.place) == ("merge", Place("b.yml", 1))


def test_a_network_of_an_included_file_is_defined() -> None:
    def read(path: str) -> bytes:
        if path != "i.yml":
            raise FileNotFoundError(path)
        return b"networks: {back: }\n"

    text = TEXT.format(line="networks: [front, back]") + "include: [i.yml]\n"
    assert project_of([("c.yml", text.encode())], {}, read).problems == ()
