"""The settings of a replica's limits: rates, requests at once, unread answers, and the proxies that are believed."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from registry_core.api.proxies import ForwardedHeader
from registry_core.domain.networks import network_of
from registry_core.setting_values import Values
from registry_core.settings import Setting, choice, integer, items, seconds

_TEXT: Final = re.compile(r"(\d{1,6})\s*/\s*(s|sec|second|m|min|minute|h|hour)", re.ASCII)
_WINDOWS_S: Final = {"s": 1, "m": 60, "h": 3600}
_WORDS: Final = {1: "s", 60: "min", 3600: "h"}
_OFF: Final = frozenset({"off", "none", "0"})


class RequestRate(msgspec.Struct, frozen=True):
    """At most `amount` requests in `window_s` seconds."""

    amount: int
    window_s: int

    def __str__(self) -> str:
        return f"{self.amount}/{_WORDS.get(self.window_s, f'{self.window_s} s')}"

    @property
    def per_s(self) -> float:
        """The flow that it lets through."""
        return self.amount / self.window_s


def rate_limit(text: str) -> RequestRate | None:
    """Read `100/s`, `10/min` or `1000/h`; None for `off`. Raises ValueError, with the reason, for other texts."""
    word = text.strip().lower()
    if word in _OFF:
        return None
    match = _TEXT.fullmatch(word)
    if match is None:
        raise ValueError("it is neither a number per s, min or h, nor off")
    if int(match[1]) == 0:
        raise ValueError("a limit of nothing refuses everything; off means no limit")
    return RequestRate(int(match[1]), _WINDOWS_S[match[2][0]])


def _network(text: str) -> str:
    return str(network_of(text))


TRUSTED_PROXIES: Final[Setting[tuple[str, ...]]] = Setting(
    "REGISTRY_TRUSTED_PROXIES",
    items(_network),
    (),
    "the networks of proxies that are believed when they report whom they forward for; others are not",
    "172.28.53.10,fd00:53::/64",
)
FORWARDED_HEADER: Final = Setting(
    "REGISTRY_FORWARDED_HEADER",
    choice(*ForwardedHeader),
    ForwardedHeader.X_FORWARDED_FOR.value,
    "the header in which they report it; the other one is ignored, since clients can send it",
    "forwarded",
)
LIMIT_REGISTER: Final[Setting[RequestRate | None]] = Setting(
    "REGISTRY_LIMIT_REGISTER",
    rate_limit,
    RequestRate(100, 1),
    "registrations and other writes of one client address that are not limited below; `off` for no limit. Renewals of "
    "what is registered do not count, and a registry that is warming takes 10 times as many",
    "100/s",
)
LIMIT_LOOKUP: Final[Setting[RequestRate | None]] = Setting(
    "REGISTRY_LIMIT_LOOKUP", rate_limit, RequestRate(1000, 1), "lookups of one client address", "1000/s"
)
LIMIT_DEREGISTER: Final[Setting[RequestRate | None]] = Setting(
    "REGISTRY_LIMIT_DEREGISTER",
    rate_limit,
    RequestRate(10, 1),
    "deregistrations by one client address, of instances that do not drain",
    "10/s",
)
LIMIT_STATUS: Final[Setting[RequestRate | None]] = Setting(
    "REGISTRY_LIMIT_STATUS",
    rate_limit,
    RequestRate(100, 1),
    "changes of a status by one client address, and its deregistrations of instances that drain",
    "100/s",
)
LIMIT_FAILED_AUTH: Final[Setting[RequestRate | None]] = Setting(
    "REGISTRY_LIMIT_FAILED_AUTH",
    rate_limit,
    RequestRate(10, 1),
    "requests of one client address that are refused for their credentials; those that were right before still pass",
    "10/s",
)
LIMIT_PAUSE: Final = Setting(
    "REGISTRY_LIMIT_PAUSE",
    seconds,
    0.1,
    "how long a refusal by a limit (429) is held back, so that a client in a loop sends fewer requests",
    "100ms",
)
LIMIT_INSTANCE_HEARTBEATS: Final[Setting[RequestRate | None]] = Setting(
    "REGISTRY_LIMIT_INSTANCE_HEARTBEATS",
    rate_limit,
    RequestRate(10, 60),
    "heartbeats of one instance, and never fewer than three in REGISTRY_HEARTBEAT_INTERVAL; a lease that has used half "
    "of its TTL is always renewed, and the repeats in a batch are answered, and change nothing",
    "10/min",
)
LIMIT_INSTANCE_REGISTRATIONS: Final[Setting[RequestRate | None]] = Setting(
    "REGISTRY_LIMIT_INSTANCE_REGISTRATIONS",
    rate_limit,
    RequestRate(5, 60),
    "registrations of one instance while its lease is fresh",
    "5/min",
)
MAX_REQUESTS: Final = Setting(
    "REGISTRY_MAX_REQUESTS",
    integer(10, 1_000_000),
    2000,
    "requests that are carried out at once; near it, lists are refused first, deregistrations and drains last",
    "2000",
)
MAX_UNREAD: Final = Setting(
    "REGISTRY_MAX_UNREAD",
    integer(1, 100_000),
    1000,
    "catalogues and watches whose readers do not read them, at once; beyond it, the one that waits longest is closed",
    "1000",
)

LIMIT_SETTINGS: Final[tuple[Setting[Any], ...]] = (
    TRUSTED_PROXIES,
    FORWARDED_HEADER,
    LIMIT_REGISTER,
    LIMIT_LOOKUP,
    LIMIT_DEREGISTER,
    LIMIT_STATUS,
    LIMIT_FAILED_AUTH,
    LIMIT_INSTANCE_HEARTBEATS,
    LIMIT_INSTANCE_REGISTRATIONS,
    LIMIT_PAUSE,
    MAX_REQUESTS,
    MAX_UNREAD,
)


class LimitSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The limits of one replica; a rate that is None has none."""

    trusted_proxies: tuple[str, ...] = TRUSTED_PROXIES.default
    forwarded_header: ForwardedHeader = ForwardedHeader.X_FORWARDED_FOR
    register: RequestRate | None = LIMIT_REGISTER.default
    lookup: RequestRate | None = LIMIT_LOOKUP.default
    deregister: RequestRate | None = LIMIT_DEREGISTER.default
    status: RequestRate | None = LIMIT_STATUS.default
    failed_auth: RequestRate | None = LIMIT_FAILED_AUTH.default
    instance_heartbeats: RequestRate | None = LIMIT_INSTANCE_HEARTBEATS.default
    instance_registrations: RequestRate | None = LIMIT_INSTANCE_REGISTRATIONS.default
    pause_s: float = LIMIT_PAUSE.default
    max_requests: int = MAX_REQUESTS.default
    max_unread: int = MAX_UNREAD.default


def limit_settings(values: Values) -> LimitSettings:
    """Return the limits that `values` describe."""
    return LimitSettings(
        trusted_proxies=values[TRUSTED_PROXIES],
        forwarded_header=ForwardedHeader(values[FORWARDED_HEADER]),
        register=values[LIMIT_REGISTER],
        lookup=values[LIMIT_LOOKUP],
        deregister=values[LIMIT_DEREGISTER],
        status=values[LIMIT_STATUS],
        failed_auth=values[LIMIT_FAILED_AUTH],
        instance_heartbeats=values[LIMIT_INSTANCE_HEARTBEATS],
        instance_registrations=values[LIMIT_INSTANCE_REGISTRATIONS],
        pause_s=values[LIMIT_PAUSE],
        max_requests=values[MAX_REQUESTS],
        max_unread=values[MAX_UNREAD],
    )
