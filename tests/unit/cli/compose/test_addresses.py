"""The addresses in a service's environment and command: what is one, with which host, port and scheme."""

from __future__ import annotations

import pytest

from cli.compose.address_syntax import MAX_VALUE_LENGTH, HardCodedAddress, located_in, with_port_or_scheme
from cli.compose.addresses import addresses_of, hosts_and_ports
from cli.compose.errors import Place
from cli.compose.model import ComposeService, EnvEntry

HERE = Place("compose.yml", 7)
KNOWN = frozenset({"billing", "ip_intel", "db"})


def found_in(text: str) -> list[tuple[str, str, int | None]]:
    """Return (scheme, host, port) of each address in a text."""
    return [(a.scheme, a.host, a.port) for a in with_port_or_scheme(text, "X", HERE)]


def service(
    variables: dict[str, str], *, command: tuple[str, ...] = (), entrypoint: tuple[str, ...] = ()
) -> ComposeService:
    environment = tuple(EnvEntry(name, value, value, HERE) for name, value in variables.items())
    places = {"command": Place("compose.yml", 9)}
    return ComposeService("front", HERE, places, environment=environment, command=command, entrypoint=entrypoint)


def given(**variables: str) -> list[str]:
    """Return the addresses that variables give, as they are written."""
    return [a.written for a in addresses_of(service(variables), KNOWN.__contains__)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("billing:8034", [("", "billing", 8034)]),
        ("http://billing:8034/x?y=1", [("http", "billing", 8034)]),
        ("http://ip_intel", [("http", "ip_intel", 80)]),
        ("HTTPS://api.example.org/", [("https", "api.example.org", 443)]),
        ("postgresql+asyncpg://u:p@db/name", [("postgresql", "db", 5432)]),
        ("jdbc:postgresql://db:5433/name", [("postgresql", "db", 5433)]),
        ("gopher://billing", [("gopher", "billing", None)]),
        ("x=billing:1 and (db:2)", [("", "billing", 1), ("", "db", 2)]),
        ("1@kafka:9093,2@kafka_b:9093", [("", "kafka", 9093), ("", "kafka_b", 9093)]),
        ("10.0.0.7:80", [("", "10.0.0.7", 80)]),
    ],
)
def test_an_address_is_a_url_or_a_host_with_a_port(text: str, expected: list[tuple[str, str, int | None]]) -> None:
    assert found_in(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "billing",
        "billing:",
        ":8034",
        "billing:port",
        "user:1234@",
        "/var/lib/billing:80",
        "$HOST:80",
        "${HOST}:80",
        "billing:80:tcp",
        "billing:1234567890123",
        "0.0.0.0:80",
        "http://0.0.0.0:80",
        "unix:///var/run/x.sock",
        "sqlite://db:5432",
        "höst:80",
        "http://hostö",
        "host:80ö",
        "billing:\uff18\uff10",
    ],
)
def test_anything_else_is_no_address(text: str) -> None:
    assert found_in(text) == []


@pytest.mark.parametrize(
    "text",
    [
        "::1",
        "fe80::a:80",
        "[fe80::a:80]",
        "http://[2001:db8::b:80]:8034/",
        "http://[2001:db8:1:2:3:4:b:80]",
        "[::ffff:10.0.0.7]:80",
    ],
)
def test_the_end_of_an_ipv6_address_is_no_host_with_a_port(text: str) -> None:
    assert found_in(text) == []


def test_what_stands_around_an_ipv6_address_is_found_where_it_stands() -> None:
    text = "[fe80::a:80]:1,billing:8034,[db:5432]"
    assert [text[one.start : one.end] for one in located_in(text, "X", HERE)] == ["billing:8034", "db:5432"]


def test_hosts_after_a_comma_have_the_scheme_of_the_first() -> None:
    assert found_in("nats://a:1,b:2 c:3") == [("nats", "a", 1), ("nats", "b", 2), ("", "c", 3)]


def test_a_user_and_a_password_are_not_kept() -> None:
    (address,) = with_port_or_scheme("amqp://user:secret@billing:5672/v", "X", HERE)
    assert address.written == "amqp://billing:5672"
    assert "secret" not in repr(address)


def test_a_located_address_stands_from_its_host_to_the_end_of_its_port() -> None:
    text = "see http://u:p@billing:8034/x and https://db/y"
    assert [text[one.start : one.end] for one in located_in(text, "X", HERE)] == ["billing:8034", "db"]


