"""A name server that a test can silence, and programs that use no other: they get their own /etc/resolv.conf.

It listens on port 53 of a loopback address, since libc uses no other port. The files are mounted over those in /etc
within a mount namespace, which ends with the program. Both need root.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.foreign import name_in, read, reply_to
from tests.programs import find

_A: int = 1
_LAID_OVER = 'mount --bind "$0" /etc/resolv.conf && mount --bind "$1" /etc/nsswitch.conf && shift && exec "$@"'


class NameServer(threading.Thread):
    """Knows `hosts`, each a name and an IPv4 address; does not answer while `silent` is set.

    It answers after `delay_s`, and listens on port 53 of some loopback address. Programs that use it
    have `first` as name servers before it.
    """

    def __init__(self, folder: Path, *, first: tuple[str, ...] = (), delay_s: float = 0.0) -> None:
        super().__init__(name="name server", daemon=True)
        self.hosts: dict[str, str] = {}
        self.silent = False
        self.asked: list[str] = []  # each queried name, in order
        self._delay_s = delay_s
        self._socket = _listening()
        self.host: str = self._socket.getsockname()[0]
        # libc's defaults: 5 s for a try, and two tries.
        (folder / "resolv.conf").write_text("".join(f"nameserver {host}\n" for host in (*first, self.host)))
        (folder / "nsswitch.conf").write_text("hosts: files dns\n")
        self._files = [str(folder / "resolv.conf"), str(folder / "nsswitch.conf")]

    @property
    def within(self) -> tuple[str, ...]:
        """The start of a command line that runs a program with this name server only."""
        return (find("unshare"), "--mount", shutil.which("sh") or "/bin/sh", "-c", _LAID_OVER, *self._files)

    def run(self) -> None:
        while True:
            try:
                query, sender = self._socket.recvfrom(1024)
            except OSError:
                return
            if not query:
                return  # it was closed
            name = name_in(query).rstrip(".").lower()
            self.asked.append(name)
            if not self.silent:
                self._send(self._answer(name, query), sender)

    def _send(self, answer: bytes, to: tuple[str, int]) -> None:
        if not self._delay_s:
            self._socket.sendto(answer, to)
            return
        later = threading.Timer(self._delay_s, self._send_late, (answer, to))
        later.daemon = True
        later.start()

    def _send_late(self, answer: bytes, to: tuple[str, int]) -> None:
        with contextlib.suppress(OSError):  # it was closed meanwhile
            self._socket.sendto(answer, to)

    def _answer(self, name: str, query: bytes) -> bytes:
        address = self.hosts.get(name)
        if address is None:
            return reply_to(query, rcode=3)
        return reply_to(query, f"{name}. 1 IN A {address}") if read(query).q.qtype == _A else reply_to(query)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes the thread, which a close alone does not
        self._socket.close()
        self.join(5)


def _listening() -> socket.socket:
    """Return a socket on port 53 of some loopback address. Raises OSError when none is free."""
    for _ in range(20):
        one = socket.socket(type=socket.SOCK_DGRAM)
        try:
            one.bind((f"127.53.{random.randrange(256)}.{random.randrange(1, 255)}", 53))
        except PermissionError:
            one.close()
            raise
        except OSError:
            one.close()
        else:
            return one
    raise OSError("port 53 is taken on every loopback address")


def why_not() -> str:
    """Return why a name server cannot run here; "" when it can."""
    if os.geteuid() != 0:
        return "a private name server needs root: port 53, and a mount namespace"
    with contextlib.suppress(OSError, RuntimeError):
        _listening().close()
        mounted = [find("unshare"), "--mount", "mount", "--bind", "/etc/hostname", "/etc/resolv.conf"]
        done = subprocess.run(mounted, capture_output=True, text=True, timeout=20, check=False)
        return f"no mount namespaces here: {done.stderr.strip()}" if done.returncode else ""
    return "port 53 is taken on loopback, or unshare is missing"


@contextlib.contextmanager
def silent_server() -> Iterator[str]:
    """Yield the address of a name server that never answers, for the duration of a `with`."""
    with _listening() as one:
        yield one.getsockname()[0]


@contextlib.contextmanager
def name_server(folder: Path, *, first: tuple[str, ...] = (), delay_s: float = 0.0) -> Iterator[NameServer]:
    """Run a name server for the duration of a `with`."""
    server = NameServer(folder, first=first, delay_s=delay_s)
    server.start()
    try:
        yield server
    finally:
        server.close()
