"""Which hosts are names of the agent."""

from __future__ import annotations

from agent.http.hosts import MAX_REMEMBERED, AcceptedHosts


def test_only_what_was_accepted_is_remembered() -> None:
    hosts = AcceptedHosts("vertice.internal")
    assert not hosts.remembers("localhost")
    assert hosts.accepts("localhost")
    assert hosts.remembers("localhost")
    assert not hosts.accepts("evil.example")
    assert not hosts.remembers("evil.example")
    assert not hosts.remembers(None)


def test_ever_new_spellings_take_no_more_memory() -> None:
    hosts = AcceptedHosts("vertice.internal")
    for number in range(3 * MAX_REMEMBERED):
        assert hosts.accepts(f"agent-{number}")
    assert len(hosts._remembered) <= MAX_REMEMBERED


def test_new_settings_take_names_back() -> None:
    hosts = AcceptedHosts("vertice.internal", ("web1.example.net",))
    assert hosts.accepts("web1.example.net")
    hosts.use(())
    assert not hosts.remembers("web1.example.net")
    assert not hosts.accepts("web1.example.net")


def test_names_of_the_machine_are_accepted() -> None:
    hosts = AcceptedHosts("vertice.internal")
    hosts.know_machine(frozenset({"web1.prod.example"}))
    assert hosts.accepts("Web1.prod.example:8880")
    assert not hosts.accepts("web2.prod.example")


def test_forms_of_addresses_that_only_look_like_one_are_none() -> None:
    hosts = AcceptedHosts("vertice.internal")
    for host in ("[evil]", "[::1].evil.example", "127.0.0.1.", "1.2.3", "::1", "[::1%25eth0]", "300.0.0.1"):
        assert hosts.accepts(host) is (host == "127.0.0.1."), host
