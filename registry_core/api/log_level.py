"""`/log-level`: shows and changes the levels of a program's log lines while it runs; the same at replica and agent."""

from __future__ import annotations

from typing import Final

import msgspec
import structlog

from registry_core.api.endpoint import Endpoint, Parameter
from registry_core.api.queries import QueryParameters
from registry_core.errors import ValidationError
from registry_core.security.rights import Right
from registry_core.telemetry.log_levels import COMPONENTS, LogLevels, changed, known_names
from registry_core.telemetry.logs import live_levels

LOG_LEVEL_QUERY: Final = ("component", "level")

_log = structlog.get_logger(component="telemetry")


class LogLevelView(msgspec.Struct, frozen=True, kw_only=True):
    """The levels of one program. `configured` has those of its settings, which count again after a restart."""

    levels: str
    configured: str
    base: str
    components: dict[str, str]
    known: tuple[str, ...]


LOG_LEVEL_ENDPOINTS: Final = (
    Endpoint(
        method="GET",
        path="/log-level",
        name="log_level",
        right=Right.SET_LOG_LEVEL,
        summary="The levels of this replica's log lines, and the components that may have one of their own",
        answers={200: LogLevelView},
        errors=(400, 401, 403),
    ),
    Endpoint(
        method="PUT",
        path="/log-level",
        name="set_log_level",
        right=Right.SET_LOG_LEVEL,
        summary="Log one component, or everything, at another level until the next restart. No body",
        query=(
            Parameter("component", str, "the component, with those below it; everything if it is missing"),
            Parameter("level", str, "debug, info, warning or error"),
        ),
        answers={200: LogLevelView},
        errors=(400, 401, 403, 404, 503),
        writes=True,
    ),
    Endpoint(
        method="DELETE",
        path="/log-level",
        name="reset_log_level",
        right=Right.SET_LOG_LEVEL,
        summary="Log at the levels of the settings again. No body",
        answers={200: LogLevelView},
        errors=(400, 401, 403, 503),
        writes=True,
    ),
)


def shown(program: str) -> LogLevelView:
    """Return the levels of this process, which is a replica (`registry`) or an agent (`agent`)."""
    levels = live_levels.levels
    return LogLevelView(
        levels=str(levels),
        configured=str(live_levels.configured),
        base=levels.base,
        components=dict(levels.components),
        known=known_names(COMPONENTS[program]),
    )


def set_by(query: QueryParameters, program: str) -> LogLevelView:
    """Change a level as a query asks. Raises ValidationError and NotFound, which name what is known."""
    level = query.get("level")
    if level is None:
        raise ValidationError("it takes a level", field="level", example="/log-level?component=tls&level=debug")
    component = query.get("component", "").strip().lower()
    _use(changed(live_levels.levels, COMPONENTS[program], component, level))
    return shown(program)


def reset(program: str) -> LogLevelView:
    """Use the levels of the settings again."""
    _use(live_levels.configured)
    return shown(program)


def _use(levels: LogLevels) -> None:
    before = live_levels.levels
    if levels == before:
        return
    live_levels.use(levels)
    _log.warning("log_levels_changed", before=str(before), levels=str(levels))
