"""The addresses in a resolver's reply; dnslib builds the replies."""

from __future__ import annotations

from dns.codec import Type
from dns.foreign_addresses import reply_addresses
from tests.foreign import reply_of


def test_the_addresses_of_a_name_and_of_its_aliases_are_found() -> None:
    found = reply_of(
        "db.example",
        "db.example. 60 IN CNAME primary.db.example.",
        "primary.db.example. 60 IN A 10.0.0.7",
        "primary.db.example. 60 IN A 10.0.0.8",
        "primary.db.example. 60 IN A 10.0.0.7",
    )
    assert reply_addresses(found, Type.A) == ("10.0.0.7", "10.0.0.8")
    assert reply_addresses(found, Type.AAAA) == ()


def test_ipv6_addresses_are_found_and_mapped_ones_are_ipv4() -> None:
    records = ("db.example. 60 IN AAAA 2001:db8::7", "db.example. 60 IN AAAA ::ffff:a00:7")
    assert reply_addresses(reply_of("db.example", *records, qtype="AAAA"), Type.AAAA) == ("2001:db8::7", "10.0.0.7")


def test_addresses_of_other_names_are_left_out() -> None:
    records = ("other.example. 60 IN A 10.6.6.6", "db.example. 60 IN A 10.0.0.7")
    assert reply_addresses(reply_of("db.example", *records), Type.A) == ("10.0.0.7",)
    assert reply_addresses(reply_of("db.example"), Type.A) == ()
