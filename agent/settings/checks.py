"""Parses checks from `[service.check]`, or from AGENT_CHECK and related settings, with one table of options.

An invalid or inapplicable option raises ValidationError, which names it and gives an example. Checks come from
nowhere else: never from the registry or the network.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from agent.checks.flapping import FlapLimits
from agent.checks.pattern import Pattern
from agent.checks.spec import (
    CheckKind,
    CheckPace,
    CheckSpec,
    CommandCheck,
    GrpcCheck,
    How,
    HttpCheck,
    TcpCheck,
    Tls,
    TtlCheck,
)
from agent.checks.tls import tls_context
from registry_core.domain.names import check_host
from registry_core.domain.records import Protocol, Registration
from registry_core.domain.registration import check_health_endpoint
from registry_core.errors import ValidationError
from registry_core.setting_names import did_you_mean
from registry_core.settings import positive_seconds, seconds, switch

MAX_CHECKS: Final = 8
MAX_CHECK_TIMEOUT_S: Final = 5.0
MAX_HEADERS: Final = 20
MAX_TEXT: Final = 1000
MAX_WORDS: Final = 100
MAX_CA_BYTES: Final = 1024 * 1024
METHODS: Final = ("GET", "HEAD", "OPTIONS", "POST")
KINDS: Final = tuple(kind for kind in CheckKind if kind is not CheckKind.NONE)

_ASKING: Final = frozenset((CheckKind.HTTP, CheckKind.TCP, CheckKind.GRPC, CheckKind.COMMAND))
_TLS: Final = frozenset((CheckKind.HTTP, CheckKind.GRPC))
_TOKEN: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+", re.ASCII)  # RFC 9110 section 5.6.2
_HEADER_VALUE: Final = re.compile(r"[\x20-\x7e\t]*", re.ASCII)
_STATUS: Final = re.compile(r"([1-5]\d\d)(?:\s*-\s*([1-5]\d\d))?|([1-5])xx", re.ASCII)
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}", re.ASCII)
# Headers that frame the message belong to the client.
_OUR_HEADERS: Final = frozenset(("connection", "content-length", "transfer-encoding", "upgrade", "te", "trailer"))
_FOR_A_SHELL: Final = frozenset(("|", "||", "&", "&&", ";", ">", ">>", "<", "2>&1"))


class Option(msgspec.Struct, frozen=True):
    """One option: its parser (which raises ValueError, with the reason), the kinds that have it, and an example."""

    read: Callable[[object], Any]
    kinds: frozenset[CheckKind]
    example: object


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_TEXT or not value.isprintable():
        raise ValueError(f"it must be text of 1 to {MAX_TEXT} characters")
    return value


def _flag(value: object) -> bool:
    if isinstance(value, bool):
        return value
    if not isinstance(value, str):
        raise ValueError("it must be true or false")  # noqa: TRY004 - parsers raise ValueError
    return switch(value)


def _duration(read: Callable[[str], float]) -> Callable[[object], float]:
    def duration(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, str | int | float):
            raise ValueError("it is not a duration")  # noqa: TRY004 - parsers raise ValueError
        return read(str(value))

    return duration


def _whole(low: int, high: int) -> Callable[[object], int]:
    def whole(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ValueError(f"it must be a whole number from {low} to {high}")
        return value

    return whole


def _jitter(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.0 <= value <= 0.5:
        raise ValueError("it must be a share of the interval, from 0 to 0.5")
    return float(value)


def read_statuses(value: object) -> tuple[tuple[int, int], ...]:
    """Parse `200`, `"200-204, 301"`, `"2xx"` or a list of these. Raises ValueError."""
    given = value if isinstance(value, list | tuple) else str(value).split(",")
    found = []
    for item in given:
        match = _STATUS.fullmatch(str(item).strip())
        if match is None:
            raise ValueError(
                f"{str(item)[:20]!r} is not an HTTP status, a range such as 200-204, or a class such as 2xx"
            )
        low = int(match[1] or f"{match[3]}00")
        high = int(match[2] or match[1] or f"{match[3]}99")
        if high < low:
            raise ValueError(f"{low}-{high} is a reversed range")
        found.append((low, high))
    if not found or len(found) > 20:
        raise ValueError("it must have 1 to 20 statuses and ranges")
    return tuple(found)


def _pattern(value: object) -> str:
    Pattern(text := _text(value))
    return text


def _method(value: object) -> str:
    if value not in METHODS:
        raise ValueError(f"it must be one of {', '.join(METHODS)}")
    return str(value)


def _headers(value: object) -> tuple[tuple[str, str], ...]:
    if not isinstance(value, dict) or len(value) > MAX_HEADERS:
        raise ValueError(f"it must be a table of at most {MAX_HEADERS} names and values")
    for name, content in value.items():
        if not _TOKEN.fullmatch(name) or name.lower() in _OUR_HEADERS:
            raise ValueError(f"{name[:40]!r} is not a header that can be sent")
        if not isinstance(content, str) or len(content) > MAX_TEXT or not _HEADER_VALUE.fullmatch(content):
            raise ValueError(f"the value of {name} must be printable ASCII of at most {MAX_TEXT} characters")
    return tuple(value.items())


def read_command(value: object) -> tuple[str, ...]:
    """Parse a list of words, or a text that is split into words as by a shell. Raises ValueError."""
    if isinstance(value, str):
        try:
            words = shlex.split(value)
        except ValueError:
            raise ValueError("it cannot be split into words: a quotation or a backslash has no end") from None
        if _FOR_A_SHELL.intersection(words):
            raise ValueError("it is not run by a shell; put pipes and the like into a script")
    elif isinstance(value, list | tuple) and all(isinstance(word, str) for word in value):
        words = list(value)
    else:
        raise ValueError("it must be a list of words")
    if not words or not words[0] or len(words) > MAX_WORDS or any("\0" in w or len(w) > MAX_TEXT for w in words):
        raise ValueError(f"it must be a program and its arguments, at most {MAX_WORDS} words of {MAX_TEXT} characters")
    return tuple(words)


def _ca_file(value: object) -> str:
    path = Path(_text(value))
    try:
        with path.open("rb") as file:
            pem = file.read(MAX_CA_BYTES + 1).decode("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"it cannot be read: {getattr(error, 'strerror', None) or 'it is not PEM'}") from None
    if len(pem) > MAX_CA_BYTES:
        raise ValueError(f"it has more than {MAX_CA_BYTES} bytes")
    tls_context(Tls(verify=True, ca_pem=pem))
    return pem


def _grpc_service(value: object) -> str:
    if len(_text(value)) > 127 or not str(value).isascii():
        raise ValueError("it must be the name of a gRPC service: ASCII, at most 127 characters")
    return str(value)


def _check_name(value: object) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise ValueError("it must have 1 to 32 of a-z, 0-9, '_' and '-', and begin with a letter or digit")
    return value


def _timeout(value: object) -> float:
    timeout_s = _duration(positive_seconds)(value)
    if timeout_s > MAX_CHECK_TIMEOUT_S:
        raise ValueError(f"a check may take at most {MAX_CHECK_TIMEOUT_S:g} s")
    return timeout_s


_ALL: Final = frozenset(KINDS)
_HTTP: Final = frozenset((CheckKind.HTTP,))
OPTIONS: Final[Mapping[str, Option]] = {
    "name": Option(_check_name, _ALL, "disk"),
    "path": Option(_text, _HTTP, "/health"),
    "method": Option(_method, _HTTP, "HEAD"),
    "status": Option(read_statuses, _HTTP, "200-299"),
    "body": Option(_pattern, _HTTP, '"status": *"(ok|up)"'),
    "headers": Option(_headers, _HTTP, {"Host": "billing.example"}),
    "tls": Option(_flag, _TLS, True),
    "tls_verify": Option(_flag, _TLS, True),
    "tls_ca_file": Option(_ca_file, _TLS, "/etc/vertice/ca.pem"),
    "tls_server_name": Option(lambda value: check_host(_text(value), field="tls_server_name"), _TLS, "billing.example"),
    "grpc_service": Option(_grpc_service, frozenset((CheckKind.GRPC,)), "billing.v1.Invoices"),
    "command": Option(read_command, frozenset((CheckKind.COMMAND,)), ["/usr/local/bin/check-billing", "--quick"]),
    "ttl": Option(_duration(positive_seconds), frozenset((CheckKind.TTL,)), "30s"),
    "interval": Option(_duration(positive_seconds), _ASKING, "3s"),
    "timeout": Option(_timeout, _ASKING, "2s"),
    "rise": Option(_whole(1, 100), _ASKING, 2),
    "fall": Option(_whole(1, 100), _ASKING, 2),
    "jitter": Option(_jitter, _ASKING, 0.05),
    "initial_delay": Option(_duration(seconds), _ALL, "10s"),
    "flap_changes": Option(_whole(0, 1000), _ALL, 6),
    "flap_window": Option(_duration(positive_seconds), _ALL, "2m"),
    "flap_hold": Option(_duration(positive_seconds), _ALL, "1m"),
}


class CheckDefaults(msgspec.Struct, frozen=True):
    """The agent's defaults for all checks: the kind, and the pace."""

    kind: CheckKind = CheckKind.HTTP
    pace: CheckPace = CheckPace()


