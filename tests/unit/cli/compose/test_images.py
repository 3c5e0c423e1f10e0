"""What is known of well-known images."""

from __future__ import annotations

import pytest

from cli.compose.images import IMAGES, image_name, well_known
from cli.compose.ports import is_port

MAX_IMAGES = 400


@pytest.mark.parametrize(
    ("image", "port"),
    [
        ("postgres", 5432),
        ("registry.example:5000/library/Postgres:16@sha256:00", 5432),
        ("bitnami/redis:7", 6379),
        ("docker.io/bitnami/nginx", 8080),
        ("nginx:alpine", 80),
        ("registry:2", 5000),
        ("mcr.microsoft.com/mssql/server:2022-latest", 1433),
        ("acme/registry", None),
        ("acme/server", None),
        ("acme/postgres-exporter-of-ours", None),
        (None, None),
        ("", None),
    ],
)
def test_an_image_is_known_by_its_name_alone(image: str | None, port: int | None) -> None:
    found = well_known(image)
    assert (None if found is None else found.ports[0]) == port


def test_the_table_is_bounded_and_each_of_its_names_can_be_found() -> None:
    assert len(IMAGES) <= MAX_IMAGES
    for name, image in IMAGES.items():
        assert image.ports
        assert all(is_port(port) for port in image.ports)
        assert well_known(name) is image or image_name(name).rpartition("/")[2] == name, name
