"""The settings of the agent's localhost port: under which names it is asked, and what a write over it needs."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from registry_core.setting_values import Values
from registry_core.settings import Setting, items
from registry_core.shared_secret import one_or_two_secrets

# A browser sends it for no page of another origin without asking first, and the agent never agrees.
WRITE_HEADER: Final = "X-Vertice-Request"
ANY_NAME: Final = "*"
_LABEL: Final = r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?"
_PATTERN: Final = re.compile(rf"\*|(\*\.)?{_LABEL}(\.{_LABEL})*", re.ASCII)


def _name_pattern(value: str) -> str:
    name = value.strip().lower().removesuffix(".")
    if not _PATTERN.fullmatch(name):
        raise ValueError("it is neither a host name without a port, nor *.SUFFIX, nor *")
    return name


HTTP_HOSTS: Final[Setting[tuple[str, ...]]] = Setting(
    "AGENT_HTTP_HOSTS",
    items(_name_pattern),
    (),
    "more host names under which clients ask the agent over HTTP: names, *.SUFFIX, or * for any, which lets pages in a "
    "browser read the fleet",
    "web1.example.net,*.svc.example",
)
HTTP_TOKEN: Final[Setting[tuple[str, ...]]] = Setting(
    "AGENT_HTTP_TOKEN",
    one_or_two_secrets,
    (),
    "the token that drains, maintenance and check reports need over HTTP; two, comma-separated, while it is being "
    "changed; if unset, they are for programs of the agent's own machine",
    "a-long-random-word",
    secret=True,
)
LOCAL_PORT_TABLE: Final[tuple[Setting[Any], ...]] = (HTTP_HOSTS, HTTP_TOKEN)


class LocalPortSettings(msgspec.Struct, frozen=True):
    """Names in lower case, and tokens, of which any is accepted."""

    hosts: tuple[str, ...] = ()
    tokens: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"LocalPortSettings(hosts={self.hosts!r}, tokens={len(self.tokens)})"


def local_port_settings(values: Values) -> LocalPortSettings:
    """Return the settings of the localhost port."""
    return LocalPortSettings(values[HTTP_HOSTS], values[HTTP_TOKEN])
