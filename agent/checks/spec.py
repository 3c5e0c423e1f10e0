"""The definition of a check: its kind, its options, and its pace. Frozen data only.

It comes entirely from the agent's own configuration. A check connects to the host and port of its instance;
there is no field for another address.
"""

from __future__ import annotations

import enum
from typing import TypeAlias

import msgspec

from agent.checks.flapping import FlapLimits


class CheckKind(enum.StrEnum):
    """The kinds of checks."""

    HTTP = "http"
    TCP = "tcp"
    GRPC = "grpc"
    COMMAND = "command"
    TTL = "ttl"
    NONE = "none"


class Tls(msgspec.Struct, frozen=True):
    """TLS to the instance: whether its certificate is verified, by which authorities, and for which name."""

    verify: bool = False
    ca_pem: str = ""  # empty: the system's authorities
    server_name: str = ""  # empty: the instance's host


class HttpCheck(msgspec.Struct, frozen=True, kw_only=True):
    """An HTTP request: healthy if the status is in `statuses` and `body` matches in the first kilobytes."""

    path: str = "/health"
    method: str = "GET"
    statuses: tuple[tuple[int, int], ...] = ((200, 299),)
    body: str = ""  # a pattern of `pattern.py`
    headers: tuple[tuple[str, str], ...] = ()
    tls: Tls | None = None


class TcpCheck(msgspec.Struct, frozen=True):
    """A TCP connection: healthy if it is accepted."""


class GrpcCheck(msgspec.Struct, frozen=True, kw_only=True):
    """grpc.health.v1: healthy if the answer for `service` (empty: the whole server) is SERVING."""

    service: str = ""
    tls: Tls | None = None


class CommandCheck(msgspec.Struct, frozen=True):
    """A program, without a shell: exit code 0 is passing, 1 is warning, anything else is critical."""

    argv: tuple[str, ...]


class TtlCheck(msgspec.Struct, frozen=True):
    """The service reports by itself: a report is valid for `ttl_s`, then the check is critical."""

    ttl_s: float = 30.0


How: TypeAlias = HttpCheck | TcpCheck | GrpcCheck | CommandCheck | TtlCheck


class CheckPace(msgspec.Struct, frozen=True, kw_only=True):
    """How often a check runs, how long it may take, and how many results in a row count."""

    interval_s: float = 3.0
    timeout_s: float = 2.0
    rise: int = 2
    fall: int = 2
    jitter: float = 0.05  # each interval varies by up to this share
    initial_delay_s: float = 0.0
    flaps: FlapLimits = FlapLimits()


class CheckSpec(msgspec.Struct, frozen=True):
    """One check of one service."""

    name: str
    how: How
    pace: CheckPace = CheckPace()

    @property
    def connects(self) -> bool:
        """Whether the check connects to the instance, so that each address has a result of its own."""
        return not isinstance(self.how, CommandCheck | TtlCheck)

    @property
    def kind(self) -> CheckKind:
        """The kind of the check."""
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
