"""Logs: one JSON object a line on stderr, with the same six keys from every program.

On a terminal they are lines for people, unless a setting says otherwise; the keys and values are the same.

`timestamp` (ISO 8601, UTC), `level`, `component`, `event`, `details` (all other fields) and `trace_id`.
Logs of aiohttp and asyncio, which use the standard library, take the same form. This file decides
what a line looks like; `log_levels.py` whether its component has it written, `flood_filter.py` whether it is one too
many, `redaction.py` what of it is secret.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable, Mapping, MutableMapping
from typing import Any, Final

import msgspec
import structlog

from registry_core.telemetry.colours import coloured
from registry_core.telemetry.flood_filter import LEFT_OUT, FloodFilter
from registry_core.telemetry.log_levels import NUMBERS, LogLevels
from registry_core.telemetry.redaction import Redaction
from registry_core.telemetry.trace_context import trace_id

__all__ = ["AUTO", "FORMATS", "FORMATS_MEANING", "configure", "hide", "live_levels", "redaction", "trace_id"]

AUTO: Final = "auto"
JSON: Final = "json"
CONSOLE: Final = "console"
FORMATS: Final = (AUTO, JSON, CONSOLE)
FORMATS_MEANING: Final = (
    "how a log line is written: json (an object), console (text for people), or auto: console on a terminal, else json"
)

_OWN_KEYS: Final = ("timestamp", "level", "component", "event", "trace_id")
_METHODS: Final[Mapping[str, int]] = {**NUMBERS, "warn": 30, "exception": 40, "critical": 50, "fatal": 50}
# Libraries whose lines have a component of their own, by the first part of the logger's name.
_LIBRARIES: Final = frozenset({"aiohttp", "asyncio", "redis"})


class LiveLevels:
    """The levels of this process: those of its settings, until an operator asks for others."""

    def __init__(self) -> None:
        self.program = ""
        self.configured = LogLevels()  # by the settings
        self._levels = LogLevels()
        self._numbers: dict[str, int] = {}  # by component, as far as they were asked for; the code names few

    @property
    def levels(self) -> LogLevels:
        """The levels now."""
        return self._levels

    def configure(self, levels: LogLevels) -> None:
        """Use the levels of the settings, also instead of those that an operator asked for."""
        self.configured = levels
        self.use(levels)

    def use(self, levels: LogLevels) -> None:
        """Change the levels; the next line is judged by the new ones."""
        self._levels, self._numbers = levels, {}
        logging.getLogger().setLevel(levels.lowest.upper())

    def lets(self, component: str, number: int) -> bool:
        """Return whether a line of this component, with the level's number, is to be written."""
        least = self._numbers.get(component)
        if least is None:
            least = self._numbers[component] = NUMBERS[self._levels.of(component)]
        return number >= least


live_levels: Final = LiveLevels()
redaction: Final = Redaction()


def hide(secrets: Iterable[str]) -> None:
    """Never write these in a log line of this process."""
    redaction.hide(secrets)


def configure(levels: LogLevels, component: str, form: str = AUTO, environment: Mapping[str, str] = os.environ) -> None:
    """Send the logs of this process to stderr, at `levels` and in one of `FORMATS`. Call it once per program."""
    live_levels.program = component
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_lets_library)
    handler.addFilter(FloodFilter())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_name_library, *shared],
            processors=[
                _with_count,
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                without_secrets,
                *_renderers(component, form, environment),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    live_levels.configure(levels)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            _by_component,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _by_component(_logger: object, method: str, said: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Drop a line of ours that its component is not to write."""
    if not live_levels.lets(said.get("component", live_levels.program), _METHODS.get(method, 0)):
        raise structlog.DropEvent
    return said


def _lets_library(record: logging.LogRecord) -> bool:
    """Return whether a library's line is to be written; ours were judged before."""
    if isinstance(record.msg, dict) and hasattr(record, "_logger"):
        return True
    return live_levels.lets(_library_of(record) or live_levels.program, record.levelno)


def _library_of(record: logging.LogRecord) -> str:
    name = record.name.partition(".")[0]
    return name if name in _LIBRARIES else ""


def _name_library(_logger: object, _method: str, said: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Name the library that writes a line, where it has levels of its own."""
    name = _library_of(said["_record"])
    if name:
        said["component"] = name
    return said


def without_secrets(_logger: object, _method: str, said: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask the secrets in every value of a line."""
    for key, value in said.items():
        said[key] = redaction.value(value)
    return said


def _with_count(_logger: object, _method: str, said: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add how many similar lines were left out before this one."""
    left_out = getattr(said.get("_record"), LEFT_OUT, 0)
    if left_out:
        said[LEFT_OUT] = left_out
    return said


def _renderers(component: str, form: str, environment: Mapping[str, str]) -> list[structlog.typing.Processor]:
    if form == JSON or (form == AUTO and not sys.stderr.isatty()):
        return [shaped(component), structlog.processors.JSONRenderer(serializer=_json)]
    console = structlog.dev.ConsoleRenderer(
        colors=coloured(sys.stderr, environment),
        sort_keys=False,
        pad_event_to=0,
        exception_formatter=structlog.dev.plain_traceback,
    )
    return [for_people(component), console]


def for_people(component: str) -> structlog.typing.Processor:
    """Return the processor that readies each line for a terminal: whose it is, and no escape sequences in it."""

    def shape(_logger: object, _method: str, said: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        line = {key: value for key, value in said.items() if key not in ("component", "trace_id")}
        line["logger"] = said.get("component", component)
        trace = said.get("trace_id", trace_id.get())
        if trace is not None:
            line["trace_id"] = trace
        return {key: _printable(value, lines=key == "exception") for key, value in line.items()}

    return shape


def _printable(value: Any, *, lines: bool) -> Any:
    # Foreign text, such as a malformed request, must not inject escape sequences.
    if not isinstance(value, str):
        return value
    return "".join(c if c.isprintable() or (lines and c == "\n") else repr(c)[1:-1] for c in value)


def shaped(component: str) -> structlog.typing.Processor:
    """Return the processor that gives each line its six keys."""

    def shape(_logger: object, _method: str, said: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {
            "timestamp": said.get("timestamp"),
            "level": said.get("level"),
            "component": said.get("component", component),
            "event": said.get("event"),
            "details": {key: value for key, value in said.items() if key not in _OWN_KEYS},
            "trace_id": said.get("trace_id", trace_id.get()),
        }

    return shape


def _json(line: object, **_: object) -> str:
    # Values that JSON does not know (an exception, an address) become text: no log line is lost.
    return msgspec.json.encode(line, enc_hook=str).decode()
