"""Checks whether a service can call another one by a new name: certificates, Host headers and proxies know the old one.

Pure. It judges by the variables and the health checks of the two, and does not know whether the name resolves.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from cli.compose.address_syntax import HardCodedAddress
from cli.compose.model import ComposeService, EnvEntry
from cli.compose.value_edits import Refused
from cli.compose.variable_names import is_list_of_accepted_hosts, words_of
from registry_core.domain.names import label_of

TLS_SCHEMES: Final = frozenset({"https", "wss", "grpcs", "tls", "ssl", "amqps", "rediss"})
_TLS: Final = "it uses TLS, and the certificate is for the name in the file"
# The last word of a variable that tells the scheme of an address beside it, or whether that uses TLS.
_TELL_SCHEME: Final = frozenset({"SCHEME", "PROTOCOL", "PROTO"})
_TELL_TLS: Final = frozenset({"TLS", "SSL", "HTTPS", "SECURE"})
_NO: Final = frozenset({"", "0", "false", "no", "off", "none", "disable", "disabled"})
_PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_BETWEEN_HOSTS: Final = re.compile(r"[\s,;|\"'\[\]]+")


class _Caller(msgspec.Struct, frozen=True):
    """What a service's variables say of its calls.

    `tls`: the variables that tell of TLS, by the first words of their names, however many. `proxy`: the variable that
    names a proxy, and `direct`: the hosts that are called without it.
    """

    tls: dict[tuple[str, ...], str]
    proxy: str | None
    direct: tuple[str, ...]


class Renaming:
    """The callers and targets of a fleet. Each service's variables are read once."""

    def __init__(self, services: Mapping[str, ComposeService]) -> None:
        self._callers = {name: _caller(service.environment) for name, service in services.items()}
        self._accepting = {
            name: [e for e in service.environment if e.value and is_list_of_accepted_hosts(e.name)]
            for name, service in services.items()
        }

    def check(self, service: ComposeService, address: HardCodedAddress, target: ComposeService, name: str) -> None:
        """Raise Refused when `service` cannot call `target`, which it calls by `address`, by `name` instead."""
        caller = self._callers[service.name]
        if address.scheme in TLS_SCHEMES:
            raise Refused(_TLS)
        if not address.scheme:
            _check_tls(address, caller, target)
        if address.is_http or not address.scheme:
            self._check_host_header(address, target, name)
            if caller.proxy is not None and not any(_is_direct(host, name) for host in caller.direct):
                raise Refused(f"{service.name} has {caller.proxy}, and its NO_PROXY does not name {name}")

    def _check_host_header(self, address: HardCodedAddress, target: ComposeService, name: str) -> None:
        """Raise Refused when the target would tell requests by their Host header, which carries the new name."""
        host = address.host.lower().rstrip(".")
        own = {n.lower() for n in (target.name, target.container_name, target.hostname) if n}
        if label_of(host) not in {label_of(n) for n in own}:
            raise Refused(f"{host} is an alias of {target.name}, by which it may tell virtual hosts apart")
        for entry in self._accepting[target.name]:
            if not _accepts(entry.value or "", name):
                raise Refused(
                    f"{target.name} accepts only the hosts in its {entry.name}, and {name} is not one of them"
                )


def _caller(environment: Iterable[EnvEntry]) -> _Caller:
    tls: dict[tuple[str, ...], str] = {}
    proxies: dict[str, str] = {}
    direct = ""
    for entry in environment:
        value = (entry.value or "").strip()
        words = words_of(entry.name)
        at = _where_tls(words, value.lower())
        if at:
            for count in range(1, at + 1):
                tls.setdefault(words[:count], entry.name)
        elif value and entry.name.upper() in _PROXIES:
            proxies[entry.name.upper()] = entry.name
        elif entry.name.upper() == "NO_PROXY":
            direct = f"{direct},{value}"
    proxy = next((proxies[key] for key in _PROXIES if key in proxies), None)
    return _Caller(tls, proxy, tuple(host for host in _BETWEEN_HOSTS.split(direct.lower()) if host))


def _where_tls(words: tuple[str, ...], value: str) -> int:
    """Return how many words of a variable's name stand before those that tell of TLS, 0 when it tells of none.

    `CART_TLS_CA: /ca.pem` tells that calls of CART use TLS, and `CART_SSL: "false"` that they do not.
    """
    if words[-1:] and words[-1] in _TELL_SCHEME:
        return len(words) - 1 if value.rstrip(":/") in TLS_SCHEMES else 0
    found = next((at for at, word in enumerate(words) if word in _TELL_TLS), 0)
    return 0 if value in _NO or words[-1:] == ("PORT",) else found


def _check_tls(address: HardCodedAddress, caller: _Caller, target: ComposeService) -> None:
    """Raise Refused when a variable beside an address without a scheme, or its target's health check, tells of TLS."""
    check = target.healthcheck
    if check is not None and (check.url or "").lower().startswith("https:") and check.port == address.port:
        raise Refused(_TLS)
    told = caller.tls.get(words_of(address.variable)[:-1])
    if told is not None:
        raise Refused(f"{_TLS} ({told})")


def _is_direct(host: str, name: str) -> bool:
    """Return whether an item of NO_PROXY covers a name: itself, all names that end in it, or `*`."""
    ending = host.partition(":")[0].lstrip("*.")
    return host == "*" or (ending != "" and f".{name}".endswith(f".{ending}"))


def _accepts(hosts: str, name: str) -> bool:
    """Return whether a list of accepted hosts has a name, as Django reads it: `*` is any, `.zone` all names in it."""
    given = [host.lower() for host in _BETWEEN_HOSTS.split(hosts) if host]
    return any(
        host in ("*", name) or (host.startswith((".", "*.")) and name.endswith(host.removeprefix("*")))
        for host in given
    )
