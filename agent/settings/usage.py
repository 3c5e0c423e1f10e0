"""The setting of counting what programs ask for."""

from __future__ import annotations

from typing import Final

from registry_core.settings import Setting, switch

USAGE: Final = Setting(
    "AGENT_USAGE",
    switch,
    True,
    "`off`: do not count which services the programs of this machine ask for, and report no such counts",
    "off",
)
