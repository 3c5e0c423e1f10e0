"""On which port a service listens that declares none."""

from __future__ import annotations

import pytest

from cli.compose.own_port import OwnPort, undeclared_port
from cli.compose.reader import project_of


def port_of(body: str, others: str = "", files: dict[str, str] | None = None, **variables: str) -> OwnPort | None:
    def read(path: str) -> bytes:
        if path not in (files or {}):
            raise FileNotFoundError(2, "none", path)
        return (files or {})[path].encode()

    text = f"services: {{web: {{{body}}}{others}}}".encode()
    project = project_of([("c.yml", text)], variables, read)
    return undeclared_port(project.services["web"])


@pytest.mark.parametrize(
    ("body", "written", "follows"),
    [
        ("environment: {PORT: 8034}", "8034", True),
        ("environment: {PORT: '${P}'}", "${P}", True),
        ("environment: {PORT: '${P:-80}'}", "${P:-80}", True),
        ("environment: [PORT]", "${PORT}", True),
        ("healthcheck: {test: 'curl http://localhost:8034/'}", "8034", True),
        ("healthcheck: {test: 'curl http://localhost:${P}/'}", "${P}", True),
        ("healthcheck: {test: 'curl ${URL}'}", "8034", False),
        ("healthcheck: {test: 'nc -z localhost 8034'}", "8034", True),
        ("healthcheck: {test: 'nc -z localhost ${P}'}", "8034", False),
        ("env_file: a.env", "8034", True),
    ],
)
def test_variables_stay_in_a_port(body: str, written: str, follows: bool) -> None:
    found = port_of(body, "", {"a.env": "PORT=8034\n"}, P="8034", PORT="8034", URL="http://localhost:8034/")
    assert found is not None
    assert (found.number, found.written, found.follows) == (8034, written, follows)


@pytest.mark.parametrize(
    ("body", "port"),
    [
        ("image: postgres", 5432),
        ("image: postgres, command: postgres -c max_connections=200", 5432),
        ("image: postgis/postgis, command: [postgres, -c, x=y]", 5432),
        ("image: 'redis:7', command: redis-server --appendonly yes", 6379),
        ("image: 'redis:7', command: [sh, -c, 'redis-server --requirepass $$P']", 6379),
        ("image: 'redis:7', entrypoint: redis-server", 6379),
        ("image: mysql, command: --character-set-server=utf8mb4", 3306),
        ("image: mysql, command: mysqld --x", 3306),
        ("image: minio/minio, command: server /data --console-address :9001", 9000),
        ("image: quay.io/keycloak/keycloak, command: start-dev", 8080),
        ("image: hashicorp/vault, command: server -dev", 8200),
        ("image: prom/prometheus, command: ['--config.file=/p.yml']", 9090),
        # Something else in the image of a store: it listens nowhere.
        ("image: postgres, command: psql -h db -f x.sql", None),
        ("image: postgres, entrypoint: [sh, -c, 'until pg_isready -h db; do sleep 1; done']", None),
        ("image: confluentinc/cp-kafka, entrypoint: [/bin/sh, -c], command: ['kafka-topics --create']", None),
        ("image: 'redis:7', command: redis-cli -h cache flushall", None),
        ("image: kong, command: kong migrations bootstrap", None),
        ("image: apache/airflow, command: scheduler", None),
        ("image: apache/airflow, command: webserver", 8080),
        ("image: nginx, command: [sh, -c, 'cat /etc/nginx/nginx.conf']", None),
        ("image: nginx, network_mode: 'service:vpn'", None),
        ("image: acme/thing", None),
    ],
)
def test_a_well_known_image_has_its_usual_port_while_it_runs_its_own_program(body: str, port: int | None) -> None:
    found = port_of(body)
    assert (None if found is None else found.number) == port
    assert found is None or found.source == "its image"


FILES = {"api/Dockerfile": "FROM node\nEXPOSE 3000 9229\n", "front/prod.docker": "FROM nginx:alpine\nCOPY . /x\n"}


@pytest.mark.parametrize(
    ("body", "others", "port"),
    [
        ("build: api", "", 3000),
        ("build: {context: api}, command: npm start", "", 3000),
        ("build: {context: front, dockerfile: prod.docker}", "", 80),
        ("build: {context: front, dockerfile: prod.docker}, command: npm start", "", None),
        ("build: {dockerfile_inline: 'FROM x\n\n    EXPOSE 81'}", "", 81),
        ("build: none", "", None),
        ("build: 'https://example.test/api.git'", "", None),
        # A worker shares the image of the program that listens.
        ("build: api, command: celery worker", ", api: {build: api}", None),
        ("build: api, command: serve --port 9229", ", api: {build: api}", 9229),
        ("build: api, command: serve --port 13000", ", api: {build: api}", None),
        ("build: api", ", worker: {build: api, command: celery worker}", 3000),
    ],
)
def test_an_image_that_is_built_here_has_what_its_dockerfile_exposes(body: str, others: str, port: int | None) -> None:
    found = port_of(body, others, FILES)
    assert (None if found is None else found.number) == port


def test_what_the_file_says_of_the_service_counts_before_what_its_image_says() -> None:
    found = port_of("image: nginx, environment: {PORT: 8080}, healthcheck: {test: 'curl http://localhost:81/'}")
    assert found == OwnPort(8080, "8080", "its variable PORT")
    assert port_of("image: nginx, healthcheck: {test: 'curl http://localhost:81/'}") == OwnPort(
        81, "81", "its health check"
    )
