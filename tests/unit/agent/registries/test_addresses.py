"""Addresses in REGISTRY_URL over TLS: what is connected to, and which name its certificate must have."""

from __future__ import annotations

from agent.registries.addresses import SrvName, SrvRecord, addresses, names_to_check, read_source, source_text
from registry_core.security.client_settings import ClientTlsSettings

SEED = b"0" * 16


def srv(text: str) -> SrvName:
    source = read_source(text)
    assert isinstance(source, SrvName)
    return source


def test_a_srv_name_over_tls_leads_to_https() -> None:
    assert source_text("SRV+HTTPS:_registry._tcp.Example.") == "srv+https:_registry._tcp.example"
    over_tls, plain = srv("srv+https:_registry._tcp.example"), srv("srv:_registry._tcp.example")
    assert over_tls != plain
    found = {over_tls: [SrvRecord(0, 1, 8888, "r1.example")], plain: [SrvRecord(0, 1, 80, "r2.example")]}
    urls = [one.url for one in addresses([over_tls, plain], found, SEED)]
    assert urls == ["https://r1.example:8888", "http://r2.example:80"]


def test_the_certificate_is_for_the_domain_of_the_srv_name_and_not_for_what_dns_says() -> None:
    """RFC 6125 section 6.2.1: who forges the answer chooses the target."""
    name = srv("srv+https:_registry._tcp.fleet.example")
    found = {name: [SrvRecord(0, 1, 8888, "evil.example"), SrvRecord(0, 1, 8888, "r1.fleet.example")]}
    assert names_to_check([name], found) == {"evil.example": "fleet.example", "r1.fleet.example": "fleet.example"}


def test_a_host_that_the_settings_name_keeps_its_own_name() -> None:
    name, own = srv("srv+https:_registry._tcp.fleet.example"), read_source("https://r1.fleet.example:8888")
    found = {name: [SrvRecord(0, 1, 8888, "r1.fleet.example")]}
    assert names_to_check([name, own], found) == {}
    assert names_to_check([srv("srv:_registry._tcp.fleet.example")], {}) == {}
    assert ClientTlsSettings().name == ""
