"""How often agents report: a setting of the replica, within bounds."""

from __future__ import annotations

import pytest

from registry_core.api.usage_settings import UsageSettings
from registry_core.errors import SettingsError
from registry_core.replica_settings import replica_settings


def test_agents_report_every_half_minute_or_as_the_setting_says() -> None:
    assert replica_settings({}).usage == UsageSettings(30.0)
    assert replica_settings({"REGISTRY_REPORT_EVERY": "5m"}).usage.every_s == 300.0


@pytest.mark.parametrize("value", ["0.5", "2h", "never", "-1"])
def test_a_period_out_of_bounds_is_refused(value: str) -> None:
    with pytest.raises(SettingsError, match="REGISTRY_REPORT_EVERY"):
        replica_settings({"REGISTRY_REPORT_EVERY": value})
