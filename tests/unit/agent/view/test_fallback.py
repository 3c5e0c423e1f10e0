"""Services in the environment and in a file, and when these are used."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from agent.http.lookups import Lookups
from agent.view.fallback import Fallback, of_environment, of_file
from agent.view.view import AgentView
from registry_core.domain.records import Protocol
from registry_core.domain.selection import WhenNonePass
from registry_core.errors import SettingsError, Warming
from tests.samples import FakeClock, instance
from tests.unit.agent.view.test_view import everything


def said(environment: dict[str, str]) -> list[tuple[str, str]]:
    return [(i.service_name, i.endpoint) for i in of_environment(environment)]


def test_an_environment_names_services_by_url_or_by_host_and_port() -> None:
    assert said(
        {
            "BILLING_URL": "http://billing:8034/api",
            "GEO_HOST": "10.0.0.2",
            "GEO_PORT": "9000",
            "IP_INTEL_SERVICE_URL": "https://ip-intel.example",
            "MAIL_URL": "grpc://[2001:db8::1]:50051",
            "V6_HOST": "2001:db8::2",
            "V6_PORT": "8000",
            "CACHE_V6_HOST": "2001:db8::2",
            "CACHE_V6_PORT": "8000",
        }
    ) == [
        ("billing", "http://billing:8034"),
        ("cache_v6", "http://[2001:db8::2]:8000"),
        ("geo", "http://10.0.0.2:9000"),
        ("ip_intel_service", "https://ip-intel.example:443"),
        ("mail", "grpc://[2001:db8::1]:50051"),
    ]


@pytest.mark.parametrize(
    "environment",
    [
        {"PATH": "/bin", "HOME": "/root", "URL": "http://a:1", "_URL": "http://a:1"},
        {"DATABASE_URL": "postgres://db:5432/x"},
        {"BILLING_URL": "http://[::1"},
        {"BILLING_URL": "http://billing:99999"},
        {"BILLING_URL": "/relative"},
        {"BILLING_HOST": "billing"},
        {"BILLING_HOST": "billing", "BILLING_PORT": "tcp://10.0.0.1:80"},
        {"REGISTRY_URL": "http://registry:8888", "SERVICE_HOST": "me", "SERVICE_PORT": "1"},
        {"AGENT_STATS_URL": "http://a:1", "VERTICE_REGISTRY_URL": "http://a:1", "HTTP_PROXY_URL": "http://a:1"},
    ],
)
def test_a_variable_that_is_no_address_is_skipped(environment: dict[str, str]) -> None:
    assert said(environment) == []


def test_a_url_takes_precedence_over_host_and_port() -> None:
    both = {"GEO_URL": "http://right:1", "GEO_HOST": "wrong", "GEO_PORT": "2"}
    assert said(both) == [("geo", "http://right:1")]


def test_a_file_names_one_address_or_several(tmp_path: Path) -> None:
    path = tmp_path / "static.toml"
    path.write_text('geo = "10.0.0.2:9000"\nbilling = ["http://b1:8034", "tcp://b2:8035"]\n')
    assert [(i.service_name, i.address, i.protocol) for i in of_file(path)] == [
        ("geo", "10.0.0.2:9000", Protocol.HTTP),
        ("billing", "b1:8034", Protocol.HTTP),
        ("billing", "b2:8035", Protocol.TCP),
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("geo", "it is not TOML"),
        ("geo = 5", "geo: it must be text, or a list of texts"),
        ("geo = []", "geo: it must be text, or a list of texts"),
        ("[geo]\na = 1", "geo: it must be text, or a list of texts"),
        ('geo = "somewhere"', "geo: 'somewhere' is neither host:port nor a URL with a port"),
        ('geo = "a:0"', "geo: 'a:0' is neither host:port nor a URL with a port"),
        ('geo = "ftp://a:21"', "is neither host:port nor a URL with a port"),
        ('GEO = "a:1"', "a service name is written in lower case"),
        ('geo = "10.0.0:80"', "a host is an IPv4 or IPv6 address or a host name"),
    ],
)
def test_a_wrong_file_is_one_line_with_an_example(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "static.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        list(of_file(path))
    assert problem in str(caught.value)
    assert "example: billing" in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        list(of_file(tmp_path / "none.toml"))


def test_the_environment_overrides_the_file_for_the_same_service() -> None:
    fallback = Fallback([instance("a_service", port=1111)], [instance("a-service", port=2222), instance("other")])
    found = fallback.find("a_service")
    assert found is not None
    assert [i.port for i in found.instances] == [1111]
    assert fallback.find("other") is not None
    assert len(fallback) == 2


def test_host_names_are_resolved_and_keep_their_addresses() -> None:
    (entry,) = of_environment({"BILLING_URL": "http://billing:8034"})
    fallback = Fallback([entry])
    assert fallback.hosts() == {"billing"}
    assert fallback.located({"billing": ("10.0.0.9",)}) == {"billing"}
    assert fallback.located({"billing": ("10.0.0.9",)}) == frozenset()
    assert fallback.located({"billing": ()}) == frozenset()
    found = fallback.find("billing")
    assert found is not None
    assert found.instances[0].addresses == ("10.0.0.9",)
    assert fallback.by_short("0" * 12) is None


def test_the_fallback_is_used_only_while_the_view_cannot_tell() -> None:
    clock = FakeClock()
    view = AgentView(clock, fallback=Fallback([instance("geo", "10.9.9.9")]))
    lookups = Lookups(view, zone="", when_none_pass=WhenNonePass.ALL, random=random.Random(1))
    assert lookups.one("geo").host == "10.9.9.9"
    with pytest.raises(Warming):
        lookups.one("billing")
    view.apply(everything(instance("billing")))
    assert view.services.static.find("geo") is None
    view.lost()
    clock.pass_time(61)
    assert lookups.one("geo").host == "10.9.9.9"
    assert lookups.one("billing").host == "10.0.0.7", "the view takes precedence"


def test_listeners_learn_of_a_resolved_host() -> None:
    view = AgentView(FakeClock(), fallback=Fallback(list(of_environment({"BILLING_URL": "http://billing:8034"}))))
    told: list[frozenset[str]] = []
    view.subscribe(told.append)
    view.located({"billing": ("10.0.0.9",)})
    view.located({"billing": ("10.0.0.9",)})
    assert told == [{"billing"}]
