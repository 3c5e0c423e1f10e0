"""What is written like an address: with which host, port and scheme, and where in the text."""

from __future__ import annotations

import pytest

from cli.compose import address_syntax
from cli.compose.address_syntax import MAX_VALUE_LENGTH, HardCodedAddress, located_in, with_port_or_scheme
from cli.compose.errors import Place

HERE = Place("compose.yml", 7)


def found_in(text: str) -> list[tuple[str, str, int | None]]:
    """Return (scheme, host, port) of each address in a text."""
    return [(a.scheme, a.host, a.port) for a in with_port_or_scheme(text, "X", HERE)]


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
    ("text", "expected"),
    [
        ("jdbc:oracle:thin:@ora:1522:xe", [("oracle", "ora", 1522)]),
        ("jdbc:oracle:thin:me/secret@//ora:1522/xe", [("oracle", "ora", 1522)]),
        ("server.1=zoo:2888:3888;2181 server.2=b:2888:3888", [("", "zoo", 2888), ("", "b", 2888)]),
        ("rs0/a:1,b:2", [("", "a", 1), ("", "b", 2)]),
        ("//ora:99/x", [("", "ora", 99)]),
        ("x //ora:99", [("", "ora", 99)]),
        ("host=pg port=5439 dbname=x", [("", "pg", 5439)]),
        ("port=5439 host='pg' dbname=x", [("", "pg", 5439)]),
        ("host=pg dbname=x", [("", "pg", None)]),
        ("Server=pg,1433;Database=x", [("", "pg", 1433)]),
        ("Data Source=tcp:pg,1433;User=x", [("", "pg", 1433)]),
        ("Host = pg; Port = 5439; Database = x", [("", "pg", 5439)]),
        ("(ADDRESS=(PROTOCOL=TCP)(HOST=ora)(PORT=1521))", [("", "ora", 1521)]),
        ("dns:///cart:7070", [("dns", "cart", 7070)]),
        ("user:pw@tcp(mysql:3306)/db?x=y", [("", "mysql", 3306)]),
    ],
)
def test_connection_strings_and_urls_without_a_scheme_are_read(
    text: str, expected: list[tuple[str, str, int | None]]
) -> None:
    assert [found for found in found_in(text) if not found[1].isdigit()] == expected


@pytest.mark.parametrize(
    "text",
    [
        "http://store{1...4}/data",
        "http://store{1...4}:9000/data",
        "http://web[0-9]:80",
        "web:80{00,01}",
        r"https://collab\.example",
        r"web\.example:80",
        "http://web*",
        "http://web<n>",
        "%(host)s:80",
        "https?://x",
        "http+web+web",
        "s3://profiles",
        "queue://orders:80",
        "host=/var/run/postgresql dbname=x",
        "repository/image:5",
        "comment // web:80",
    ],
)
def test_patterns_buckets_and_queues_are_no_addresses(text: str) -> None:
    assert [host for _, host, _ in found_in(text) if not host.isdigit()] == (["web"] if text.startswith("c") else [])


@pytest.mark.parametrize(
    ("text", "has_path", "is_complete"),
    [
        ("http://db", False, False),
        ("http://db/", False, False),
        ("http://db, http", False, False),
        ("http://db/x", True, True),
        ("http://db?x", True, True),
        ("http://db:80", False, True),
    ],
)
def test_a_url_without_a_port_is_complete_when_a_path_follows(text: str, *, has_path: bool, is_complete: bool) -> None:
    (address,) = with_port_or_scheme(text, "X", HERE)
    assert (address.has_path, address.is_complete) == (has_path, is_complete)


def test_an_address_that_is_cut_off_at_the_bound_is_not_read() -> None:
    text = " " * (MAX_VALUE_LENGTH - len("billing:80")) + "billing:8034"
    assert found_in(text) == []
    assert found_in(text[2:]) == [("", "billing", 8034)]


@pytest.mark.untraced
@pytest.mark.parametrize(
    "piece", ["a+", "a-", "a:", "a://", "host=", "host=a ", "port=1 host=a ", "[", "//a:1 ", "rs/", "server.1=a:1:2 "]
)
def test_long_values_are_read_in_linear_time(piece: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A value fifty times as long as the bound: in quadratic time it would take longer than a test may."""
    length = 50 * MAX_VALUE_LENGTH
    monkeypatch.setattr(address_syntax, "MAX_VALUE_LENGTH", length)
    list(located_in(piece * (length // len(piece)), "X", HERE))
