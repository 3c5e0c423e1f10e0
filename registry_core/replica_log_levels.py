"""The levels of a replica's log lines: those of its settings, or of a file that is read again on SIGHUP."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Final

import structlog

from registry_core.blocking import NoThread, Threads
from registry_core.causes import cause_of
from registry_core.errors import SettingsError
from registry_core.setting_values import GivenSetting, values_of
from registry_core.settings import Setting, text
from registry_core.telemetry.log_levels import REGISTRY_COMPONENTS, LogLevels, log_level_setting
from registry_core.telemetry.logs import live_levels

LOG_LEVEL: Final = log_level_setting("REGISTRY_LOG_LEVEL", REGISTRY_COMPONENTS, "info,store.redis=debug")
LOG_LEVEL_FILE: Final = Setting(
    "REGISTRY_LOG_LEVEL_FILE",
    text,
    "",
    "a file that has what REGISTRY_LOG_LEVEL would, and is read again on SIGHUP",
    "/etc/vertice/log-level",
)
READ_S: Final = 5.0
MAX_BYTES: Final = 4_096

_log = structlog.get_logger(component="telemetry")
_threads: Final = Threads("log levels", 1)


def levels_in(path: str) -> LogLevels:
    """Return the levels in the file at `path`. Blocks. Raises SettingsError."""
    label = f"{LOG_LEVEL_FILE.name}: {path}"
    try:
        with Path(path).open("rb") as file:
            content = file.read(MAX_BYTES).decode("utf-8", "replace").strip()
    except OSError as error:
        raise SettingsError(f"{label}: {cause_of(error)}") from None
    return values_of((LOG_LEVEL,), {LOG_LEVEL.name: (GivenSetting(content, label, path),)})[LOG_LEVEL]


def levels_at_start(levels: LogLevels, path: str) -> LogLevels:
    """Return the levels to start with. Blocks. Raises SettingsError."""
    return levels_in(path) if path else levels


async def use_settings_again(levels: LogLevels, path: str) -> None:
    """Log at the levels of the settings, whatever an operator has asked for since. A wrong file changes nothing."""
    try:
        read = await _threads.run(partial(levels_in, path), timeout_s=READ_S) if path else levels
    except (SettingsError, NoThread, TimeoutError) as error:
        _log.error("log_levels_kept", because=cause_of(error))
        return
    live_levels.configure(read)
    _log.warning("log_levels_read", levels=str(read))
