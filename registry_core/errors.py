"""Every error of the product, split by whose fault it is: the caller's, or nobody's (unavailable).

The classes carry data and know nothing of HTTP or DNS; each face has one table that maps them.
"""

from __future__ import annotations


class VerticeError(Exception):
    """The base of every error that the product raises on purpose."""


class CallerError(VerticeError):
    """Raised when the caller asked for something that cannot be, whatever the state of the system."""

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
    """Raised when one field of what the caller sent breaks a rule; names it and shows a good one."""


class Conflict(CallerError):
    """Raised when the wish collides with what somebody else has registered."""


class Fenced(Conflict):
    """Raised when a newer owner has claimed the same instance: the caller must stop asserting it."""


class Late(Conflict):
    """Raised when a newer write of the same owner was taken before: this one comes too late, and changes nothing."""


class AmbiguousInstance(Conflict):
    """Raised when a service has several instances and the caller did not say which one it means."""


class NotFound(CallerError):
    """Raised when the named service or instance is not registered (and we know that it is not)."""


class Unauthorized(CallerError):
    """Raised when a request carries no usable credential, or a wrong one."""


class Forbidden(CallerError):
    """Raised when a valid credential does not cover the service that the request would write."""


class Unavailable(VerticeError):
    """The base for "ask again later": nothing is known to be wrong with the request."""

    def __init__(self, message: str, *, retry_after_s: float = 1.0) -> None:
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s


class StoreUnavailable(Unavailable):
    """Raised when the store cannot be reached; what was asked for was not done."""


class NotReplicated(Unavailable):
    """Raised when no second server confirmed the write: it may be there, and is not to be relied upon."""


class Warming(Unavailable):
    """Raised when the registry came up empty and does not know yet who is alive."""


class Overloaded(Unavailable):
    """Raised when a limit of this process is reached; another replica may have room."""


class StoodStill(Unavailable):
    """Raised when this process stood still, and what was asked for may have waited meanwhile: it was not done."""


class CannotListen(VerticeError):
    """Raised when an address cannot be listened on, mostly because its port is taken."""


class SettingsError(VerticeError):
    """Raised when a setting is wrong or unknown; its text is the one line that the user sees."""