def read_checks(given: object, claim: Registration, defaults: CheckDefaults) -> tuple[CheckSpec, ...]:
    """Return the checks of the service `claim`: `given` is a kind, a table, a list of these, or empty for the default.

    Raises ValidationError, whose field begins with `check`.
    """
    if not given:
        kind = default_kind(defaults.kind, claim.protocol)
        return () if kind is CheckKind.NONE else (_read(kind.value, claim, defaults, "check"),)
    if given == CheckKind.NONE.value:
        return ()
    if not isinstance(given, list | tuple):
        return (_read(given, claim, defaults, "check"),)
    if len(given) > MAX_CHECKS:
        raise ValidationError(
            f"a service may have at most {MAX_CHECKS} checks", field="check", provided=len(given), example=1
        )
    checks: list[CheckSpec] = []
    for number, one in enumerate(given, 1):
        check = _read(one, claim, defaults, f"check {number}")
        if check.name in [other.name for other in checks]:
            raise ValidationError(
                "two checks of one service have the same name; the default name is the kind",
                field=f"check {number}.name",
                provided=check.name,
                example=f"{check.name}-{number}",
            )
        checks.append(check)
    return tuple(checks)


def default_kind(kind: CheckKind, protocol: Protocol) -> CheckKind:
    """Return the default kind of check for a protocol: one that such a service can answer."""
    if kind is CheckKind.HTTP and protocol not in (Protocol.HTTP, Protocol.HTTPS):
        kind = CheckKind.TCP
    return CheckKind.NONE if kind is CheckKind.TCP and protocol is Protocol.UDP else kind


