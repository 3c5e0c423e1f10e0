"""One instance as a target of Prometheus."""

from __future__ import annotations

from typing import Any

import pytest

from registry_core.api.prometheus_targets import MAX_METADATA_LABELS, target_group
from registry_core.domain.records import Protocol, Status
from tests.samples import instance


def labels(**fields: Any) -> dict[str, str]:
    return target_group(instance(**fields)).labels


def test_every_field_is_a_label() -> None:
    group = target_group(
        instance(
            "billing",
            "ip-intel-1",
            instance_id="b1",
            zone="z1",
            version="1.4.2",
            tags=("blue", "canary"),
            status=Status.CRITICAL,
            weight=7,
            metadata={"team": "shop", "shard-no": 3, "beta": True, "list": [1], "table": {"a": 1}},
        )
    )
    assert group.targets == ("10.0.1.7:8034",), (
        "the address, so that Prometheus needs no name server that knows the host"
    )
    assert group.labels == {
        "__meta_vertice_service": "billing",
        "__meta_vertice_instance_id": "b1",
        "__meta_vertice_host": "ip-intel-1",
        "__meta_vertice_address": "10.0.1.7",
        "__meta_vertice_port": "8034",
        "__meta_vertice_protocol": "http",
        "__meta_vertice_status": "critical",
        "__meta_vertice_suspect": "false",
        "__meta_vertice_zone": "z1",
        "__meta_vertice_version": "1.4.2",
        "__meta_vertice_weight": "7",
        "__meta_vertice_health_endpoint": "/health",
        "__meta_vertice_tags": ",blue,canary,",
        "__meta_vertice_metadata_team": "shop",
        "__meta_vertice_metadata_shard_no": "3",
        "__meta_vertice_metadata_beta": "true",
    }


def test_ipv6_addresses_have_brackets() -> None:
    assert target_group(instance(host="2001:db8::7")).targets == ("[2001:db8::7]:8034",)


def test_a_host_without_a_known_address_is_the_target() -> None:
    assert target_group(instance(host="new-host", addresses=())).targets == ("new-host:8034",)


def test_metadata_says_where_the_metrics_are() -> None:
    metadata = {"prometheus.port": "9100", "prometheus.path": "/internal/metrics", "prometheus.scheme": "https"}
    group = target_group(instance(metadata=metadata))
    assert group.targets == ("10.0.0.7:9100",)
    assert group.labels["__metrics_path__"] == "/internal/metrics"
    assert group.labels["__scheme__"] == "https"
    assert group.labels["__meta_vertice_port"] == "8034", "that of the service"
    assert target_group(instance(metadata={"prometheus.port": 9100})).targets == ("10.0.0.7:9100",)


@pytest.mark.parametrize(
    "port", ["0", "65536", "-1", "9100 ", "x", "", True, None, 1.5, [9100], "\N{FULLWIDTH DIGIT NINE}", "9" * 5000]
)
def test_a_port_that_is_none_is_ignored(port: object) -> None:
    assert target_group(instance(metadata={"prometheus.port": port})).targets == ("10.0.0.7:8034",)


@pytest.mark.parametrize("path", ["metrics", "", "//x y", "/a?b=c", "/a#b", 7, None, "/a\nb"])
def test_a_path_that_is_none_is_ignored(path: object) -> None:
    assert "__metrics_path__" not in labels(metadata={"prometheus.path": path})


@pytest.mark.parametrize("scheme", ["ftp", "HTTPS", "", 1, ["https"], {"https": 1}])
def test_a_scheme_that_is_none_is_ignored(scheme: object) -> None:
    assert "__scheme__" not in labels(metadata={"prometheus.scheme": scheme})


def test_a_service_over_https_is_scraped_over_https_unless_it_says_otherwise() -> None:
    assert labels(protocol=Protocol.HTTPS)["__scheme__"] == "https"
    assert labels(protocol=Protocol.HTTPS, metadata={"prometheus.scheme": "http"})["__scheme__"] == "http"
    assert "__scheme__" not in labels(protocol=Protocol.GRPC)


def test_keys_that_become_one_label_do_not_override_each_other_or_our_own_labels() -> None:
    found = labels(metadata={"a-b": "first", "a.b": "second", "Ä": "x"})
    assert found["__meta_vertice_metadata_a_b"] == "first"
    assert found["__meta_vertice_metadata__"] == "x"


def test_the_number_of_labels_has_a_bound() -> None:
    few, many = labels(), labels(metadata={f"k{number}": "" for number in range(MAX_METADATA_LABELS + 50)})
    assert len(many) - len(few) == MAX_METADATA_LABELS
