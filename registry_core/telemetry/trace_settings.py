"""The settings of traces, under the names that OpenTelemetry gives them; the same for agent and registry. Pure.

An agent often shares its environment with a service that has OpenTelemetry of its own. So a value that is meant for
another exporter keeps traces off, with the reason in the log, and never keeps a program from starting.
https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import msgspec

from registry_core.setting_values import Values
from registry_core.settings import Setting, shown, text

PATH: Final = "/v1/traces"
HTTP_PROTOBUF: Final = "http/protobuf"
OTLP: Final = "otlp"
NONE: Final = "none"
GZIP: Final = "gzip"
# Of traces that begin here: the whole of one in ten. The sender of a sampled context gets the rest of that trace.
DEFAULT_RATIO: Final = 0.1
PARENT_BASED: Final = "parentbased_"
RATIO: Final = "traceidratio"
SAMPLERS: Final = tuple(
    f"{prefix}{name}" for prefix in (PARENT_BASED, "") for name in (RATIO, "always_on", "always_off")
)
MAX_HEADERS: Final = 32
MAX_ATTRIBUTES: Final = 32
MAX_QUEUE: Final = 65_536
_NUMBER: Final = re.compile(r"\d{1,9}(\.\d{1,9})?", re.ASCII)
# RFC 9110 section 5.1 and 5.5
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+", re.ASCII)
_HEADER_VALUE: Final = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?", re.ASCII)


def _row(name: str, default: str, meaning: str, example: str, *, secret: bool = False) -> Setting[str]:
    return Setting(name, text, default, meaning, example, secret=secret)


ENDPOINT: Final = _row(
    "OTEL_EXPORTER_OTLP_ENDPOINT",
    "",
    f"the collector that traces are sent to (`{PATH}` is added), by OTLP over HTTP; without one there are no traces",
    "http://collector:4318",
)
TRACES_ENDPOINT: Final = _row(
    "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
    "",
    "the same for traces alone, with its whole path",
    "http://collector:4318/v1/traces",
)
EXPORTER: Final = _row("OTEL_TRACES_EXPORTER", OTLP, f"`{OTLP}`, or `{NONE}` for no traces", NONE)
DISABLED: Final = _row("OTEL_SDK_DISABLED", "false", "`true` for no traces", "true")
PROTOCOL: Final = _row(
    "OTEL_EXPORTER_OTLP_PROTOCOL",
    HTTP_PROTOBUF,
    f"`{HTTP_PROTOBUF}`; with another one there are no traces",
    HTTP_PROTOBUF,
)
TRACES_PROTOCOL: Final = _row("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "", "the same for traces alone", HTTP_PROTOBUF)
HEADERS: Final = _row(
    "OTEL_EXPORTER_OTLP_HEADERS",
    "",
    "headers that are sent to the collector, such as its key: `name=value`, comma-separated, percent-encoded",
    "api-key=a-long-random-word",
    secret=True,
)
TIMEOUT: Final = _row("OTEL_EXPORTER_OTLP_TIMEOUT", "10000", "how long the collector may take, in milliseconds", "5000")
COMPRESSION: Final = _row("OTEL_EXPORTER_OTLP_COMPRESSION", NONE, f"`{GZIP}` or `{NONE}`", GZIP)
CERTIFICATE: Final = _row(
    "OTEL_EXPORTER_OTLP_CERTIFICATE",
    "",
    "a file with the authorities that the collector's certificate may be of",
    "/ca.pem",
)
SAMPLER: Final = _row(
    "OTEL_TRACES_SAMPLER",
    f"{PARENT_BASED}{RATIO}",
    f"which traces are recorded: {', '.join(SAMPLERS)}",
    f"{PARENT_BASED}always_on",
)
SAMPLER_ARG: Final = _row("OTEL_TRACES_SAMPLER_ARG", f"{DEFAULT_RATIO:g}", "the share for the ratio, 0 to 1", "1")
SERVICE_NAME: Final = _row(
    "OTEL_SERVICE_NAME", "", "the program's name in traces; if unset, vertice-agent or vertice-registry", "registry-eu"
)
RESOURCE_ATTRIBUTES: Final = _row(
    "OTEL_RESOURCE_ATTRIBUTES",
    "",
    "more about this program: `name=value`, comma-separated",
    "deployment.environment=prod",
)
QUEUE_SIZE: Final = _row(
    "OTEL_BSP_MAX_QUEUE_SIZE", "2048", "spans that wait for the collector at most; further ones are dropped", "4096"
)
SCHEDULE_DELAY: Final = _row(
    "OTEL_BSP_SCHEDULE_DELAY", "5000", "how often spans are sent, in milliseconds; sooner when many wait", "1000"
)

TRACE_SETTINGS: Final[tuple[Setting[Any], ...]] = (
    ENDPOINT,
    TRACES_ENDPOINT,
    EXPORTER,
    DISABLED,
    PROTOCOL,
    TRACES_PROTOCOL,
    HEADERS,
    TIMEOUT,
    COMPRESSION,
    CERTIFICATE,
    SAMPLER,
    SAMPLER_ARG,
    SERVICE_NAME,
    RESOURCE_ATTRIBUTES,
    QUEUE_SIZE,
    SCHEDULE_DELAY,
)


class TraceSettings(msgspec.Struct, frozen=True):
    """Where traces go, and which; none without an endpoint. `problem` says why there are none although one is set."""

    endpoint: str = ""
    problem: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    timeout_s: float = 10.0
    gzip: bool = False
    certificate: str = ""
    sampler: str = SAMPLER.default
    ratio: float = DEFAULT_RATIO
    service_name: str = ""
    attributes: tuple[tuple[str, str], ...] = ()
    queue: int = 2048
    every_s: float = 5.0

    def __repr__(self) -> str:
        return f"TraceSettings(endpoint={shown(self.endpoint)}, problem={self.problem!r})"


class _Unusable(Exception):
    """Raised when a value is not for this exporter; its text says which and why."""


def trace_settings(values: Values) -> TraceSettings:
    """Return the settings of traces in `values`."""
    endpoint = values[TRACES_ENDPOINT].strip() or _with_path(values[ENDPOINT].strip())
    if not endpoint or values[DISABLED].strip().lower() == "true" or values[EXPORTER].strip().lower() == NONE:
        return TraceSettings()
    try:
        return _read(values, endpoint)
    except _Unusable as unusable:
        return TraceSettings(problem=unusable.args[0])


def _read(values: Values, endpoint: str) -> TraceSettings:
    protocol = values[TRACES_PROTOCOL].strip() or values[PROTOCOL].strip()
    if OTLP not in [one.strip() for one in values[EXPORTER].lower().split(",")]:
        raise _Unusable(f"{EXPORTER.name} is {shown(values[EXPORTER])}: there is {OTLP} alone")
    if protocol.lower() != HTTP_PROTOBUF:
        raise _Unusable(f"the protocol is {shown(protocol)}: there is {HTTP_PROTOBUF} alone")
    try:
        url = urlsplit(endpoint)
        is_http = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        is_http = False
    if not is_http:
        raise _Unusable(f"{shown(endpoint)} is no URL such as {ENDPOINT.example}")
    sampler = values[SAMPLER].strip().lower()
    if sampler not in SAMPLERS:
        raise _Unusable(f"{SAMPLER.name} is {shown(sampler)}: it can be {', '.join(SAMPLERS)}")
    ratio = _number(values, SAMPLER_ARG, most=1.0) if sampler.endswith(RATIO) else 1.0
    return TraceSettings(
        endpoint=endpoint,
        headers=_headers(values[HEADERS]),
        timeout_s=_number(values, TIMEOUT, most=600_000) / 1000,
        gzip=values[COMPRESSION].strip().lower() == GZIP,
        certificate=values[CERTIFICATE].strip(),
        sampler=sampler,
        ratio=ratio,
        service_name=values[SERVICE_NAME].strip(),
        attributes=_pairs(values[RESOURCE_ATTRIBUTES], MAX_ATTRIBUTES),
        queue=int(min(MAX_QUEUE, max(1.0, _number(values, QUEUE_SIZE, most=1e9)))),
        every_s=max(0.1, _number(values, SCHEDULE_DELAY, most=600_000) / 1000),
    )


def _with_path(base: str) -> str:
    return f"{base.rstrip('/')}{PATH}" if base else ""


def _number(values: Values, setting: Setting[str], *, most: float) -> float:
    given = values[setting].strip()
    if not _NUMBER.fullmatch(given) or float(given) > most:
        raise _Unusable(f"{setting.name} is {shown(given)}: it is a number from 0 to {most:g}")
    return float(given)


def _headers(given: str) -> tuple[tuple[str, str], ...]:
    pairs = _pairs(given, MAX_HEADERS)
    if not all(_HEADER_NAME.fullmatch(name) and _HEADER_VALUE.fullmatch(value) for name, value in pairs):
        raise _Unusable(f"{HEADERS.name} has what cannot be a header")
    return pairs


def _pairs(given: str, most: int) -> tuple[tuple[str, str], ...]:
    """Return the pairs of a list in the form of W3C Baggage, percent-decoded; what is none is left out."""
    found = [part.partition("=") for part in given.split(",")]
    return tuple((unquote(name.strip()), unquote(value.strip())) for name, _, value in found if name.strip())[:most]
