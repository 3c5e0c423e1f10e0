"""Whose the loopback connections to a port are."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from registry_core.loopback_peers import loopback_peers

# sl local remote st queues timer retransmits user timeout inode
LINES = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:22B0 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 100 1 0 100 0 0 10 0
   1: 0100007F:C001 0100007F:22B0 01 00000000:00000000 00:00000000 00000000  1000        0 101 1 0 20 4 30 10 -1
   2: 0100007F:22B0 0100007F:C001 01 00000000:00000000 00:00000000 00000000     0        0 102 1 0 20 4 30 10 -1
   3: 0100007F:C002 0100007F:22B0 01 00000000:00000000 00:00000000 00000000  1001        0 103 1 0 20 4 30 10 -1
   4: 0100007F:C003 0100007F:22B1 01 00000000:00000000 00:00000000 00000000  1001        0 104 1 0 20 4 30 10 -1
   5: 0100007F:C004 0100007F:22B0 06 00000000:00000000 03:00000000 00000000     0        0 0 3 0
"""


def test_an_owner_is_a_process_or_the_user_of_one_that_cannot_be_seen(tmp_path: Path) -> None:
    (tmp_path / "proc/net").mkdir(parents=True)
    (tmp_path / "proc/net/tcp").write_text(LINES)
    descriptors = tmp_path / "proc/77/fd"
    descriptors.mkdir(parents=True)
    (descriptors / "5").symlink_to("socket:[101]")
    (descriptors / "6").symlink_to("/dev/null")
    assert loopback_peers(8880, tmp_path) == {0xC001: "pid 77", 0xC002: "uid 1001"}
    assert loopback_peers(9999, tmp_path) == {}


def test_where_proc_is_missing_nothing_is_known(tmp_path: Path) -> None:
    assert loopback_peers(8880, tmp_path) == {}


def test_our_own_connections_are_ours() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        client.connect(server.getsockname())
        found = loopback_peers(server.getsockname()[1])
        assert found[client.getsockname()[1]] == f"pid {os.getpid()}"
