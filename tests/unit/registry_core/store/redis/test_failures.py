"""The words for errors of Redis: a server's own, and none of redis-py's or asyncio's."""

from __future__ import annotations

import errno

import pytest
from redis import exceptions

from registry_core.errors import StoreUnavailable
from registry_core.store.redis.failures import words_of
from registry_core.store.redis.probes import fault_of


def wrapped(inner: OSError, text: str) -> exceptions.ConnectionError:
    """Return an error as redis-py raises it while it handles one of a socket."""
    try:
        try:
            raise inner
        except OSError:
            raise exceptions.ConnectionError(text)  # noqa: B904 - redis-py does not say `from`, either
    except exceptions.ConnectionError as error:
        return error


REFUSED = ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 6379)")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (wrapped(REFUSED, "Error 111 connecting to 127.0.0.1:6379. Connect call failed."), "Connection refused"),
        (ConnectionResetError(errno.ECONNRESET, "Connection lost"), "Connection reset by peer"),
        (exceptions.TimeoutError("Timeout reading from 127.0.0.1:6379"), "timed out"),
        (TimeoutError(), "timed out"),
        (exceptions.ResponseError("ERR max number of clients reached"), "ERR max number of clients reached"),
        (StoreUnavailable("no master is known"), "no master is known"),
        (KeyError("x"), "it failed unexpectedly (KeyError)"),
    ],
)
def test_a_failure_is_told_in_the_servers_words_or_in_ours(error: Exception, words: str) -> None:
    assert words_of(error) == words


def test_a_fault_of_a_connection_has_no_words_of_a_library() -> None:
    text = "Error 111 connecting to 127.0.0.1:6379. Connect call failed ('127.0.0.1', 6379)."
    assert fault_of(wrapped(REFUSED, text)).reason == "Connection refused"