def _read(given: object, claim: Registration, defaults: CheckDefaults, where: str) -> CheckSpec:
    table: dict[str, object] = dict(given) if isinstance(given, dict) else {"kind": given}
    kind = _kind(table.pop("kind", None), where)
    found: dict[str, Any] = {}
    for key, value in table.items():
        option = OPTIONS.get(key)
        if option is None:
            raise ValidationError(
                f"there is no such option{did_you_mean(key.lower(), OPTIONS)}",
                field=f"{where}.{key[:40]}",
                example=", ".join(name for name, option in OPTIONS.items() if kind in option.kinds),
            )
        if kind not in option.kinds:
            raise ValidationError(
                f"it is an option of {', '.join(sorted(option.kinds))} checks, but this is one of kind {kind}",
                field=f"{where}.{key}",
                example=", ".join(name for name, option in OPTIONS.items() if kind in option.kinds),
            )
        try:
            found[key] = option.read(value)
        except (ValueError, ValidationError) as error:
            reason = error.message if isinstance(error, ValidationError) else str(error)
            raise ValidationError(
                reason, field=f"{where}.{key}", provided=_shown(value), example=option.example
            ) from None
    return CheckSpec(found.get("name", kind.value), _how(kind, found, claim, where), _pace(found, defaults, where))