def test_a_very_long_value_is_read_up_to_its_bound_only() -> None:
    assert found_in("." * (MAX_VALUE_LENGTH - 6) + " a:80 billing:1") == [("", "a", 80)]


@pytest.mark.parametrize(
    ("address", "written"),
    [
        (HardCodedAddress("X", HERE, "db", 5432), "db:5432"),
        (HardCodedAddress("X", HERE, "db", None), "db"),
        (HardCodedAddress("X", HERE, "db", 80, "http"), "http://db:80"),
        (HardCodedAddress("X", HERE, "db", 80, "http", port_written=False), "http://db"),
        (HardCodedAddress("X", HERE, "db", 5432, port_written=False, port_variable="DB_PORT"), "db:5432"),
    ],
)
def test_an_address_reads_as_it_was_written(address: HardCodedAddress, written: str) -> None:
    assert address.written == written


@pytest.mark.parametrize(("scheme", "is_http"), [("http", True), ("wss", True), ("redis", False), ("", False)])
def test_an_address_is_called_over_http_by_its_scheme(scheme: str, *, is_http: bool) -> None:
    assert HardCodedAddress("X", HERE, "db", 1, scheme).is_http is is_http


@pytest.mark.parametrize(
    ("variables", "written"),
    [
        ({"BILLING_HOST": "billing"}, ["billing"]),
        ({"BILLING_HOST": "nobody"}, ["nobody"]),
        ({"BILLING_HOSTS": "billing, db;ip_intel"}, ["billing", "db", "ip_intel"]),
        ({"BILLING_HOST": "billing", "BILLING_PORT": " 8034 "}, ["billing:8034"]),
        ({"BILLING_HOST": "billing", "BILLING_PORT": "http"}, ["billing"]),
        ({"billing_host": "billing", "billing_port": "8034"}, ["billing:8034"]),
        ({"BILLING_SERVER": "billing:8034", "BILLING_PORT": "1"}, ["billing:8034"]),
        ({"BILLING_URL": "billing"}, ["billing"]),
        ({"BILLING_URL": "nobody"}, []),
        ({"BILLING_URL": "nobody:80"}, ["nobody:80"]),
        ({"BILLING": "nobody:80"}, []),
        ({"BILLING": "billing:80"}, ["billing:80"]),
        ({"BILLING": "http://nobody"}, ["http://nobody"]),
    ],
)
def test_the_name_of_a_variable_says_what_its_value_is(variables: dict[str, str], written: list[str]) -> None:
    assert given(**variables) == written


@pytest.mark.parametrize(
    "variables",
    [
        {"HOST": "billing"},
        {"SERVICE_HOST": "billing:80"},
        {"bind_address": "billing"},
        {"BILLING_HOST": ""},
        {"BILLING_HOST": "0.0.0.0"},
        {"BILLING_HOST": "12"},
        {"BILLING_HOST": "two words"},
        {"BILLING_HOST": "fe80::a:80"},
        {"START_ADDR": "12:30"},
    ],
)
def test_where_a_container_listens_and_what_is_no_host_give_no_address(variables: dict[str, str]) -> None:
    assert given(**variables) == []


def test_the_port_of_another_variable_is_said_with_its_place() -> None:
    (address,) = addresses_of(service({"DB_HOST": "db", "DB_PORT": "5432"}), KNOWN.__contains__)
    assert (address.variable, address.port_variable, address.port_place) == ("DB_HOST", "DB_PORT", HERE)
    assert not address.port_written


def test_a_command_gives_urls_and_the_hosts_that_are_known() -> None:
    one = service({}, entrypoint=("wait", "billing:8034"), command=("run", "12:30", "http://nobody:1", "nobody:2"))
    assert [(a.variable, a.written, a.place.line) for a in addresses_of(one, KNOWN.__contains__)] == [
        ("entrypoint", "billing:8034", 7),
        ("command", "http://nobody:1", 9),
    ]


def test_the_same_address_twice_in_a_variable_is_one() -> None:
    assert given(LIST="billing:1,billing:1,billing:2") == ["billing:1", "billing:2"]


def test_every_host_and_port_of_an_environment_is_returned_known_or_not() -> None:
    environment = [
        EnvEntry("A", "12:30 nobody:5", "", HERE),
        EnvEntry("B", None, "", HERE),
        EnvEntry("C", "", "", HERE),
    ]
    assert [(a.host, a.port) for a in hosts_and_ports(environment)] == [("12", 30), ("nobody", 5)]
