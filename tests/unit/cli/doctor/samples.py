"""A machine of which only the settings are known, to which each test adds facts."""

from __future__ import annotations

from typing import Any

import msgspec

from cli.doctor.facts import Facts, Machine, Subject
from cli.doctor.finding import DoctorFinding
from registry_core.settings import Listen

URL = "http://10.0.0.2:8888"
BARE = Facts(
    subject=Subject(
        zone="vertice.internal",
        http_listen=Listen("127.0.0.1", 8880),
        dns_listen=Listen("127.0.0.1", 53),
        registry_urls=(URL,),
    ),
    machine=Machine(),
)


def facts(*, subject: dict[str, Any] | None = None, machine: dict[str, Any] | None = None, **more: Any) -> Facts:
    """Return the bare machine with added facts."""
    return msgspec.structs.replace(
        BARE,
        subject=msgspec.structs.replace(BARE.subject, **subject or {}),
        machine=msgspec.structs.replace(BARE.machine, **machine or {}),
        **more,
    )


def ids(found: list[DoctorFinding]) -> list[str]:
    return [finding.id for finding in found]
