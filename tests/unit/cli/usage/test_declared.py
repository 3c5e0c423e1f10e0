"""What a compose file declares: by addresses in environments and by depends_on, under registered names."""

from __future__ import annotations

from pathlib import Path

from cli.usage.declared import declared_edges
from cli.usage.graph import DeclaredEdge

COMPOSE = """\
name: shop
services:
  web:
    image: example/web:1
    environment: {BILLING_URL: "http://billing_api:8000", SELF: "http://web:80"}
    depends_on: [db]
  billing_api:
    image: example/billing:1
    expose: ["8000"]
  db:
    image: postgres:16
"""


def test_declared_edges_have_the_names_of_the_registry(tmp_path: Path) -> None:
    file = tmp_path / "compose.yml"
    file.write_text(COMPOSE)
    assert declared_edges([file], None, {}) == [
        DeclaredEdge("web", "billing_api", ("BILLING_URL",)),
        DeclaredEdge("web", "db-shop"),
    ]
