"""Shortages of this program are told from failures of its peers."""

from __future__ import annotations

import errno
import os
import socket

import pytest

from registry_core.blocking import NoThread
from registry_core.shortages import is_shortage, socket_shortage


@pytest.mark.parametrize(
    "error",
    [
        *(OSError(number, os.strerror(number)) for number in (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)),
        NoThread("all 8 threads are busy"),
        MemoryError(),
        socket.gaierror(socket.EAI_MEMORY, "Memory allocation failure"),
    ],
)
def test_a_shortage_is_ours(error: BaseException) -> None:
    assert is_shortage(error)


@pytest.mark.parametrize(
    "error",
    [
        ConnectionRefusedError(errno.ECONNREFUSED, "refused"),
        TimeoutError(errno.ETIMEDOUT, "timed out"),
        OSError(errno.ENETUNREACH, "unreachable"),
        OSError("Multiple exceptions"),
        socket.gaierror(socket.EAI_NONAME, "unknown"),
        ValueError("odd"),
    ],
)
def test_a_failure_of_a_peer_is_not_ours(error: BaseException) -> None:
    assert not is_shortage(error)


def test_a_missing_descriptor_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert socket_shortage() == ""

    def refuse() -> socket.socket:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(socket, "socket", refuse)
    assert socket_shortage() == "Too many open files"
