"""The doctor's findings on the settings, and on an agent with other settings."""

from __future__ import annotations

import pytest

from cli.doctor.configuration import judge
from cli.doctor.facts import AdvertisedService, Agent
from tests.unit.cli.doctor.samples import URL, facts, ids


def services(*names: str) -> tuple[AdvertisedService, ...]:
    return tuple(AdvertisedService(name=name, host="10.0.0.7", port=8034) for name in names)


def test_valid_settings_are_fine_and_name_the_python() -> None:
    (finding,) = judge(facts(python="3.11.7"))
    assert (finding.id, finding.what) == ("settings", "the settings are valid (Python 3.11.7)")


def test_invalid_settings_are_reported_verbatim_even_with_braces() -> None:
    (finding,) = judge(facts(settings_problem="SERVICE_META: '{x}' cannot be used"))
    assert (finding.id, finding.what) == ("settings-wrong", "SERVICE_META: '{x}' cannot be used")


@pytest.mark.parametrize(
    ("told", "text"),
    [
        (("SERVICE_NAME",), "SERVICE_NAME is not set here"),
        (("SERVICE_NAME", "REGISTRY_URL"), "SERVICE_NAME and REGISTRY_URL are not set here"),
    ],
)
def test_settings_taken_from_the_agent_are_named(told: tuple[str, ...], text: str) -> None:
    _, finding = judge(facts(told_by_agent=told))
    assert finding.id == "settings-of-agent"
    assert finding.what.startswith(text)


@pytest.mark.parametrize(
    ("ours", "theirs", "expected"),
    [
        (("billing",), ("billing",), []),
        (("billing", "orders"), ("orders", "mail"), []),
        ((), ("billing",), []),
        (("billing",), (), []),
        (("billing",), ("mail_relay",), ["agent-other"]),
    ],
)
def test_an_agent_without_a_common_service_is_another_one(
    ours: tuple[str, ...], theirs: tuple[str, ...], expected: list[str]
) -> None:
    given = facts(subject={"services": services(*ours)}, agent=Agent(services=services(*theirs)))
    assert ids(list(judge(given)))[1:] == expected


def test_another_agent_is_described_by_its_first_services() -> None:
    given = facts(subject={"services": services("x")}, agent=Agent(services=services("e", "d", "c", "b", "a")))
    _, finding = judge(given)
    assert finding.what.endswith("it registers a, b, c and 2 more, not x")


@pytest.mark.parametrize(
    ("theirs", "expected"),
    [
        ((), []),
        ((URL,), []),
        ((URL, URL), []),
        (("http://[2001:db8::7]:8888",), ["agent-other-registry"]),
        ((URL, "http://10.0.0.3:8888"), ["agent-other-registry"]),
    ],
)
def test_an_agent_with_other_registries_is_noticed(theirs: tuple[str, ...], expected: list[str]) -> None:
    assert ids(list(judge(facts(agent=Agent(registry_urls=theirs)))))[1:] == expected


def test_the_order_of_registries_does_not_matter() -> None:
    given = facts(
        subject={"registry_urls": ("http://a", "http://b")}, agent=Agent(registry_urls=("http://b", "http://a"))
    )
    assert ids(list(judge(given))) == ["settings"]


def test_with_invalid_settings_the_agent_is_not_compared() -> None:
    given = facts(settings_problem="it is wrong", agent=Agent(registry_urls=("http://elsewhere",)))
    assert ids(list(judge(given))) == ["settings-wrong"]


def test_checks_that_took_too_long_come_last() -> None:
    *_, finding = judge(facts(not_in_time=("AGENT_STATE_DIR", "the lookup")))
    assert finding.what == "not examined because it took too long: AGENT_STATE_DIR, the lookup"
