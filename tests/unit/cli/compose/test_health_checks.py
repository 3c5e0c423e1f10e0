"""What a health check asks of the container itself, and how its own port and path stand in the file."""

from __future__ import annotations

import pytest

from cli.compose.model import Healthcheck
from cli.compose.reader import project_of
from tests.growth import grows_linearly


def check_of(test: str, body: str = "", variables: dict[str, str] | None = None) -> Healthcheck:
    text = f"services: {{worker: {{healthcheck: {{test: {test}}}{body}}}}}".encode()
    found = project_of([("c.yml", text)], variables or {}).services["worker"].healthcheck
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("test", "other"),
    [
        ("curl -f http://search:9200/_cluster/health", "search"),
        ("[CMD, wget, --spider, 'http://user:pw@search:9200/']", "search"),
        ("nc -z database 5432", "database"),
        ("nc -z -w 5 database 5432", "database"),
        ("[CMD, nc, -zv, database, '5432']", "database"),
        ("timeout 1 bash -c '</dev/tcp/database/5432'", "database"),
        ("pg_isready -U shop -h database", "database"),
        ("mysqladmin ping --host=database", "database"),
        ("redis-cli -hdatabase ping", "database"),
        ("kafka-topics --bootstrap-server stream:9092 --list", "stream"),
        ("grpc_health_probe -addr=billing:50051", "billing"),
        ("curl http://host.docker.internal:8000/", "host.docker.internal"),
    ],
)
def test_a_check_of_something_else_says_nothing_of_the_container(test: str, other: str) -> None:
    found = check_of(f'"{test}"' if not test.startswith("[") else test)
    assert (found.url, found.path, found.port, found.other) == (None, None, None, other)


@pytest.mark.parametrize(
    ("test", "port", "path"),
    [
        ("curl http://localhost:8000/a", 8000, "/a"),
        ("curl http://127.0.0.2:8000/a", 8000, "/a"),
        ("curl http://[::1]:8000/a", 8000, "/a"),
        ("curl http://worker:8000/a", 8000, "/a"),
        ("curl http://Named:8000/a", 8000, "/a"),
        ("curl http://inside:8000/a", 8000, "/a"),
        ("curl http://known:8000/a", 8000, "/a"),
        ("curl http://$$HOSTNAME:8000/a", 8000, "/a"),
        ("curl http://search:9200/ && curl http://localhost:8000/a", 8000, "/a"),
        ("nc -z localhost 8000", 8000, None),
        ("nc -z worker 8000", 8000, None),
        ("timeout 1 bash -c '</dev/tcp/localhost/8000'", 8000, None),
        ("kafka-topics --bootstrap-server localhost:8000 --list", 8000, None),
        ("grpc_health_probe -addr=:8000", None, None),
        ("pg_isready -h localhost", None, None),
        ("curl -H 'Host: shop' http://localhost:8000/a", 8000, "/a"),
    ],
)
def test_a_check_by_any_of_its_own_names_is_of_the_container(test: str, port: int | None, path: str | None) -> None:
    names = ", container_name: named, hostname: inside, networks: {default: {aliases: [known]}}"
    found = check_of(f'"{test}"', names)
    assert (found.port, found.path, found.other) == (port, path, None)


@pytest.mark.parametrize(
    ("url", "port", "path"),
    [
        ("http://localhost:8000/a", "8000", "/a"),
        ("http://localhost:${P}/a", "${P}", "/a"),
        ("http://localhost:${P:-80}${A:-/a?b=1}", "", ""),
        ("http://localhost:${P:-80}/${A:-a}?b=$$c", "${P:-80}", "/${A:-a}?b=$$c"),
        ("http://localhost", "", "/"),
        ("${URL:-http://localhost:81/b}", "", ""),
    ],
)
def test_variables_stay_in_its_port_and_path(url: str, port: str, path: str) -> None:
    found = check_of(f'"curl {url}"', "", {"P": "8000"})
    assert (found.written_port, found.written_path) == (port, path)


def test_the_time_to_read_a_check_grows_with_its_length_and_not_with_its_square() -> None:
    assert check_of(f"'{'-/nc ' * 20_000}'").port is None
    assert grows_linearly(lambda count: check_of(f"'{'-/nc ' * count}'"), 20_000)
