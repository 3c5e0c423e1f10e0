"""Reads from /proc (proc(5)) which sockets of this machine listen, and which programs hold them.

It binds nothing, and shows no more than this user may see: another user's program has no name here.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from registry_core.domain.host_port import ANY_IPV4, ANY_IPV6
from registry_core.settings import Listen

ROOT: Final = Path("/")
_MAX_FILE_BYTES: Final = 4 * 1024 * 1024
_MAX_PROCESSES: Final = 4096
# From include/net/tcp_states.h: a listener, and a UDP socket without a peer.
_LISTENING: Final = {"tcp": "0A", "udp": "07"}
_WORD: Final = 8  # hexadecimal digits of 32 bits
_LOCALHOST: Final = ("127.0.0.1", "::1")
_INTERPRETER: Final = re.compile(r"(python|pypy|node|ruby|perl)[0-9.]*", re.ASCII)
_WITH_VALUE: Final = frozenset({"-X", "-W"})  # of Python
_PLAIN_WORD: Final = re.compile(r"[a-z][a-z_-]{0,20}", re.ASCII)


class Listener(msgspec.Struct, frozen=True):
    """A listening socket on this machine."""

    kind: str  # "tcp" | "udp"
    host: str
    port: int
    holder: str = ""  # the program and its pid, if we may see it


def listeners(root: Path = ROOT, port: int | None = None) -> Iterator[Listener]:
    """Yield the listening sockets of our network namespace, only those on `port` if one is given. Blocks."""
    found: dict[str, Listener] = {}
    for kind, waiting in _LISTENING.items():
        for name in (kind, f"{kind}6"):
            for line in _text(root / "proc/net" / name).splitlines()[1:]:
                words = line.split()
                if len(words) > 9 and words[3] == waiting:
                    address, _, digits = words[1].partition(":")
                    if port is None or int(digits, 16) == port:
                        found[words[9]] = Listener(kind, _address(address), int(digits, 16))
    holders = _holders(root, set(found)) if found else {}
    for inode, listener in found.items():
        yield msgspec.structs.replace(listener, holder=holders.get(inode, ""))


def holder_of(kind: str, where: Listen, root: Path = ROOT) -> str:
    """Return the program that prevents a socket of `kind` on `where`, and its pid, or nothing. Blocks."""
    rivals = (one for one in listeners(root, where.port) if one.kind == kind and clash(one, where))
    return next((one.holder for one in rivals if one.holder), "")


def clash(held: Listener, wanted: Listen) -> bool:
    """Return whether a socket that is `held` prevents one on `wanted`."""
    if held.port != wanted.port:
        return False
    ours: Iterable[str] = _LOCALHOST if wanted.host == "localhost" else (wanted.host,)
    return any(_meet(canonical(held.host), canonical(host)) for host in ours)


def canonical(host: str) -> str:
    """Return the canonical form of an address: /proc shows some as `::ffff:10.0.0.7`, which blocks 10.0.0.7."""
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return host
    return str(getattr(ip, "ipv4_mapped", None) or ip)


def _meet(held: str, wanted: str) -> bool:
    """Return whether two sockets conflict. `::` usually includes IPv4, but 0.0.0.0 never includes IPv6."""
    pair = {held, wanted}
    if held == wanted or ANY_IPV6 in pair:
        return True
    return ANY_IPV4 in pair and ":" not in held + wanted


def _address(digits: str) -> str:
    """Return the address that /proc/net writes as 32-bit words in host byte order."""
    step = -1 if sys.byteorder == "little" else 1
    packed = b"".join(bytes.fromhex(digits[at : at + _WORD])[::step] for at in range(0, len(digits), _WORD))
    return str(ipaddress.ip_address(packed))


def _holders(root: Path, inodes: set[str]) -> dict[str, str]:
    """Return the program that holds each socket, as far as this user may see it."""
    programs: dict[str, str] = {}
    found: dict[str, str] = {}
    for inode, pid in sockets_of_processes(root, inodes).items():
        if pid not in programs:
            programs[pid] = f"{_program(root / 'proc' / pid)} (pid {pid})"
        found[inode] = programs[pid]
    return found


def sockets_of_processes(root: Path, inodes: set[str]) -> dict[str, str]:
    """Return the pid that holds each of the sockets with these inodes, as far as this user may see it. Blocks."""
    found: dict[str, str] = {}
    folders = (folder for folder in (root / "proc").glob("[0-9]*"))
    for _, process in zip(range(_MAX_PROCESSES), folders, strict=False):
        with contextlib.suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                # The process may have ended; the others still count.
                with contextlib.suppress(OSError):
                    target = str(descriptor.readlink())
                    inode = target.removeprefix("socket:[").removesuffix("]")
                    if inode in inodes and inode != target:
                        found[inode] = process.name
    return found


def _program(process: Path) -> str:
    """Return the name of a process; of an interpreter what it runs: `vertice agent` rather than `python`."""
    name = _text(process / "comm").strip() or "?"
    if not _INTERPRETER.fullmatch(name):
        return name
    words = _text(process / "cmdline").split("\0")[1:]
    while words and words[0].startswith("-") and words[0] != "-m":
        del words[: 2 if words[0] in _WITH_VALUE else 1]
    script = words[1:] if words[:1] == ["-m"] else [Path(word).name for word in words[:1]] + words[1:]
    # A command such as `agent`, and no argument that may be private.
    shown = [word for number, word in enumerate(script[:2]) if not number or _PLAIN_WORD.fullmatch(word)]
    return " ".join(shown).strip() or name


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_FILE_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""
