"""Probes over HTTP: asks the running agent about itself, and each registry whether it would accept our registrations.

The only write takes an instance out that does not exist: a registry that accepts our token answers 404 and changes
nothing. A heartbeat with a wrong token would tell it of a living client that it refuses.
"""

from __future__ import annotations

import contextlib
import secrets
import socket
import time
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

from cli.client import HttpResponse, Unreachable, ask, get
from cli.doctor.facts import AdvertisedService, Agent, FollowSeen, RegistrySeen
from cli.terminal import printable
from registry_core.causes import cause_of
from registry_core.domain import names
from registry_core.domain.host_port import split_host_port
from registry_core.errors import PLAIN_HTTP, SettingsError
from registry_core.ports.clock import SystemClock
from registry_core.security.sending import RequestSigner, SenderKeys
from registry_core.watch.clock import time_of

TIMEOUT_S: Final = 2.0
CONNECT_S: Final = 1.0
MAX_ADDRESSES: Final = 4
MAX_SERVICES: Final = 8
MAX_REASONS: Final = 20
MAX_REASON_LENGTH: Final = 300
_STATES: Final = ("ready", "starting")
_PORTS: Final = {"http": 80, "https": 443}


def ask_agent(url: str) -> Agent | None:
    """Return the agent at `url`, or None when no agent answers there. Blocks."""
    try:
        said = get(url, "/self", TIMEOUT_S).json()
        services = tuple(_service(one) for one in said["services"][:MAX_SERVICES])
        view = said["view"]
        return Agent(
            services=services,
            registry_urls=tuple(map(str, said["sync"]["registries"])),
            # An agent of the last release does not say.
            largest_service=str(view.get("largest_service", "")),
            largest_instances=int(view.get("largest_instances", 0)),
            status=str(said.get("status", "")),
            reasons=_texts(said.get("reasons", [])),
        )
    except (Unreachable, KeyError, TypeError, ValueError, AttributeError):
        return None


def _service(one: Any) -> AdvertisedService:
    endpoint = str(one["endpoint"])
    scheme, _, rest = endpoint.partition("://")
    host, port = split_host_port(rest)
    if port is None:
        raise ValueError(f"{endpoint!r} has no port")
    refusal = _line(one.get("problem") or "it gives no reason") if one.get("refused") is True else ""
    name = str(one["service_name"])
    return AdvertisedService(name=name, host=host, port=port, is_udp=scheme == "udp", refusal=refusal)


def ask_registry(url: str, keys: SenderKeys) -> RegistrySeen:
    """Return how the registry at `url` looks from here. Blocks for at most a few timeouts."""
    parts = urlsplit(url)
    try:
        addresses = resolve(parts.hostname or "")
    except OSError as error:
        return RegistrySeen(url=url, problem=f"its name cannot be resolved ({cause_of(error)})")
    port = parts.port or _PORTS.get(parts.scheme, 80)
    dead = [address for address in addresses[:MAX_ADDRESSES] if len(addresses) > 1 and not connects(address, port)]
    try:
        began, sent_at = time.time(), time.monotonic()
        ready = get(url, "/ready", TIMEOUT_S)
        took_s = time.monotonic() - sent_at
        state = _field(ready, "state")
        if _field(ready, "error") == PLAIN_HTTP:
            return RegistrySeen(url=url, wants_tls=True)
        if _field(ready, "status") not in _STATES:
            return RegistrySeen(url=url, problem=f"the server there is not a registry (GET /ready: {ready.status})")
        ahead_s, error_s = _clock(ready, began, took_s)
        signer = RequestSigner(keys, SystemClock())
        health, reasons, said = _health(url, signer)
        nobody = f"/deregister/doctor-{secrets.token_hex(8)}/nobody:1"
        wrote = ask("DELETE", url, nobody, signer=signer, timeout_s=TIMEOUT_S)
        is_far = not names.all_loopback(addresses)
        return RegistrySeen(
            url=url,
            dead_addresses=tuple(dead),
            is_ready=ready.status == HTTPStatus.OK,
            state=state,
            version=_version(url),
            ahead_s=ahead_s,
            error_s=error_s,
            seen_as=_seen_as(url),
            write_status=wrote.status,
            health=health,
            reasons=reasons,
            beyond_loopback=is_far,
            writes_are_open=is_far and ask("DELETE", url, nobody, timeout_s=TIMEOUT_S).is_not_found,
            reads_are_open=is_far and get(url, "/services", TIMEOUT_S).status == HTTPStatus.OK,
            plain_secrets=_plain_secrets(said),
            is_audited=_is_audited(said),
            unbelieved_proxies=_unbelieved(said),
            follow=_follow(said),
        )
    except SettingsError as error:  # of the files of TLS
        return RegistrySeen(url=url, problem=str(error))
    except Unreachable as error:
        return RegistrySeen(url=url, problem=str(error).partition(f"{url}: ")[2] or str(error))


