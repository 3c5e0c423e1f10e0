"""Settings: each program has one table, from which its settings are read, checked and documented.

A row gives a setting's name and the reader of its text; `setting_sources.py` collects the texts.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar
from urllib.parse import urlsplit

import msgspec

from registry_core.domain.host_port import host_port, split_host_port
from registry_core.domain.names import canonical_ip, ip_address

T = TypeVar("T")
FILE_SUFFIX: Final = "_FILE"  # of a name that gives the file in which a secret is
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)?", re.ASCII)
# Visible ASCII without the comma, which separates secrets: what every HTTP header takes as it is.
_SECRET: Final = re.compile(r"[\x21-\x2b\x2d-\x7e]+", re.ASCII)
# A wrong table of a file may be long.
MAX_SHOWN: Final = 200
_USER_IN_URL: Final = re.compile(r"(^|//)[^/?#]*@")
_ON: Final = frozenset({"on", "yes", "y", "true", "t", "1", "enable", "enabled"})
_OFF: Final = frozenset({"off", "no", "n", "false", "f", "0", "disable", "disabled"})
_SECONDS: Final = {"ms": 0.001, None: 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


class Setting(msgspec.Struct, Generic[T], frozen=True):
    """One setting: its environment name, how its text is read, its default and what it means.

    `read` raises ValueError, with the reason as its text, for what it does not accept. A secret can also be given as
    the name of a file that holds it, in a setting whose name ends in `_FILE`.
    """

    name: str
    read: Callable[[str], T]
    default: T
    meaning: str
    example: str
    secret: bool = False  # its text is never shown
    aliases: tuple[str, ...] = ()  # other names for it, of earlier releases
    shown: Callable[[T], str] | None = None  # what can be shown of a secret

    @property
    def spellings(self) -> tuple[str, ...]:
        """All names that it may be given under, its own first."""
        names = (self.name, *self.aliases)
        return (*names, *(f"{name}{FILE_SUFFIX}" for name in names)) if self.secret else names


class RemovedSetting(msgspec.Struct, frozen=True):
    """A setting of an earlier release. A program that is given it still starts, and logs that once."""

    name: str
    why: str  # the reason for its removal, as a clause
    flag: str = ""  # the command-line flag for it, if there was one


class Listen(msgspec.Struct, frozen=True):
    """Where to listen. Port 0 lets the system choose one."""

    host: str
    port: int

    def __str__(self) -> str:
        return host_port(self.host, self.port)

    @property
    def local_host(self) -> str:
        """The host at which this machine connects: what listens on every address listens on loopback, too."""
        return "127.0.0.1" if self.host in ("0.0.0.0", "::") else self.host  # noqa: S104 - compared, not bound

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can connect."""
        address = ip_address(self.host)
        return self.host == "localhost" or (address is not None and address.is_loopback)


def text(value: str) -> str:
    """Read any text that is not blank."""
    if not value.strip():
        raise ValueError("it is empty")
    return value


class SecretText(str):
    """A secret. What shows values to developers (repr, tracebacks with locals, structures) shows none."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def secret(value: str) -> SecretText:
    """Read a secret. Blanks and line ends around it, such as the last one of a file, are not part of it."""
    found = value.strip()
    if not _SECRET.fullmatch(found):
        raise ValueError("a secret has visible ASCII characters only, without blanks, line ends and commas")
    return SecretText(found)


def shown(value: object) -> str:
    """Return a wrong value as messages show it, without the password of a URL."""
    if isinstance(value, str):
        return repr(_USER_IN_URL.sub(r"\1***@", value))
    return _USER_IN_URL.sub(r"\1***@", repr(value))[:MAX_SHOWN]


def seconds(value: str) -> float:
    """Read a duration: `30`, `2.5`, `500ms`, `5m`, `1h`. Seconds."""
    match = _DURATION.fullmatch(value.strip())
    if match is None:
        raise ValueError("it is not a duration")
    return float(match[1]) * _SECONDS[match[2]]


def positive_seconds(value: str) -> float:
    """Read a duration above zero. Seconds."""
    duration_s = seconds(value)
    if duration_s <= 0:
        raise ValueError("it must be above zero")
    return duration_s


def integer(low: int, high: int) -> Callable[[str], int]:
    """Return a reader of whole numbers from `low` to `high`."""

    def read(value: str) -> int:
        if not re.fullmatch(r"-?\d{1,18}", value.strip(), re.ASCII):
            raise ValueError("it is not a whole number")
        number = int(value)
        if not low <= number <= high:
            raise ValueError(f"it is not between {low} and {high}")
        return number

    return read


def choice(*allowed: str) -> Callable[[str], str]:
    """Return a reader of one of a few words."""

    def read(value: str) -> str:
        if value.strip().lower() not in allowed:
            raise ValueError(f"it is not one of {', '.join(allowed)}")
        return value.strip().lower()

    return read


def switch(value: str) -> bool:
    """Read a boolean, in the words that people and other programs write for one."""
    word = value.strip().lower()
    if word not in _ON | _OFF:
        raise ValueError("it is neither on nor off")
    return word in _ON


def listen(value: str) -> Listen:
    """Read `host:port`, `[ipv6]:port` or `:port`, which is `[::]:port`: every address, of IPv4 and IPv6."""
    host, port = split_host_port(value.strip())
    if port is None:
        raise ValueError("it is not host:port")
    return Listen(canonical_ip(host) or host or "::", port)


def http_url(value: str) -> str:
    """Read one base URL, and return it without a trailing slash."""
    try:
        url = urlsplit(value.strip())
        valid = url.scheme in ("http", "https") and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:  # unclosed brackets, a port above 65535
        raise ValueError("it is not a URL such as http://host:port") from None
    if not valid or url.query or url.fragment:
        raise ValueError("it is not a URL such as http://host:port")
    if "@" in url.netloc:
        # It would be in every log line, /self and /health that name the registry.
        raise ValueError("a user and a password do not belong in a URL; the registry's secret has a setting of its own")
    return value.strip().rstrip("/")


def items(read_one: Callable[[str], T]) -> Callable[[str], tuple[T, ...]]:
    """Return a reader of a comma-separated list; blank items are left out."""

    def read(value: str) -> tuple[T, ...]:
        return tuple(read_one(part.strip()) for part in value.split(",") if part.strip())

    return read


def json_object(value: str) -> dict[str, Any]:
    """Read a JSON object."""
    try:
        found = msgspec.json.decode(value)
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(found, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004 - ValueError is what readers raise
    return found


def shown_default(setting: Setting[Any]) -> str:
    """Return the default as the documentation shows it."""
    default = setting.default
    if default is None or default in ("", (), {}):
        return "none"
    if isinstance(default, bool):
        return "on" if default else "off"
    if isinstance(default, tuple):
        return ",".join(str(item) for item in default)
    if isinstance(default, float):
        return f"{default:g} s" if math.isfinite(default) else "never"
    return str(default)
