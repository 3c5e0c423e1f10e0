"""Why a registry refuses a signed request: one error for each cause, all of them 401 except the last.

The sender tells them apart by their names. `OutOfTime` says the registry's time, so that a sender with a wrong clock
can correct itself.
"""

from __future__ import annotations

from typing import Final

from registry_core.errors import Unauthorized, Unavailable

RECEIVED_BEFORE: Final = "this request was received before: each is signed anew, with a nonce of its own"


class MalformedSignature(Unauthorized):
    """Raised when a request has a signature that does not have the form of ours, or does not cover enough."""


class UnknownKey(Unauthorized):
    """Raised when this registry has no key with the id of the signature: it was revoked, has expired, or is foreign."""


class WrongSignature(Unauthorized):
    """Raised when the key did not sign this request: it was altered, is for another path, or the secret is another."""


class AlteredBody(Unauthorized):
    """Raised when the body of a signed request is not the one that was signed."""


class OutOfTime(Unauthorized):
    """Raised when the time of a signature is too far from the registry's clock.

    `provided` is that time and `example` the registry's, both in whole Unix seconds.
    """


class Replayed(Unauthorized):
    """Raised when the registry has seen this signature before.

    A proxy or a library that repeats a request by itself repeats its signature, too. The sender that has not got the
    first answer signs it anew, with the same sequence number, and gets that answer.
    """


class SignedBeforeStart(Unavailable):
    """Raised when a request was signed before this registry started: whether it was seen before, nobody knows.

    The sender signs it again.
    """
