"""Which services are stores or brokers."""

from __future__ import annotations

import pytest

from cli.compose.databases import is_database
from cli.compose.reader import project_of


@pytest.mark.parametrize(
    ("test", "database"),
    [
        ("[CMD, /usr/local/bin/healthcheck.sh]", False),
        ("[CMD, healthcheck.sh, --connect, --innodb_initialized]", True),
        ("[CMD-SHELL, 'pg_isready -U shop']", True),
        ("[CMD-SHELL, 'pg_isready -U shop -h localhost']", True),
        ("[CMD-SHELL, 'pg_isready -U shop -h other']", False),
        ("[CMD, redis-cli, -h, cache, ping]", False),
        ("'mongosh mongodb://localhost:27017 --eval 1'", True),
        ("'mongosh mongodb://other:27017 --eval 1'", False),
        ("[CMD-SHELL, 'test \"$(/opt/kafka/bin/kafka-topics.sh --bootstrap-server localhost:9092 --list)\"']", True),
        ("[CMD, node, check-mongo.js]", False),
        ("[CMD, curl, 'http://localhost/mongo']", False),
        ("[CMD, /app/mongo/check]", False),
        ("[CMD, kafka-ui-check]", False),
    ],
)
def test_a_health_check_shows_a_store_by_the_program_that_asks_it(test: str, database: bool) -> None:
    project = project_of([("c.yml", f"services: {{web: {{build: ., healthcheck: {{test: {test}}}}}}}".encode())])
    assert is_database(project.services["web"]) is database


@pytest.mark.parametrize(
    ("base", "database"), [("elasticsearch:8.1", True), ("node:20", False), ("nginx", False), ("scratch", False)]
)
def test_an_image_that_is_built_on_that_of_a_store_is_one(base: str, *, database: bool) -> None:
    text = f'services: {{web: {{build: {{dockerfile_inline: "FROM {base}\\nRUN x"}}}}}}'
    assert is_database(project_of([("c.yml", text.encode())]).services["web"]) is database
