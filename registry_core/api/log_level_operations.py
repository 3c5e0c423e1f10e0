"""The operations on the levels of a replica's log lines, for callers who may."""

from __future__ import annotations

from registry_core.api import log_level
from registry_core.api.calls import Call, WriteCall
from registry_core.api.log_level import LogLevelView
from registry_core.security.rights import Right

PROGRAM = "registry"


class LogLevelOperations:
    """They change this process alone: each replica has levels of its own."""

    def log_level(self, _call: Call) -> LogLevelView:
        """Return the levels."""
        return log_level.shown(PROGRAM)

    async def set_log_level(self, call: WriteCall[None]) -> LogLevelView:
        """Change the level of a component, or of everything. Raises ValidationError, Forbidden, NotFound."""
        call.caller.require(Right.SET_LOG_LEVEL)
        return log_level.set_by(call.query, PROGRAM)

    async def reset_log_level(self, call: WriteCall[None]) -> LogLevelView:
        """Use the levels of the settings again. Raises Forbidden."""
        call.caller.require(Right.SET_LOG_LEVEL)
        return log_level.reset(PROGRAM)
