"""The addresses in a service's environment and command: what a variable's name says of its value."""

from __future__ import annotations

import pytest

from cli.compose.addresses import addresses_of, hosts_and_ports, identity_of_address
from cli.compose.errors import Place
from cli.compose.model import ComposeService, EnvEntry

HERE = Place("compose.yml", 7)
KNOWN = frozenset({"billing", "ip_intel", "db"})


def service(
    variables: dict[str, str], *, command: tuple[str, ...] = (), entrypoint: tuple[str, ...] = ()
) -> ComposeService:
    environment = tuple(EnvEntry(name, value, value, HERE) for name, value in variables.items())
    places = {"command": Place("compose.yml", 9)}
    return ComposeService("front", HERE, places, environment=environment, command=command, entrypoint=entrypoint)


def given(**variables: str) -> list[str]:
    """Return the addresses in variables, as they are written."""
    return [a.written for a in addresses_of(service(variables), KNOWN.__contains__)]


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
def test_a_variables_name_decides_what_its_value_means(variables: dict[str, str], written: list[str]) -> None:
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
def test_listen_addresses_and_non_hosts_give_no_address(variables: dict[str, str]) -> None:
    assert given(**variables) == []


def test_the_port_of_another_variable_is_returned_with_its_position() -> None:
    (address,) = addresses_of(service({"DB_HOST": "db", "DB_PORT": "5432"}), KNOWN.__contains__)
    assert (address.variable, address.port_variable, address.port_place) == ("DB_HOST", "DB_PORT", HERE)
    assert not address.port_written


def test_a_command_gives_urls_and_known_hosts() -> None:
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


@pytest.mark.parametrize(
    ("variables", "written"),
    [
        ({"PGHOST": "db"}, ["db"]),
        ({"PGHOST": "db", "PGPORT": "5433"}, ["db:5433"]),
        ({"PGHOST": "nobody"}, []),
        ({"DbHost": "db", "DbPort": "5433"}, ["db:5433"]),
        ({"db.host": "db", "db.port": "5433"}, ["db:5433"]),
        ({"Db__Host": "db"}, ["db"]),
        ({"BILLING_URL": "http://billing", "BILLING_PORT": "8034"}, ["http://billing:8034"]),
        ({"BILLING_URL": "http://billing/x", "BILLING_PORT": "8034"}, ["http://billing"]),
        ({"DSN": "host=db port=5439 dbname=x"}, ["db:5439"]),
        ({"ConnectionStrings__Db": "Server=tcp:db,1433;Database=x"}, ["db:1433"]),
        ({"REL_URL": "//billing:99/x"}, ["billing:99"]),
    ],
)
def test_hosts_are_found_however_their_variable_is_spelled(variables: dict[str, str], written: list[str]) -> None:
    assert given(**variables) == written


@pytest.mark.parametrize(
    "variables",
    [
        {"RUN_ON_HOST": "true", "REV_SERVER": "True", "USE_SERVER": "false", "OTHER_HOST": "off"},
        {"MAIL_HOST": "null", "MAIL_PORT": "2525", "ADMIN_SERVER": "default", "SOME_HOST": "none"},
        {"BUCKET_URL": "s3://profiles", "DEST_URL": "queue://orders", "APP_LINK": "orders://open"},
        {"WEB_SERVER": "gunicorn", "WALLET_ADDRESS": "abcdef"},
        {"VOLUMES": "http://store{1...4}/data", "HOST_PATTERN": "http://web[0-9]:80", "A_URL": "http://x\\.example"},
        {"FORMAT": "%(host)s:80 $h:80 {host}:80"},
    ],
)
def test_words_and_patterns_are_no_hosts(variables: dict[str, str]) -> None:
    assert given(**variables) == []


def test_a_service_that_is_called_like_such_a_word_is_one() -> None:
    one = service({"QUEUE_HOST": "default", "DEST_URL": "queue://default"})
    assert [a.written for a in addresses_of(one, {"default"}.__contains__)] == ["default"]


def test_an_address_in_a_command_knows_its_option() -> None:
    one = service({}, command=("--cors-origin", "http://billing:1", "--to=http://billing:2", "http://billing:3"))
    found = addresses_of(one, KNOWN.__contains__)
    assert [(a.label, a.port) for a in found] == [("cors-origin", 1), ("to", 2), ("", 3)]
    assert [bool(identity_of_address(a)) for a in found] == [True, False, False]


@pytest.mark.parametrize(
    ("value", "labels"),
    [
        ("http://billing:1/go?redirect_uri=http://billing:2/&x=http://billing:3", ["", "redirect_uri", ""]),
        ("-Dcors.allowed-origins=http://billing:1,http://billing:2", ["cors.allowed-origins"] * 2),
        ("-Dissuer=http://billing:1 http://billing:2", ["issuer", ""]),
        ("--issuer http://billing:1 --to http://billing:2", ["issuer", ""]),
        (
            '{"cors": {"origins": ["http://billing:1", "http://billing:2"]}, "url": "http://billing:3"}',
            ["origins", "origins", ""],
        ),
        ("{cors: http://billing:1}", ["cors"]),
        ("Server=tcp:billing,1;Database=x", [""]),
        ("nats://billing:1,billing:2", ["", ""]),
        ("http://me:a=b@billing:1", [""]),
        ("--flag, http://billing:1", [""]),
    ],
)
def test_an_address_within_a_text_knows_the_name_that_makes_it_an_identity(value: str, labels: list[str]) -> None:
    found = addresses_of(service({"OPTIONS": value}), KNOWN.__contains__)
    assert [a.label for a in found] == labels


def test_what_a_text_calls_an_origin_is_an_identity_and_the_rest_of_it_is_not() -> None:
    one = service({"SPRING_APPLICATION_JSON": '{"origins": ["http://billing:1"], "api": "http://billing:2"}'})
    assert [bool(identity_of_address(a)) for a in addresses_of(one, KNOWN.__contains__)] == [True, False]
    one = service({"CORS": '{"a": "http://billing:1"}'})
    assert all(identity_of_address(a) for a in addresses_of(one, KNOWN.__contains__))


def test_an_address_that_occurs_twice_in_a_value_is_one() -> None:
    one = service(
        {"A_URL": "http://billing:1/?again=http://billing:1", "B_URL": "http://billing:1?issuer=http://billing:1"}
    )
    found = addresses_of(one, KNOWN.__contains__)
    assert [(a.variable, a.label) for a in found] == [("A_URL", ""), ("B_URL", ""), ("B_URL", "issuer")]
