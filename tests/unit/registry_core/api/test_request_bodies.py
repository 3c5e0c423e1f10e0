"""Reading bodies: what they become, and the errors of invalid ones."""

from __future__ import annotations

import pytest

from registry_core.api.request_bodies import decode, parse_endpoint, registration_of
from registry_core.api.schemas import HeartbeatBody, RegisterBody
from registry_core.domain.records import Protocol
from registry_core.errors import ValidationError


def refused(body: bytes, kind: type = RegisterBody) -> ValidationError:
    with pytest.raises(ValidationError) as refusal:
        decode(body, kind)
    return refusal.value


def test_a_field_of_the_wrong_type_is_named_with_its_value_and_an_example() -> None:
    error = refused(b'{"service_name":"ip_intel","host":"h","port":"8034"}')
    assert (error.field, error.provided, error.example) == ("port", "8034", 8034)
    assert error.message.endswith(" must be a whole number, not text")


def test_a_missing_field_and_an_unknown_one_are_named() -> None:
    assert refused(b"{}").field == "service_name"
    error = refused(b'{"service_name":"ip_intel","colour":"red"}')
    assert (error.field, error.provided) == ("colour", "red")


def test_an_error_within_a_list_names_the_index() -> None:
    assert refused(b'{"instances":[{"service_name":"a"},{"service_name":7}]}', HeartbeatBody).field == (
        "instances[1].service_name"
    )


def test_an_error_about_invalid_json_shows_its_start() -> None:
    error = refused(b"x" * 1000)
    assert (error.field, error.provided) == ("body", "x" * 100)


@pytest.mark.parametrize(
    ("endpoint", "parsed"),
    [
        ("http://10.0.0.7:8034", (Protocol.HTTP, "10.0.0.7", 8034)),
        ("https://svc.example/", (Protocol.HTTPS, "svc.example", 443)),
        ("http://svc", (Protocol.HTTP, "svc", 80)),
        ("grpc://[2001:db8::1]:50051", (Protocol.GRPC, "2001:db8::1", 50051)),
    ],
)
def test_an_endpoint_is_split_into_its_parts(endpoint: str, parsed: tuple[Protocol, str, int]) -> None:
    assert parse_endpoint(endpoint) == parsed


@pytest.mark.parametrize(
    "endpoint",
    [
        "",
        "10.0.0.7:8034",
        "ftp://h:1",
        "http://",
        "http://:8034",
        "http://h:99999",
        "http://h:x",
        "http://[::1",
        "http://user@h:80",
        "http://h/path",
        "http://h?x=1",
        "tcp://h",
    ],
)
def test_an_invalid_endpoint_is_refused(endpoint: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        parse_endpoint(endpoint)
    assert refusal.value.field == "endpoint"


def test_endpoint_and_host_may_agree_but_not_differ() -> None:
    claim = registration_of(RegisterBody(service_name="ip_intel", endpoint="http://h:8034", host="h", port=8034))
    assert (claim.host, claim.port, claim.instance_id) == ("h", 8034, "h:8034")
    for body in (
        RegisterBody(service_name="ip_intel", endpoint="http://h:8034", port=1),
        RegisterBody(service_name="ip_intel", endpoint="http://h:8034", protocol=Protocol.GRPC),
    ):
        with pytest.raises(ValidationError, match="contradict"):
            registration_of(body)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (RegisterBody(service_name="ip_intel"), "host"),
        (RegisterBody(service_name="ip_intel", host="h"), "port"),
        (RegisterBody(service_name="ip_intel", port=1), "host"),
        (RegisterBody(service_name="ip_intel", host="h", port=0), "port"),
    ],
)
def test_a_registration_needs_a_host_and_a_port(body: RegisterBody, field: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        registration_of(body)
    assert refusal.value.field == field


def test_the_default_id_is_the_canonical_host_and_port() -> None:
    body = RegisterBody(service_name="ip_intel", host="2001:DB8::0001", port=8034)
    assert registration_of(body).instance_id == "[2001:db8::1]:8034"
    given = RegisterBody(service_name="ip_intel", host="h", port=8034, instance_id="mine")
    assert registration_of(given).instance_id == "mine"
