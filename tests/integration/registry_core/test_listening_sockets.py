"""The sockets of this machine: who holds a port is found in /proc."""

from __future__ import annotations

import os
import socket

from registry_core.listening_sockets import holder_of, listeners
from registry_core.settings import Listen


def test_the_holder_of_a_port_is_named_with_its_pid() -> None:
    with socket.create_server(("127.0.0.1", 0)) as held:
        where = Listen(*held.getsockname())
        assert holder_of("tcp", where).endswith(f" (pid {os.getpid()})")
        assert holder_of("tcp", Listen("0.0.0.0", where.port)).endswith(f" (pid {os.getpid()})")
        assert holder_of("udp", where) == ""
        assert [one.host for one in listeners(port=where.port)] == ["127.0.0.1"]
    assert holder_of("tcp", where) == "", "it is free again"
