"""`/log-level`: what it shows and changes."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from registry_core.api.log_level import reset, set_by, shown
from registry_core.errors import NotFound, ValidationError
from registry_core.telemetry.log_levels import LogLevels
from registry_core.telemetry.logs import live_levels


@pytest.fixture(autouse=True)
def levels() -> Iterator[None]:
    root = logging.getLogger().level
    live_levels.configure(LogLevels("info"))
    yield
    live_levels.configure(LogLevels())
    logging.getLogger().setLevel(root)


def test_a_component_is_changed_until_it_is_reset() -> None:
    with capture_logs() as lines:
        view = set_by({"component": "Store.Redis", "level": "debug"}, "registry")
        assert (view.levels, view.configured, view.base) == ("info,store.redis=debug", "info", "info")
        assert set_by({"component": "store.redis", "level": "debug"}, "registry") == view  # and no further line
        assert reset("registry").levels == "info"
    assert [(line["event"], line["before"], line["levels"]) for line in lines] == [
        ("log_levels_changed", "info", "info,store.redis=debug"),
        ("log_levels_changed", "info,store.redis=debug", "info"),
    ]


def test_the_components_of_each_program_are_known() -> None:
    assert "agent.sync" in shown("agent").known
    assert "store" in shown("registry").known
    with pytest.raises(NotFound, match=r"no such component: .*dns"):
        set_by({"component": "store.redis", "level": "debug"}, "agent")
    with pytest.raises(ValidationError, match="takes a level"):
        set_by({"component": "dns"}, "agent")
