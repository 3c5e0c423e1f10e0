"""The port of a service by how its fleet calls it."""

from __future__ import annotations

import pytest

from cli.compose.reader import project_of
from cli.dev.called_ports import CalledPorts


@pytest.mark.parametrize(
    ("environment", "port"),
    [
        ("{API_URL: 'http://api:8034/x'}", 8034),
        ("{API_HOST: API, API_PORT: '8034'}", 8034),
        ("{API_URL: 'http://the-api:8034'}", 8034),
        ("{API_URL: 'http://api:8034', OTHER_URL: 'grpc://the-api:8034'}", 8034),
        ("{API_URL: 'http://api:8034', OTHER_URL: 'http://api:9000'}", None),
        ("{API_URL: 'http://api'}", None),
        ("{API_URL: 'http://api:80340'}", None),
        ("{AT: '12:30'}", None),
    ],
)
def test_one_port_on_which_all_callers_agree_is_taken(environment: str, port: int | None) -> None:
    services = f"{{api: {{image: x, container_name: the-api}}, web: {{environment: {environment}}}}}"
    project = project_of([("c.yml", f"services: {services}".encode())])
    found = CalledPorts(project).of(project.services["api"])
    assert (None if found is None else found.number) == port
    assert found is None or found.source == "web, which calls it there"


def test_what_a_service_says_of_itself_does_not_count() -> None:
    project = project_of([("c.yml", b"services: {api: {environment: {PUBLIC_URL: 'http://api:8034'}}}")])
    assert CalledPorts(project).of(project.services["api"]) is None
