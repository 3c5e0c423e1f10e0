"""Reads what this machine's files say of a host name: its addresses in hosts(5), and how names are completed.

The files are read in a thread, since a disk may hang, and kept for a moment: all names are looked up in a burst. While
they cannot be read, the last ones count.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from dns.hosts_file import MAX_CHARACTERS as MAX_HOSTS
from dns.hosts_file import hosts_addresses
from dns.resolv_conf import MAX_CHARACTERS as MAX_RESOLV_CONF
from dns.search_list import SearchList, search_list
from registry_core.blocking import Threads

READ_S: Final = 1.0
KEEP_S: Final = 1.0
# A longer hosts file is neither kept nor searched in the event loop.
KEEP_CHARACTERS: Final = 64 * 1024
MAX_THREADS: Final = 8


class MachineFiles(msgspec.Struct, frozen=True):
    """The files that tell a stub resolver about names."""

    hosts: Path = Path("/etc/hosts")
    resolv_conf: Path = Path("/etc/resolv.conf")


class LocalKnowledge(msgspec.Struct, frozen=True):
    """What the files say of one name."""

    addresses: tuple[str, ...] = ()
    search: SearchList = SearchList()


class FileTexts(msgspec.Struct, frozen=True):
    """The files as they were read; without a hosts file that is too long to keep."""

    hosts: str | None = ""
    search: SearchList = SearchList()


class LocalNames:
    """The names that this machine's files know."""

    def __init__(self, files: MachineFiles | None = None) -> None:
        self._files = files if files is not None else MachineFiles()
        self._threads = Threads("read hosts", MAX_THREADS + 1)
        self._turn = asyncio.Lock()
        # Those beyond wait: a search without a thread would say that the file lacks the name.
        self._searches = asyncio.Semaphore(MAX_THREADS)
        self._texts = FileTexts()
        self._read_at = float("-inf")

    async def know(self, host: str) -> LocalKnowledge:
        """Return what the files say of `host`."""
        async with self._turn:
            now = asyncio.get_running_loop().time()
            if now - self._read_at >= KEEP_S:
                self._read_at = now
                with contextlib.suppress(OSError):  # the last ones count
                    self._texts = await self._threads.run(partial(_read, self._files), timeout_s=READ_S)
        texts = self._texts
        if texts.hosts is not None:
            return LocalKnowledge(hosts_addresses(texts.hosts, host), texts.search)
        search = partial(_search, self._files.hosts, host)
        try:
            async with self._searches:
                return LocalKnowledge(await self._threads.run(search, timeout_s=READ_S), texts.search)
        except OSError:
            return LocalKnowledge((), texts.search)


async def machine_names(files: MachineFiles | None = None) -> frozenset[str]:
    """Return the names of this machine, as far as it and its files tell them; empty when the disk hangs."""
    work = partial(_read_names, files if files is not None else MachineFiles())
    try:
        return await Threads("read own names", 1).run(work, timeout_s=READ_S)
    except OSError:
        return frozenset()


def own_names(hostname: str, hosts_text: str, domains: Iterable[str]) -> frozenset[str]:
    """Return the names of the machine called `hostname`, in lower case.

    They are the other names in its lines of hosts(5), and its name completed by each of `domains`, the search list.
    """
    own = hostname.lower().removesuffix(".")
    short = own.partition(".")[0]
    found = {own, *(f"{short}.{domain}" for domain in domains)}
    for line in hosts_text.splitlines():
        names = line.partition("#")[0].lower().split()[1:]
        if own in names or short in names:
            found.update(name.removesuffix(".") for name in names)
    return frozenset(name for name in found if name)


def _read_names(files: MachineFiles) -> frozenset[str]:
    own, search = socket.gethostname(), _read(files).search
    return own_names(own, _head_of(files.hosts, MAX_HOSTS), search.domains)


def _read(files: MachineFiles) -> FileTexts:
    hosts = _head_of(files.hosts, KEEP_CHARACTERS + 1)
    own_domain = socket.gethostname().partition(".")[2]
    return FileTexts(
        hosts if len(hosts) <= KEEP_CHARACTERS else None,
        search_list(_head_of(files.resolv_conf, MAX_RESOLV_CONF), own_domain),
    )


def _search(hosts: Path, host: str) -> tuple[str, ...]:
    return hosts_addresses(_head_of(hosts, MAX_HOSTS), host)


def _head_of(path: Path, most: int) -> str:
    """Return the start of a file; one that cannot be read says nothing."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            return file.read(most)
    except OSError:
        return ""
