"""Settings: each program has one table, from which its settings are read, checked and documented.

A setting comes from the environment (or from a file that uses the same names). A wrong value or an
unknown name is reported in one clear line (SettingsError), never guessed at.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, Final, Generic, TypeVar
from urllib.parse import urlsplit

import msgspec

from registry_core.domain.host_port import host_port, split_host_port
from registry_core.domain.names import canonical_ip, ip_address
from registry_core.errors import SettingsError

T = TypeVar("T")
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h)?", re.ASCII)
# Visible ASCII without the comma, which separates secrets: what every HTTP header takes as it is.
_SECRET: Final = re.compile(r"[\x21-\x2b\x2d-\x7e]+", re.ASCII)
_USER_IN_URL: Final = re.compile(r"(^|//)[^/?#]*@")
_SECONDS: Final = {"ms": 0.001, None: 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


class Setting(msgspec.Struct, Generic[T], frozen=True):
    """One setting: its environment name, how its text is read, its default and what it means.

    `read` raises ValueError, with the reason as its text, for what it does not accept.
    """

    name: str
    read: Callable[[str], T]
    default: T
    meaning: str
    example: str
    secret: bool = False  # its value is never shown


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


def secret(value: str) -> str:
    """Read a secret. Blanks and line ends around it, such as the last one of a file, are not part of it."""
    found = value.strip()
    if not _SECRET.fullmatch(found):
        raise ValueError("a secret has visible ASCII characters only, without blanks, line ends and commas")
    return found


def shown(value: str) -> str:
    """Return a wrong value as messages show it, without the password of a URL."""
    return repr(_USER_IN_URL.sub(r"\1***@", value))


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


def listen(value: str) -> Listen:
    """Read `host:port`, `[ipv6]:port` or `:port`, which is `[::]:port`: every address, of IPv4 and IPv6."""
    host, port = split_host_port(value.strip())
    if port is None:
        raise ValueError("it is not host:port")
    return Listen(canonical_ip(host) or host or "::", port)


def http_url(value: str) -> str:
    """Read one base URL, and return it without a trailing slash."""
    url = urlsplit(value.strip())
    try:
        valid = url.scheme in ("http", "https") and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:
        valid = False
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
    except msgspec.DecodeError as error:
        raise ValueError(f"it is not JSON ({error})") from None
    if not isinstance(found, dict):
        raise ValueError("it is not a JSON object")  # noqa: TRY004 - ValueError is what readers raise
    return found


class Values:
    """The values of a table's settings: `values[PORT]` has the type that PORT reads."""

    def __init__(self, found: Mapping[str, Any]) -> None:
        self._found = found

    def __getitem__(self, setting: Setting[T]) -> T:
        value: T = self._found[setting.name]
        return value


def read_settings(
    table: Iterable[Setting[Any]],
    environment: Mapping[str, str],
    *,
    prefixes: tuple[str, ...] = (),
    known: Collection[str] = (),
    removed: Iterable[RemovedSetting] = (),
) -> Values:
    """Return the values of `table` from `environment`; a blank value means the default.

    Raises SettingsError for the first wrong value, and for a name that starts with one of `prefixes`
    but is neither in the table nor in `known` nor in `removed`.
    """
    by_name = {setting.name: setting for setting in table}
    accepted = {*by_name, *known, *(setting.name for setting in removed)}
    for name in sorted(environment):
        if name.startswith(prefixes) and name not in accepted:
            raise SettingsError(f"{name}: there is no such setting{_nearest(name, by_name)}")
    found: dict[str, Any] = {}
    for name, setting in by_name.items():
        given = environment.get(name, "")
        if not given.strip():
            found[name] = setting.default
            continue
        try:
            found[name] = setting.read(given)
        except ValueError as error:
            value = "the value" if setting.secret else shown(given)
            raise SettingsError(f"{name}: {value} cannot be used: {error} (example: {setting.example})") from None
    return Values(found)


def removed_among(environment: Mapping[str, str], removed: Iterable[RemovedSetting]) -> tuple[RemovedSetting, ...]:
    """Return the removed settings that `environment` sets. A blank value sets nothing."""
    return tuple(setting for setting in removed if environment.get(setting.name, "").strip())


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.7)
    return f" (did you mean {near[0]}?)" if near else ""


def shown_default(setting: Setting[Any]) -> str:
    """Return the default as the documentation shows it."""
    default = setting.default
    if default is None or default in ("", (), {}):
        return "none"
    if isinstance(default, tuple):
        return ",".join(str(item) for item in default)
    if isinstance(default, float):
        return f"{default:g} s" if math.isfinite(default) else "never"
    return str(default)
