"""The ports on which the programs of well-known images may listen."""

from __future__ import annotations

import pytest

from cli.compose.image_ports import MORE_PORTS, possible_ports
from cli.compose.images import IMAGES
from cli.compose.ports import is_port


@pytest.mark.parametrize(
    ("image", "port"),
    [
        ("rabbitmq:3-management", 5672),
        ("rabbitmq:3-management", 61613),
        ("jaegertracing/all-in-one", 4318),
        ("grafana/tempo", 4317),
        ("otel/opentelemetry-collector-contrib:0.99", 13133),
        ("mailhog/mailhog", 1025),
        ("postgres:16@sha256:00", 5432),
        ("confluentinc/cp-kafka", 29092),
    ],
)
def test_the_side_ports_of_collectors_and_brokers_are_known(image: str, port: int) -> None:
    assert port in possible_ports(image)


def test_an_unknown_image_may_listen_anywhere() -> None:
    assert possible_ports("acme/tracer") == possible_ports(None) == ()


def test_the_table_has_ports_and_repeats_none_of_the_usual_ones() -> None:
    for name, ports in MORE_PORTS.items():
        assert all(is_port(port) for port in ports)
        assert len(set(ports)) == len(ports)
        assert not set(ports) & set(IMAGES[name].ports if name in IMAGES else ())
