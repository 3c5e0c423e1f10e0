"""Collects the settings of one agent: the command line wins over the environment, and that over the file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from agent.settings.file import ConfigFile, ServiceTable, read_config_file
from agent.settings.table import AGENT_TABLE, CONFIG, REMOVED, TABLE
from registry_core.errors import SettingsError
from registry_core.setting_sources import given_in, removed_among, unknown_names
from registry_core.setting_values import Given, Values, values_of
from registry_core.settings import RemovedSetting

PREFIXES: Final = ("AGENT_", "SERVICE_")
NO_FLAGS: Final[Given] = {}


class AgentSources(msgspec.Struct, frozen=True):
    """The values of the table, and what else was given."""

    values: Values
    environment: Mapping[str, str]
    path: Path | None  # the file that was read
    services: tuple[ServiceTable, ...]  # of the file
    removed: tuple[RemovedSetting, ...]  # those that are set


def read_agent_sources(
    environment: Mapping[str, str], config: Path | None = None, flags: Given = NO_FLAGS
) -> AgentSources:
    """Return what `environment`, the file `config` (or AGENT_CONFIG) and `flags` set. Blocks.

    Raises SettingsError for the first wrong value, for a misspelt name, and for a file that cannot be read.
    """
    unknown = unknown_names(TABLE, environment, PREFIXES, {setting.name for setting in REMOVED})
    given = {**given_in(TABLE, environment), **flags}
    path = config
    if path is None and CONFIG.name in given:
        path = Path(given[CONFIG.name][0].text)
    try:
        file = read_config_file(path, AGENT_TABLE, REMOVED) if path is not None else ConfigFile()
    except SettingsError as error:
        if config is not None:
            raise
        raise SettingsError(f"{CONFIG.name}: {error}") from None  # the message says who named the file
    set_here = removed_among({**environment, **{name: one[0].text for name, one in flags.items()}}, REMOVED)
    return AgentSources(
        values_of(TABLE, {**file.settings, **given}, unknown),
        environment,
        path,
        file.services,
        tuple(dict.fromkeys((*set_here, *file.removed))),
    )
