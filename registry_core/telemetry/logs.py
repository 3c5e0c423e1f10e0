"""Logs: one JSON object a line on stderr, with the same six keys from every program.

On a terminal they are lines for people, unless a setting says otherwise; the keys and values are the same.

`timestamp` (ISO 8601, UTC), `level`, `component`, `event`, `details` (all other fields) and `trace_id`.
Logs of aiohttp and asyncio, which use the standard library, take the same form. This file decides
what a line looks like; `flood_filter.py` decides whether it is one too many.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping, MutableMapping
from contextvars import ContextVar
from typing import Any, Final

import msgspec
import structlog

from registry_core.telemetry.colours import coloured
from registry_core.telemetry.flood_filter import LEFT_OUT, FloodFilter

LEVELS: Final = ("debug", "info", "warning", "error")
AUTO: Final = "auto"
JSON: Final = "json"
CONSOLE: Final = "console"
FORMATS: Final = (AUTO, JSON, CONSOLE)
FORMATS_MEANING: Final = (
    "how a log line is written: json (an object), console (text for people), or auto: console on a terminal, else json"
)

# Of the current request, if there is one.
trace_id: Final[ContextVar[str | None]] = ContextVar("trace_id", default=None)

_OWN_KEYS: Final = ("timestamp", "level", "component", "event", "trace_id")


def configure(level: str, component: str, form: str = AUTO, environment: Mapping[str, str] = os.environ) -> None:
    """Send every log of this process at `level` or above to stderr, in one of `FORMATS`. Call it once per program."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(FloodFilter())
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[
                _with_count,
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                *_renderers(component, form, environment),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


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


def _with_count(_logger: object, _method: str, said: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Add how many similar lines were left out before this one."""
    left_out = getattr(said.get("_record"), LEFT_OUT, 0)
    if left_out:
        said[LEFT_OUT] = left_out
    return said


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
