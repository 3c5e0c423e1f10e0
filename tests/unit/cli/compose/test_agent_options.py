"""Options of `vertice compose inject`: the texts that a container engine and the agent accept, and no others."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from cli.compose import agent_options
from cli.compose.agent_options import asks_itself, bytes_of, hosts_of, with_variables

GOOD: dict[Callable[[str], str], tuple[str, ...]] = {
    agent_options.image: (
        "vertice-agent",
        "reg.example:5000/team/vertice_agent:1.0-rc1",
        "localhost/agent@sha256:" + "a1" * 32,
        "[2001:db8::1]:5000/agent",
    ),
    agent_options.memory: ("128M", "64m", "67108864", "1.5g", "64 MiB", "65536kb"),
    agent_options.cpus: ("0.25", ".5", "2", "1.", "0.01"),
    agent_options.registries: ("http://a:1,https://b.example/x", "srv:_registry._tcp.example", "http://a#zone=eu-1"),
    agent_options.resolvers: ("8.8.8.8,8.8.4.4", "none", "10.0.0.2:5353,corp.example=[::1]:53"),
    agent_options.host_address: ("172.17.0.1", "2001:db8::7"),
    agent_options.zone: ("vertice.internal", "corp_1.example"),
}
BAD: dict[Callable[[str], str], tuple[str, ...]] = {
    agent_options.image: (
        "",
        " ",
        "Vertice",
        "a b",
        "-x",
        "a:",
        "a:b:c",
        "a//b",
        "x" * 600,
        "a\nb",
        "é",
        "a@sha256:12",
    ),
    agent_options.memory: ("", "lots", "-1M", "0", "5M", "1e9", "128X", "128MBB", "9999999999999T", "٣M", "\x00"),
    agent_options.cpus: ("", "x", "0", "-1", "1e3", "nan", "inf", "0,5", "0.001", "."),
    agent_options.registries: ("", ",", "foo", "foo:8888", "ftp://a", "http://", "http://u:p@a", "srv:x", "http://a:0"),
    agent_options.resolvers: ("", "dns.google", "10.0.0.2:0", "x=", "none,10.0.0.2", "1.2.3"),
    agent_options.host_address: ("", "foo", "10.0.0", "127.0.0.1", "::1", "0.0.0.0", "224.0.0.1", "fe80::1%eth0"),
    agent_options.zone: ("", "-", "a b", "x:1", "a..b", "x" * 64),
}


@pytest.mark.parametrize(("read", "text"), [(read, text) for read, texts in GOOD.items() for text in texts])
def test_a_text_that_engine_and_agent_accept_is_accepted(read: Callable[[str], str], text: str) -> None:
    assert read(text).lower() == text.lower()


@pytest.mark.parametrize(("read", "text"), [(read, text) for read, texts in BAD.items() for text in texts])
def test_any_other_text_is_refused_with_the_reason(read: Callable[[str], str], text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        read(text)


@pytest.mark.parametrize("text", ["${IMAGE}", "${IMAGE:?needed}", "reg.example/agent:${TAG}", "agent:${TAG:-1.0}"])
def test_variables_stay_as_they_are_written(text: str) -> None:
    assert with_variables(agent_options.image)(text) == text


@pytest.mark.parametrize("text", ["${IMAGE", "${}", "agent:${TAG:-a b}", "${IMAGE:-Vertice}"])
def test_a_variable_with_bad_syntax_or_a_bad_default_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        with_variables(agent_options.image)(text)


@pytest.mark.parametrize(
    ("amount", "size"),
    [("1", 1), ("1k", 1024), ("2Kb", 2048), ("1.5M", 1572864), ("1 GiB", 1 << 30), ("1t", 1 << 40), ("${M}", None)],
)
def test_memory_is_counted_as_docker_does(amount: str, size: int | None) -> None:
    assert bytes_of(amount) == size


@pytest.mark.parametrize("forward", ["127.0.0.11", "system", "corp.example=10.0.0.2", "8.8.8.8,corp.example=[::1]:53"])
def test_docker_s_own_resolver_leads_an_agent_beside_a_service_back_to_itself(forward: str) -> None:
    assert asks_itself(forward)


@pytest.mark.parametrize("forward", ["8.8.8.8", "none", "10.0.0.2,corp.example=10.0.0.3", "${DNS}", "nxdomain"])
def test_other_resolvers_do_not(forward: str) -> None:
    assert not asks_itself(forward)


def test_the_hosts_of_registries_are_those_of_urls_with_the_defaults_of_variables() -> None:
    urls = "http://A.example:1#zone=eu,srv:_r._tcp.example,https://[2001:db8::7]"
    assert [host for _, host in hosts_of(urls)] == ["a.example", "2001:db8::7"]
    assert hosts_of("${REGISTRY:-http://b:2}") == [("http://b:2", "b")]
    assert hosts_of("${REGISTRY}") == []
