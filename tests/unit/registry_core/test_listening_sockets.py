"""The program that holds a socket, as /proc shows it: an interpreter is named by what it runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry_core.listening_sockets import Listener, holder_of, listeners
from registry_core.settings import Listen

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"


def machine(root: Path, comm: str, argv: tuple[str, ...]) -> Path:
    """Lay out a /proc in which process 7 listens on 127.0.0.1:8880, and another user's on [::]:53."""
    net = root / "proc/net"
    net.mkdir(parents=True)
    row = "   0: 0100007F:22B0 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1\n"
    (net / "tcp").write_text(HEAD + row)
    row = f"   0: {'0' * 32}:0035 {'0' * 32}:0000 07 00000000:00000000 00:00000000 00000000     0        0 99 2\n"
    (net / "udp6").write_text(HEAD + row)
    process = root / "proc/7"
    (process / "fd").mkdir(parents=True)
    (process / "fd/3").symlink_to("socket:[4711]")
    (process / "comm").write_text(f"{comm}\n")
    (process / "cmdline").write_text("\0".join(argv) + "\0")
    return root


@pytest.mark.parametrize(
    ("comm", "argv", "name"),
    [
        ("nginx", ("nginx: master process",), "nginx"),
        ("python3.11", ("python3", "/opt/vertice/bin/vertice", "agent", "--config", "x"), "vertice agent"),
        ("python", ("python", "-m", "cli.main", "registry"), "cli.main registry"),
        ("python3", ("python3", "-X", "dev", "/app/serve.py", "s3cret-Word"), "serve.py"),
        ("python3", ("python3", "/app/serve.py", "s3cret-Word"), "serve.py"),
        ("node", ("node",), "node"),
    ],
)
def test_a_program_is_named_without_its_private_arguments(
    tmp_path: Path, comm: str, argv: tuple[str, ...], name: str
) -> None:
    root = machine(tmp_path, comm, argv)
    assert holder_of("tcp", Listen("127.0.0.1", 8880), root) == f"{name} (pid 7)"


def test_the_sockets_of_others_have_no_name(tmp_path: Path) -> None:
    root = machine(tmp_path, "nginx", ())
    assert list(listeners(root)) == [
        Listener("tcp", "127.0.0.1", 8880, "nginx (pid 7)"),
        Listener("udp", "::", 53, ""),
    ]
    assert holder_of("udp", Listen("127.0.0.1", 53), root) == ""
    assert list(listeners(tmp_path / "nowhere")) == []