def _clock(answer: HttpResponse, began: float, took_s: float) -> tuple[float | None, float]:
    """Return how many seconds their clock is ahead of ours, and the uncertainty."""
    theirs = time_of(answer.headers.get("Date", ""))
    if theirs is None:
        return None, 0.0
    # RFC 9110 section 5.6.7: Date is truncated to whole seconds. It was written at some time within the exchange.
    return theirs + 0.5 - (began + took_s / 2), 0.5 + took_s / 2


def _version(url: str) -> str:
    with contextlib.suppress(Unreachable, KeyError, TypeError):
        return str(get(url, "/openapi.json", TIMEOUT_S).json()["info"]["version"])
    return ""


def _health(url: str, signer: RequestSigner) -> tuple[str, tuple[str, ...], Any]:
    """Return the registry's health, the reasons, and the whole answer; one of the last release gives no reasons."""
    with contextlib.suppress(Unreachable, AttributeError, TypeError):
        said = ask("GET", url, "/health", signer=signer, timeout_s=TIMEOUT_S).json()
        return _line(said.get("status", "")), _texts(said.get("reasons", [])), said
    return "", (), None


def _plain_secrets(health: Any) -> int:
    with contextlib.suppress(KeyError, TypeError, ValueError):
        told = health["components"]["access"]["secrets"]
        return int(told["plain_exposed"]) if told["plain"] == "warn" else 0
    return 0


def _is_audited(health: Any) -> bool | None:
    with contextlib.suppress(KeyError, TypeError):
        if "follow" in health["components"]:
            return None  # what it passes on, the registry audits that carries it out
        return bool(health["components"]["audit"]["status"] != "off")
    return None


def _unbelieved(health: Any) -> tuple[str, ...]:
    with contextlib.suppress(KeyError, TypeError):
        return _texts(health["components"]["access"]["unbelieved_proxies"])
    return ()


def _follow(health: Any) -> FollowSeen | None:
    with contextlib.suppress(KeyError, TypeError, ValueError):
        follow = health["components"]["follow"]
        lost_s = follow["lost_s"]
        return FollowSeen(
            connected_to=_line(follow["connected_to"]),
            problem=_line(follow["problem"]),
            lost_s=None if lost_s is None else float(lost_s),
            hops=len(follow["path"]),
        )
    return None


def _texts(given: Any) -> tuple[str, ...]:
    return tuple(map(_line, given[:MAX_REASONS])) if isinstance(given, list) else ()


def _line(given: object) -> str:
    """Return foreign text as one line of bounded length."""
    return printable(" ".join(str(given).split()), most=MAX_REASON_LENGTH)


def _seen_as(url: str) -> str:
    with contextlib.suppress(Unreachable):
        # Another implementation of the registry may not know this endpoint: its answer then has no address.
        seen = names.ip_address(_field(get(url, "/whoami", TIMEOUT_S), "address"))
        # A socket for both families shows IPv4 peers as ::ffff:a.b.c.d.
        return str(seen or "")
    return ""


def _field(answer: HttpResponse, name: str) -> str:
    with contextlib.suppress(Unreachable, KeyError, TypeError):
        return str(answer.json()[name])
    return ""


def resolve(host: str) -> tuple[str, ...]:
    """Return the addresses of `host`. Blocks for as long as the system's resolver does. Raises OSError."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except UnicodeError:
        raise OSError(None, "it is not a host name") from None
    return tuple(dict.fromkeys(str(info[4][0]) for info in found))


def connects(address: str, port: int) -> bool:
    """Return whether something accepts TCP connections there."""
    with contextlib.suppress(OSError), socket.create_connection((address, port), CONNECT_S):
        return True
    return False
