"""What each name reaches from each service, as Docker resolves it."""

from __future__ import annotations

import pytest

from cli.compose.fleet_names import FleetNames, Meant, container_names
from cli.compose.reader import project_of

FLEET = """
name: acme
services:
  web: {networks: [front], links: ["api:backend"], external_links: ["legacy_db:olddb", cache, the-api]}
  api: {container_name: the-api, hostname: rear, networks: {front: , back: {aliases: [data]}}}
  db: {networks: {back: {ipv4_address: 172.28.0.10, ipv6_address: "2001:db8::10", aliases: [pg]}}}
  quiet: {networks: {front: {use_service_name_alias: false}}}
  many: {networks: [front], scale: 2}
  guest: {network_mode: "service:api"}
  second: {network_mode: "service:guest"}
  mate: {network_mode: "container:the-api"}
  stranger: {network_mode: "container:elsewhere"}
  bridged: {network_mode: bridge, links: ["bridged2:near", bridged2, api]}
  bridged2: {network_mode: bridge}
  host: {network_mode: host}
  alone: {network_mode: none, hostname: alone-host}
  joined: {network_mode: acme_back}
  visitor: {network_mode: company-lan}
  outer: {networks: [shared]}
  same: {networks: [shared2]}
  hosts: {networks: [front], extra_hosts: ["api:10.0.0.1", "pg:172.28.0.10", "box:host-gateway", "own=172.28.0.10"]}
networks:
  front:
  back:
  shared: {external: true, name: corp}
  shared2: {name: corp}
"""
NAMES = FleetNames(project_of([("compose.yml", FLEET.encode())]).checked())
SERVICES = project_of([("compose.yml", FLEET.encode())]).services


def meant(consumer: str, host: str) -> tuple[Meant, list[str]]:
    found = NAMES.of(SERVICES[consumer], host)
    return found.meant, [service.name for service in found.services]


API = ["api", "guest", "second", "mate"]


@pytest.mark.parametrize(
    ("consumer", "host", "services"),
    [
        ("web", "api", API),
        ("web", "API", API),
        ("web", "the-api", API),
        ("web", "rear", API),
        ("web", "backend", API),
        ("web", "api.acme_front", API),
        ("web", "acme-many-1", ["many"]),
        ("web", "acme-many-2", ["many"]),
        ("web", "acme-quiet-1", ["quiet"]),
        ("api", "pg", ["db"]),
        ("api", "data", API),
        ("api", "172.28.0.10", ["db"]),
        ("api", "2001:db8::10", ["db"]),
        ("api", "acme-db-1", ["db"]),
        # Whose network it uses, his names it knows.
        ("guest", "pg", ["db"]),
        ("second", "172.28.0.10", ["db"]),
        ("mate", "web", ["web"]),
        # A network's own name reaches the containers in it; service names belong to Compose's way of joining it.
        ("joined", "db", ["db"]),
        ("db", "acme-joined-1", ["joined"]),
        # Two keys that name one network.
        ("outer", "same", ["same"]),
        ("bridged", "near", ["bridged2"]),
        ("bridged", "bridged2", ["bridged2"]),
        ("alone", "alone-host", ["alone"]),
        ("web", "web", ["web"]),
    ],
)
def test_a_name_reaches_a_service_in_a_network_that_both_are_in(consumer: str, host: str, services: list[str]) -> None:
    assert meant(consumer, host) == (Meant.SERVICE, services)


@pytest.mark.parametrize(
    ("consumer", "host", "services"),
    [
        ("web", "db", ["db"]),
        ("web", "pg", ["db"]),
        ("web", "data", ["api"]),  # an alias belongs to its network, and web is in the other one
        ("web", "172.28.0.10", ["db"]),
        ("web", "api.acme_back", []),
        ("web", "quiet", ["quiet"]),
        ("web", "guest", ["guest"]),  # it has no address of its own, and so no name
        ("web", "bridged2", ["bridged2"]),
        ("bridged2", "bridged", ["bridged"]),
        ("bridged", "api", ["api"]),
        ("host", "web", ["web"]),
        ("alone", "web", ["web"]),
        ("db", "joined", ["joined"]),
    ],
)
def test_a_name_of_the_file_does_not_resolve_everywhere(consumer: str, host: str, services: list[str]) -> None:
    assert meant(consumer, host) == ((Meant.NOT_SHARED, services) if services else (Meant.OUTSIDE, []))


@pytest.mark.parametrize(
    ("consumer", "host"),
    [
        ("web", "olddb"),
        ("web", "cache"),
        ("web", "db.example.org"),
        ("web", "10.9.8.7"),
        ("hosts", "api"),  # the hosts file comes first
        ("outer", "anybody"),
        ("visitor", "anybody"),
        ("visitor", "db"),
        ("stranger", "anybody"),
        ("stranger", "db"),
    ],
)
def test_a_name_that_the_file_does_not_explain_is_outside(consumer: str, host: str) -> None:
    assert meant(consumer, host) == (Meant.OUTSIDE, [])


@pytest.mark.parametrize("host", ["legacy_db", "acme-many-3", "acme-api-1", "nobody"])
def test_a_name_that_nothing_has_is_unknown(host: str) -> None:
    assert meant("web", host) == (Meant.UNKNOWN, [])


def test_the_hosts_file_may_name_a_static_address_and_the_host() -> None:
    assert meant("hosts", "own") == (Meant.NOT_SHARED, ["db"])
    assert meant("hosts", "box") == (Meant.HOST, [])


def test_the_way_in_which_containers_were_once_called_is_another_spelling() -> None:
    assert meant("web", "acme_many_1") == (Meant.OTHER_SPELLING, ["many"])


def test_localhost_is_everybody_in_the_same_network_namespace() -> None:
    assert meant("guest", "localhost") == (Meant.ITSELF, ["guest", "api", "second", "mate"])
    assert meant("api", "127.0.0.1") == (Meant.ITSELF, ["api", "guest", "second", "mate"])
    assert meant("web", "localhost") == (Meant.ITSELF, ["web"])
    assert meant("host", "localhost") == (Meant.HOST, [])


def test_static_addresses_are_known() -> None:
    assert NAMES.is_known("172.28.0.10")
    assert not NAMES.is_known("172.28.0.11")


def test_container_names_are_those_of_the_file_or_composes_own() -> None:
    assert container_names("acme", SERVICES["api"]) == ["the-api"]
    assert container_names("acme", SERVICES["many"]) == ["acme-many-1", "acme-many-2"]


def test_services_that_use_each_others_network_end_the_search() -> None:
    text = "services: {a: {network_mode: 'service:b'}, b: {network_mode: 'service:a'}}\n"
    project = project_of([("compose.yml", text.encode())])
    assert FleetNames(project).of(project.services["a"], "b").meant is Meant.NOT_SHARED
