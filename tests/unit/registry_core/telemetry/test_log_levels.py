"""Levels by component: how they are written, which counts, and how they change."""

from __future__ import annotations

import pytest

from registry_core.errors import NotFound, ValidationError
from registry_core.telemetry.log_levels import LogLevels, changed, known_names, levels_reader

KNOWN = ("agent", "agent.sync", "dns", "dns.forwarding", "store.redis")
read = levels_reader(KNOWN)


@pytest.mark.parametrize(
    ("text", "levels"),
    [
        ("info", "info"),
        ("WARN", "warning"),
        (" info , agent.sync = debug ", "info,agent.sync=debug"),
        ("dns=debug", "info,dns=debug"),
        ("dns=debug,error", "error,dns=debug"),
        ("store=debug,agent.sync=error", "info,agent.sync=error,store=debug"),
        ("info,dns=debug,dns=debug", "info,dns=debug"),
    ],
)
def test_levels_are_written_as_in_other_programs(text: str, levels: str) -> None:
    assert str(read(text)) == levels


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("loud", "'loud' is not one of the levels debug, info, warning, error"),
        ("info,", "'' is not one of the levels"),
        ("info,agent.sink=debug", "there is no component 'agent.sink': agent, agent.sync, dns"),
        ("info,debug", "two levels for everything"),
        ("dns=info,dns=debug", "two levels for dns"),
        ("dns=", "'' is not one of the levels"),
    ],
)
def test_a_wrong_level_says_what_is_known(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why.replace(".", r"\.")):
        read(text)


def test_the_longest_name_that_fits_counts() -> None:
    levels = read("warning,dns=info,dns.forwarding=debug")
    assert [levels.of(name) for name in ("dns", "dns.forwarding", "dns.other", "agent.sync")] == [
        "info",
        "debug",
        "info",
        "warning",
    ]
    assert levels.lowest == "debug"


def test_a_change_holds_for_what_is_below_as_well() -> None:
    levels = changed(read("info,dns.forwarding=error"), KNOWN, "dns", "debug")
    assert (str(levels), levels.of("dns.forwarding")) == ("info,dns=debug", "debug")
    assert str(changed(levels, KNOWN, "", "error")) == "error"
    assert changed(levels, KNOWN, "store", "warn").of("store.redis") == "warning"


def test_an_unknown_component_or_level_is_an_error_that_names_the_known_ones() -> None:
    with pytest.raises(NotFound, match=r"agent, agent\.sync, dns, dns\.forwarding, store, store\.redis"):
        changed(LogLevels(), KNOWN, "dsn", "debug")
    with pytest.raises(ValidationError, match="debug, info, warning, error"):
        changed(LogLevels(), KNOWN, "dns", "trace")
    assert known_names(KNOWN)[-1] == "store.redis"
