"""Judges the system's limits on a process: open files, and the receive buffer for datagrams. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from cli.doctor.facts import Facts
from cli.doctor.finding import DoctorFinding, DoctorRule, DoctorSeverity
from dns.udp import RECEIVE_BUFFER

# The agent accepts 1000 HTTP connections and some for DNS over TCP, and has its own to the registry.
ENOUGH_FILES: Final = 1024

FILES = DoctorRule("open-files", DoctorSeverity.OK, "a process may have {files} files and connections open")
FEW_FILES = DoctorRule(
    "open-files-few",
    DoctorSeverity.WARNING,
    "a process may have {files} files and connections open",
    "a burst of connections uses them up, and the agent accepts no new ones for a while",
    "ulimit -n 4096    # for Docker `ulimits: {{nofile: 4096}}`; for systemd LimitNOFILE=4096",
)
BUFFER = DoctorRule("receive-buffer", DoctorSeverity.OK, "the DNS socket gets its receive buffer")
SMALL_BUFFER = DoctorRule(
    "receive-buffer-small",
    DoctorSeverity.NOTE,
    "net.core.rmem_max is {limit} bytes, but the DNS socket wants {wanted}",
    "a burst of more than a few hundred queries loses some, which clients repeat seconds later",
    "sysctl -w net.core.rmem_max={wanted}    # on the host",
)
KINDS: Final = (FILES, FEW_FILES, BUFFER, SMALL_BUFFER)


def judge(facts: Facts) -> Iterator[DoctorFinding]:
    """Return the findings on the limits that are visible."""
    files, limit = facts.machine.open_files, facts.machine.rmem_max
    if files is not None:
        yield (FILES if files >= ENOUGH_FILES else FEW_FILES).found(files=files)
    if limit is not None:
        kind = BUFFER if limit >= RECEIVE_BUFFER else SMALL_BUFFER
        yield kind.found(limit=limit, wanted=RECEIVE_BUFFER)
