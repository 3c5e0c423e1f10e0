"""Reads this machine's files: resolv.conf, nsswitch.conf, the libc, the kernel's settings, its sockets.

Every path is below a root, so that a prepared folder can represent a machine. It writes nothing and binds no
port, not even for a moment: an agent that starts just then would find the port taken.
"""

from __future__ import annotations

import contextlib
import ipaddress
import itertools
import math
import os
import re
import resource
import socket
import subprocess
from pathlib import Path
from typing import Final

import psutil

from cli.doctor.facts import Libc, Machine
from registry_core.listening_sockets import listeners

ROOT: Final = Path("/")
_MAX_FILE_BYTES: Final = 4 * 1024 * 1024
_MUSL_TIMEOUT_S: Final = 2.0
_MAX_PROCESSES: Final = 4096
_JAVA_KEEPS_S: Final = 30.0
_CAP_NET_BIND_SERVICE: Final = 10  # linux/capability.h


def read_machine(root: Path = ROOT) -> Machine:
    """Return everything that can be read; the rest is left out. Blocks."""
    first_free = _text(root / "proc/sys/net/ipv4/ip_unprivileged_port_start")
    return Machine(
        resolv_conf=_text(root / "etc/resolv.conf"),
        nsswitch=_text(root / "etc/nsswitch.conf"),
        libc=_libc(root),
        in_container=_in_container(root),
        is_agents_own=_in_container(root) and not _in_kubernetes(root) and _begins_with_agent(root),
        addresses=_addresses(),
        listeners=tuple(listeners(root)),
        low_ports_end=_number(first_free, 1024) or 0,
        may_bind_low=_has_capability(root, _CAP_NET_BIND_SERVICE),
        rmem_max=_number(_text(root / "proc/sys/net/core/rmem_max"), None),
        open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[1],  # to which an agent raises its own
        java_keeps_s=_java_keeps_s(root),
    )


def _text(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_FILE_BYTES).decode("utf-8", "replace")
    except OSError:
        return None


def _number(text: str | None, default: int | None) -> int | None:
    return int(text) if text is not None and text.strip().isdigit() else default


def _in_container(root: Path) -> bool:
    if (root / ".dockerenv").exists() or (root / "run/.containerenv").exists():
        return True
    return bool(re.search(r"docker|containerd|kubepods|libpod|lxc", _text(root / "proc/1/cgroup") or ""))


def _in_kubernetes(root: Path) -> bool:
    """Return whether this is a pod: its containers have the same resolv.conf."""
    if (root / "var/run/secrets/kubernetes.io").exists() or "KUBERNETES_SERVICE_HOST" in os.environ:
        return True
    return "kubepods" in (_text(root / "proc/1/cgroup") or "")


def _begins_with_agent(root: Path) -> bool:
    """Return whether process 1 is `vertice agent`, perhaps under an init such as tini."""
    words = (_text(root / "proc/1/cmdline") or "").split("\0")
    return any(
        (Path(word).name == "vertice" or word == "cli.main") and after == "agent"
        for word, after in itertools.pairwise(words)
    )


def _libc(root: Path) -> Libc:
    """Return the libc that programs on this machine use: musl when it is the only one, or on Alpine."""
    loader = next(iter(sorted(root.glob("lib/ld-musl-*.so.1"))), None)
    is_glibc = any(root.glob("lib/*/libc.so.6")) or any(root.glob("lib64/libc.so.6"))
    if loader is not None and ((root / "etc/alpine-release").exists() or not is_glibc):
        return Libc(is_musl=True, version=_musl_version(loader))
    # confstr describes the libc of this process, so it counts only for our own root. A Python for musl lacks the name.
    version = os.confstr("CS_GNU_LIBC_VERSION") if root == ROOT and "CS_GNU_LIBC_VERSION" in os.confstr_names else ""
    return Libc(is_musl=False, version=(version or "").removeprefix("glibc").strip())


def _musl_version(loader: Path) -> str:
    # Run without a program, the loader prints its version on stderr and exits with an error.
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        said = subprocess.run(  # noqa: S603 - the system's own loader, without arguments
            [str(loader)], stdin=subprocess.DEVNULL, capture_output=True, timeout=_MUSL_TIMEOUT_S, check=False
        )
        match = re.search(rb"Version (\d+(?:\.\d+)+)", said.stderr[:4096])
        return match[1].decode() if match is not None else ""
    return ""


def _addresses() -> tuple[str, ...]:
    """Return this machine's non-loopback addresses, without their scopes."""
    found = [
        one.address.partition("%")[0]
        for interface in psutil.net_if_addrs().values()
        for one in interface
        if one.family in (socket.AF_INET, socket.AF_INET6)
    ]
    usable = [
        one for one in found if not (ipaddress.ip_address(one).is_loopback or ipaddress.ip_address(one).is_link_local)
    ]
    return tuple(dict.fromkeys(usable))


def _has_capability(root: Path, number: int) -> bool:
    status = _text(root / "proc/self/status") or ""
    match = re.search(r"^CapEff:\s*([0-9a-f]+)", status, re.MULTILINE)
    return match is not None and bool(int(match[1], 16) >> number & 1)


# -- programs


def _java_keeps_s(root: Path) -> float | None:
    """Return the longest time for which a program in Java here keeps an address, in seconds; None if there is none.

    It is 30 s unless the command says otherwise (java.net.InetAddress); a negative number means for ever.
    """
    found: list[float] = []
    for _, process in zip(range(_MAX_PROCESSES), (root / "proc").glob("[0-9]*"), strict=False):
        if (_text(process / "comm") or "").strip() == "java":
            given = re.findall(r"-Dsun\.net\.inetaddr\.ttl=(-?\d{1,9})(?:\0|$)", _text(process / "cmdline") or "")
            kept_s = float(given[-1]) if given else _JAVA_KEEPS_S
            found.append(math.inf if kept_s < 0 else kept_s)
    return max(found, default=None)
