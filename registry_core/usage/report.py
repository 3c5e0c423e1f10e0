"""The report of an agent: how it is, and which services its programs asked for. Part of an acknowledgement of a watch.

Counts run from the agent's start and never fall, so a report that arrives twice, late, or at another replica changes
no sum. Times are ages in seconds, so the clocks of two machines need not agree.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta

from registry_core.usage.limits import (
    ID_DIGITS,
    KEY_DIGITS,
    MAX_AGO_S,
    MAX_COUNT,
    MAX_HOST,
    MAX_LABEL,
    MAX_NAMED,
    MAX_REPORT_PAIRS,
)

Count: TypeAlias = Annotated[int, Meta(ge=0, le=MAX_COUNT)]
Age: TypeAlias = Annotated[float, Meta(ge=0, le=MAX_AGO_S)]
# `$` alone would let a line end through.
ServiceLabel: TypeAlias = Annotated[
    str, Meta(min_length=1, max_length=MAX_LABEL, pattern=r"^[a-z0-9][a-z0-9-]*(?!\n)$")
]
# What an agent says of itself is shown on terminals.
Words: TypeAlias = Annotated[str, Meta(max_length=MAX_HOST, pattern=r"^[!-~]*(?!\n)$")]


class Face(StrEnum):
    """Where a program asks the agent."""

    DNS = "dns"
    HTTP = "http"


class Asked(msgspec.Struct, frozen=True, array_like=True):
    """How often a service was asked for over one face since the agent's start, and how many seconds ago the last time.

    `label` is the service's name as DNS has it. An array on the wire: `["ip-intel", "dns", 12, 3]`.
    """

    label: ServiceLabel
    face: Face
    count: Annotated[int, Meta(ge=1, le=MAX_COUNT)]
    ago_s: Age


class AgentReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent says of itself. Unknown fields are ignored: a later release may say more.

    `key` is known to the agent alone. `sequence` rises with each report. `usage` has what has changed since the last
    report that this replica took, or everything in the first one.
    """

    key: Annotated[str, Meta(pattern=f"^[0-9a-f]{{{KEY_DIGITS}}}(?!\\n)$")]
    sequence: Annotated[int, Meta(ge=1, le=MAX_COUNT)]
    version: Words = ""
    zone: Words = ""
    host: Words = ""
    freshness: Words = ""  # of its view; "" before it has one
    age_s: Age | None = None  # of its view
    services: Annotated[tuple[ServiceLabel, ...], Meta(max_length=MAX_NAMED)] = ()  # its own, in order
    service_count: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    counted_s: Age | None = None  # how long it has counted; None: it does not count
    usage: Annotated[tuple[Asked, ...], Meta(max_length=MAX_REPORT_PAIRS)] = ()
    left_out: Count = 0  # questions that it could not count for lack of room
    ending: bool = False  # its last report


def agent_id_of(key: str) -> str:
    """Return the id of the agent with this key. An id that is seen does not let one report in its name."""
    return hashlib.sha256(b"vertice agent\n" + key.encode()).hexdigest()[:ID_DIGITS]
