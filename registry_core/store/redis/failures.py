"""Maps what redis-py raises to what it means for a write. No other module knows those classes."""

from __future__ import annotations

import enum
import re
from ssl import SSLError
from typing import Final

from redis import exceptions

from registry_core.causes import cause_of
from registry_core.domain.breaker import Seen
from registry_core.errors import NotReplicated, StoreUnavailable, Unavailable
from registry_core.security.signature_errors import RECEIVED_BEFORE, Replayed


class FailureAction(enum.StrEnum):
    """What to do about a failure."""

    ELSEWHERE = "elsewhere"  # this server does not serve as a master: find another and retry there
    AGAIN = "again"  # the server is healthy and will take it in a moment
    RELOAD = "reload"  # the server does not know our scripts
    HOPELESS = "hopeless"  # a retry will not help: no memory, or a bug of ours


# What an operator has to fix, by the name redis-py or the server gives it.
_REFUSALS: Final = {
    "OutOfMemory": "its Redis has no memory left (maxmemory)",
    "OOM": "its Redis has no memory left (maxmemory)",
    "MISCONF": "its Redis cannot write to its disk (MISCONF)",
}


def verdict_on(error: BaseException) -> FailureAction:
    """Return what a failed operation means."""
    text = str(error)
    if isinstance(error, exceptions.NoScriptError):
        return FailureAction.RELOAD
    if isinstance(error, exceptions.ReadOnlyError) or "READONLY" in text:
        return FailureAction.ELSEWHERE
    if isinstance(error, exceptions.BusyLoadingError | exceptions.TryAgainError):
        return FailureAction.AGAIN
    if isinstance(error, exceptions.OutOfMemoryError) or "OOM" in text or "MISCONF" in text:
        return FailureAction.HOPELESS
    if any(word in text for word in ("NOREPLICAS", "BUSY", "NOTOPEN", "TOOLATE")):
        return FailureAction.AGAIN
    if isinstance(error, exceptions.ConnectionError | exceptions.TimeoutError | OSError | TimeoutError):
        return FailureAction.ELSEWHERE
    return FailureAction.HOPELESS


def words_of(error: BaseException) -> str:
    """Return a server's message in one line, without what redis-py and Redis add about our own code."""
    # redis-py wraps the error of a socket. Those of TLS have texts that `fault_of` reads.
    inner = error.__cause__ or error.__context__ if type(error) is exceptions.ConnectionError else None
    if isinstance(inner, OSError) and not isinstance(inner, SSLError):
        return cause_of(inner)
    if not isinstance(error, exceptions.RedisError | SSLError):
        return cause_of(error)
    if isinstance(error, exceptions.TimeoutError):
        return "timed out"
    text = " ".join(str(error).split())
    within = _IN_PIPELINE.fullmatch(text)
    text = _IN_SCRIPT.sub("", within["said"] if within is not None else text)
    return text[:200] or type(error).__name__


_IN_PIPELINE: Final = re.compile(r"Command # \d+ .* of pipeline caused error: \(?[\"']?(?P<said>.*?)[\"']?,?\)?")
_IN_SCRIPT: Final = re.compile(r"\.? script: [0-9a-f]{40}, on @user_script:\d+\.?$")


def is_answer(error: BaseException) -> bool:
    """Return whether a serving master refused the write: it is reachable but takes no writes at present.

    The causes: no memory (OOM), no disk (MISCONF), no replica (NOREPLICAS, a WAIT that came back short), no
    permission. The breaker does not count them as failures. It spares callers the wait for a server that does not
    answer; this one answers at once, and takes writes again as soon as it can. READONLY and LOADING come from
    servers that do not serve as a master, and BUSY from one that serves nobody.
    """
    if isinstance(error, NotReplicated):
        return True
    if not isinstance(error, exceptions.ResponseError) or str(error).startswith("BUSY"):
        return False
    return verdict_on(error) is not FailureAction.ELSEWHERE


def seen_by(error: BaseException) -> Seen:
    """Return what the breaker should record for a failed write."""
    return Seen.SUCCESS if is_answer(error) else Seen.FAILURE


def refusal_in(error: BaseException) -> Replayed | None:
    """Return the refusal of the caller's own request that a server's answer means, if it does."""
    return Replayed(RECEIVED_BEFORE) if "REPLAYED" in str(error) else None


def unavailable(error: BaseException, shard: str) -> Unavailable:
    """Return the error that the caller of a failed write gets."""
    if isinstance(error, Unavailable):
        return error
    if "NOREPLICAS" in str(error):
        return NotReplicated(f"shard {shard!r} has no replica that takes writes", retry_after_s=1.0)
    said = f"{type(error).__name__} {error}"
    for sign, words in _REFUSALS.items():
        if sign in said:
            return StoreUnavailable(f"shard {shard!r} takes no writes: {words}", retry_after_s=1.0)
    if isinstance(error, TimeoutError):
        return StoreUnavailable(f"shard {shard!r} did not answer in time", retry_after_s=1.0)
    return StoreUnavailable(f"shard {shard!r} did not take the write: {words_of(error)}", retry_after_s=1.0)
