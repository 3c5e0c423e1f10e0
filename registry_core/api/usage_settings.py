"""The settings of agents' reports at a replica."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from registry_core.setting_values import Values
from registry_core.settings import Setting, positive_seconds
from registry_core.usage.limits import DEFAULT_EVERY_S, MOST_EVERY_S


def _every(value: str) -> float:
    every_s = positive_seconds(value)
    if not 1.0 <= every_s <= MOST_EVERY_S:
        raise ValueError(f"it is 1 s to {MOST_EVERY_S / 3600:g} h")
    return every_s


REPORT_EVERY: Final = Setting(
    "REGISTRY_REPORT_EVERY",
    _every,
    DEFAULT_EVERY_S,
    "how often agents are asked to report how they are, and which services their programs asked for",
    "30",
)
USAGE_SETTINGS: Final[tuple[Setting[Any], ...]] = (REPORT_EVERY,)


class UsageSettings(msgspec.Struct, frozen=True):
    """How often agents report, in seconds."""

    every_s: float = DEFAULT_EVERY_S


def usage_settings(values: Values) -> UsageSettings:
    """Return the settings of reports."""
    return UsageSettings(values[REPORT_EVERY])
