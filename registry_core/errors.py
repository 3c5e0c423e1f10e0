"""Every error of the product, split by blame: the caller's fault, or unavailability.

The classes carry data and know nothing of HTTP or DNS; each interface maps them in one table.
"""

from __future__ import annotations

from typing import Final

import msgspec

# What a port with TLS calls a request without it, in its answer.
PLAIN_HTTP: Final = "PlainHTTP"


class VerticeError(Exception):
    """The base of every error that the product raises on purpose."""


class CallerError(VerticeError):
    """Raised when the request itself is at fault; sending it again unchanged does not help."""

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        provided: object = None,
        example: object = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.field = field
        self.provided = provided
        self.example = example


class ValidationError(CallerError):
    """Raised when a field of the request breaks a rule; names the field and shows a valid value."""


class Holder(msgspec.Struct, frozen=True):
    """The instance that holds what a request claims, and its address: `host:port`, and the IP addresses of the host."""

    service_name: str
    instance_id: str
    address: str
    addresses: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the address, with the IP addresses behind it if they are others."""
        shown = [ip for ip in self.addresses if ip not in self.address]
        return f"{self.address} ({', '.join(shown)})" if shown else self.address


class Conflict(CallerError):
    """Raised when the request collides with another registration.

    `holder` is the registered instance; None when it was removed. `retry_after_s`: the earliest time at which the
    conflict may be over without anybody's doing; None when there is none.
    """

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        provided: object = None,
        example: object = None,
        holder: Holder | msgspec.UnsetType | None = msgspec.UNSET,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message, field=field, provided=provided, example=example)
        self.holder = holder
        self.retry_after_s = retry_after_s


class Fenced(Conflict):
    """Raised when a newer owner has claimed the instance: the caller must stop claiming it."""


class Late(Conflict):
    """Raised when a newer write of the same owner was applied first: this one is too late and changes nothing."""


class AmbiguousInstance(Conflict):
    """Raised when a service has several instances and the request does not say which one it means."""


class NotFound(CallerError):
    """Raised when the service or instance is certain not to be registered."""


class Unauthorized(CallerError):
    """Raised when a request has no valid credential."""


class Forbidden(CallerError):
    """Raised when a valid credential does not cover what the request would write or do."""


class Misdirected(CallerError):
    """Raised when a request is for a host that is not this program (RFC 9110 section 15.5.20)."""


class TooManyRequests(CallerError):
    """Raised when a caller sends more than a limit allows; `retry_after_s` is when it has room again."""

    def __init__(self, message: str, *, retry_after_s: float, field: str | None = None, example: object = None) -> None:
        super().__init__(message, field=field, example=example)
        self.retry_after_s = retry_after_s


class Unavailable(VerticeError):
    """The base for "try again later": the request itself may be fine."""

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s


class StoreUnavailable(Unavailable):
    """Raised when the store cannot be reached; the request was not carried out."""


class NotReplicated(Unavailable):
    """Raised when no second server confirmed the write: it may be stored, but do not rely on it."""


class Warming(Unavailable):
    """Raised when the registry started empty and does not know yet which instances are alive."""


class Overloaded(Unavailable):
    """Raised when this process has reached a limit; another replica may have room."""


class StoodStill(Unavailable):
    """Raised when this process stalled and the request may have waited meanwhile: it was not carried out."""


class AuditUnavailable(Unavailable):
    """Raised when the audit log cannot be written or read, and the request needs that; nothing was carried out."""


class CannotListen(VerticeError):
    """Raised when the program cannot listen on an address, usually because the port is taken."""


class MissingPackage(VerticeError):
    """Raised when a setting needs a Python package that is not installed; its text says what to install."""


class SettingsError(VerticeError):
    """Raised when a setting is wrong or unknown; its text is the one line shown to the user."""