def _kind(given: object, where: str) -> CheckKind:
    if given not in KINDS:
        raise ValidationError(
            f"a check is one of {', '.join(KINDS)}, or none on its own",
            field=f"{where}.kind" if given is None else where,
            provided=_shown(given) if given is not None else None,
            example="tcp",
        )
    return CheckKind(str(given))


def _shown(value: object) -> object:
    return value if isinstance(value, int | float) else str(value)[:100]


def _how(kind: CheckKind, found: Mapping[str, Any], claim: Registration, where: str) -> How:
    match kind:
        case CheckKind.HTTP:
            path = found.get("path", claim.health_endpoint)
            check_health_endpoint(path, field=f"{where}.path")
            method = found.get("method", "GET")
            if method == "HEAD" and "body" in found:
                raise ValidationError(
                    "the answer to HEAD has no body",
                    field=f"{where}.body",
                    provided=found["body"],
                    example="(with GET)",
                )
            return HttpCheck(
                path=path,
                method=method,
                statuses=found.get("status", ((200, 299),)),
                body=found.get("body", ""),
                headers=found.get("headers", ()),
                tls=_tls(found, where, default=claim.protocol is Protocol.HTTPS),
            )
        case CheckKind.GRPC:
            return GrpcCheck(service=found.get("grpc_service", ""), tls=_tls(found, where, default=False))
        case CheckKind.COMMAND:
            if "command" not in found:
                raise ValidationError(
                    "a command check needs a command", field=f"{where}.command", example=OPTIONS["command"].example
                )
            return CommandCheck(found["command"])
        case CheckKind.TTL:
            return TtlCheck(found.get("ttl", 30.0))
        case CheckKind.TCP | CheckKind.NONE:
            return TcpCheck()


def _tls(found: Mapping[str, Any], where: str, *, default: bool) -> Tls | None:
    named = [key for key in ("tls_verify", "tls_ca_file", "tls_server_name") if key in found]
    if not found.get("tls", default or bool(named)):
        if named:
            raise ValidationError("it needs TLS", field=f"{where}.{named[0]}", example="tls = true")
        return None
    # Naming an authority or the certificate's name implies verification.
    verify = found.get("tls_verify", "tls_ca_file" in found or "tls_server_name" in found)
    if not verify and "tls_ca_file" in found:
        raise ValidationError(
            "it has no effect with tls_verify = false", field=f"{where}.tls_ca_file", example="tls_verify = true"
        )
    return Tls(verify, found.get("tls_ca_file", ""), found.get("tls_server_name", ""))


def _pace(found: Mapping[str, Any], defaults: CheckDefaults, where: str) -> CheckPace:
    pace = defaults.pace
    interval_s: float = found.get("interval", pace.interval_s)
    timeout_s: float = found.get("timeout", min(pace.timeout_s, interval_s))
    if timeout_s > interval_s:
        raise ValidationError(
            f"a check must end before the next one starts, here after {interval_s:g} s",
            field=f"{where}.timeout",
            provided=timeout_s,
            example=f"{interval_s:g}s",
        )
    return CheckPace(
        interval_s=interval_s,
        timeout_s=timeout_s,
        rise=found.get("rise", pace.rise),
        fall=found.get("fall", pace.fall),
        jitter=found.get("jitter", pace.jitter),
        initial_delay_s=found.get("initial_delay", pace.initial_delay_s),
        flaps=FlapLimits(
            found.get("flap_changes", pace.flaps.changes),
            found.get("flap_window", pace.flaps.window_s),
            found.get("flap_hold", pace.flaps.hold_s),
        ),
    )
