"""What a check is told: whom it asks, how, how often, and what counts. Frozen, and nothing is done here.

All of it comes from the agent's own configuration. A check asks the instance that it is of, at that
instance's own host and port; there is no field for another address.
"""

from __future__ import annotations

import enum
from typing import TypeAlias

import msgspec

from agent.checks.flapping import FlapLimits


class CheckKind(enum.StrEnum):
    """How it is found out whether an instance is well."""

    HTTP = "http"
    TCP = "tcp"
    GRPC = "grpc"
    COMMAND = "command"
    TTL = "ttl"
    NONE = "none"


class Tls(msgspec.Struct, frozen=True):
    """TLS to the instance: whether its certificate is looked at, by whose signature, and for which name."""

    verify: bool = False
    ca_pem: str = ""  # none: the system's authorities
    server_name: str = ""  # none: the instance's host


class HttpCheck(msgspec.Struct, frozen=True, kw_only=True):
    """A request: well is who answers with one of `statuses`, and with `body` in its first kilobytes."""

    path: str = "/health"
    method: str = "GET"
    statuses: tuple[tuple[int, int], ...] = ((200, 299),)
    body: str = ""  # a pattern of `pattern.py`
    headers: tuple[tuple[str, str], ...] = ()
    tls: Tls | None = None


class TcpCheck(msgspec.Struct, frozen=True):
    """A TCP connection: well is who accepts it."""


class GrpcCheck(msgspec.Struct, frozen=True, kw_only=True):
    """grpc.health.v1: well is who says SERVING of `service` (empty: of the whole server)."""

    service: str = ""
    tls: Tls | None = None


class CommandCheck(msgspec.Struct, frozen=True):
    """A program, without a shell: exit code 0 is passing, 1 is warning, all else is critical."""

    argv: tuple[str, ...]


class TtlCheck(msgspec.Struct, frozen=True):
    """The service reports by itself: what it said last holds for `ttl_s`, and then it is critical."""

    ttl_s: float = 30.0


How: TypeAlias = HttpCheck | TcpCheck | GrpcCheck | CommandCheck | TtlCheck


class CheckPace(msgspec.Struct, frozen=True, kw_only=True):
    """How often is checked, how long it may take, and how many results in a row count."""

    interval_s: float = 3.0
    timeout_s: float = 2.0
    rise: int = 2
    fall: int = 2
    jitter: float = 0.05  # each interval is up to this share shorter or longer
    initial_delay_s: float = 0.0
    flaps: FlapLimits = FlapLimits()


class CheckSpec(msgspec.Struct, frozen=True):
    """One check of one service."""

    name: str
    how: How
    pace: CheckPace = CheckPace()

    @property
    def kind(self) -> CheckKind:
        """Which kind it is."""
        match self.how:
            case HttpCheck():
                return CheckKind.HTTP
            case TcpCheck():
                return CheckKind.TCP
            case GrpcCheck():
                return CheckKind.GRPC
            case CommandCheck():
                return CheckKind.COMMAND
            case TtlCheck():
                return CheckKind.TTL
