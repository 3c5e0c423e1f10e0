"""The settings of the audit log."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Final

import msgspec

from registry_core.security.audit.origins import replica_name
from registry_core.setting_values import Values
from registry_core.settings import Setting, choice, positive_seconds, switch, text

REFUSE: Final = "refuse"
CONTINUE: Final = "continue"
DAY_S: Final = 86_400
_MB: Final = 1024 * 1024
_UNITS: Final = {"kb": 1024, "mb": _MB, "gb": 1024 * _MB}
_SIZE: Final = re.compile(r"(\d{1,6})\s*(kb|mb|gb)", re.ASCII | re.IGNORECASE)
_DAYS: Final = re.compile(r"(\d{1,5})\s*d", re.ASCII)
MIN_SEGMENT: Final = 64 * 1024
MAX_SEGMENT: Final = 4 * 1024 * _MB


class KeptDays(int):
    """A number of days: `90d`."""

    def __str__(self) -> str:
        """Return it as it is written."""
        return f"{int(self)}d"


class SegmentSize(int):
    """A number of bytes: `64MB`."""

    def __str__(self) -> str:
        """Return it as it is written, in the largest unit."""
        unit = next((unit for unit in ("gb", "mb") if self % _UNITS[unit] == 0), "kb")
        return f"{self // _UNITS[unit]}{unit.upper()}"


def _folder(value: str) -> Path | None:
    if text(value).strip().lower() in ("off", "no", "none"):
        return None
    path = Path(value.strip())
    if not path.is_absolute() or "\0" in value:
        raise ValueError("it is neither `off` nor an absolute path")
    return path


def _keep(value: str) -> KeptDays:
    days = _DAYS.fullmatch(value.strip())
    kept = int(days[1]) if days is not None else int(positive_seconds(value) // DAY_S)
    if kept < 1:
        raise ValueError("it must be a day or more")
    return KeptDays(kept)


def _segment(value: str) -> SegmentSize:
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise ValueError("it is not a size")
    size = int(match[1]) * _UNITS[match[2].lower()]
    if not MIN_SEGMENT <= size <= MAX_SEGMENT:
        raise ValueError("it is not between 64 KB and 4 GB")
    return SegmentSize(size)


AUDIT: Final[Setting[Path | None]] = Setting(
    "REGISTRY_AUDIT",
    _folder,
    None,
    "the folder of the audit log, each replica its own: who wrote what, and who was refused; if unset, none is kept",
    "/var/lib/vertice/audit",
)
NAME: Final[Setting[str]] = Setting(
    "REGISTRY_AUDIT_NAME",
    replica_name,
    "",
    "the name of this replica in the audit, which no other has; if unset, the host's name and a random part, chosen "
    "when the log is begun",
    "eu-1a",
)
KEEP: Final = Setting(
    "REGISTRY_AUDIT_KEEP",
    _keep,
    KeptDays(90),
    "how long lines of the audit are kept, in whole days; the hashes of removed ones stay",
    "90d",
)
SEGMENT: Final = Setting(
    "REGISTRY_AUDIT_SEGMENT",
    _segment,
    SegmentSize(64 * _MB),
    "how large a file of the audit gets before the next is begun; each day begins one as well",
    "64MB",
)
FULL: Final = Setting(
    "REGISTRY_AUDIT_FULL",
    choice(CONTINUE, REFUSE),
    CONTINUE,
    "what to do while the audit cannot be written, as on a full disk: `continue` without it, say so, and count what is "
    "missing; or `refuse` writes (503), but no heartbeats",
    "refuse",
)
SYNC: Final = Setting(
    "REGISTRY_AUDIT_SYNC",
    switch,
    True,
    "whether lines are on the disk before a head is signed over them; `off` leaves that to the system, and a power "
    "failure then looks like a log that was cut short",
    "off",
)
HEARTBEATS: Final = Setting(
    "REGISTRY_AUDIT_HEARTBEATS",
    switch,
    False,
    "whether heartbeats that renewed their leases get a line as well; refused ones always do",
    "on",
)
AUDIT_SETTINGS: Final[tuple[Setting[Any], ...]] = (AUDIT, NAME, KEEP, SEGMENT, FULL, SYNC, HEARTBEATS)


class AuditSettings(msgspec.Struct, frozen=True):
    """The settings of one replica's audit log; without a folder there is none."""

    folder: Path | None = None
    name: str = ""
    keep_days: int = KEEP.default
    segment_bytes: int = SEGMENT.default
    refuses: bool = False  # writes, while the log cannot be written
    syncs: bool = True
    heartbeats: bool = False


def audit_settings(values: Values) -> AuditSettings:
    """Return the settings of the audit log in `values`."""
    return AuditSettings(
        folder=values[AUDIT],
        name=values[NAME],
        keep_days=values[KEEP],
        segment_bytes=values[SEGMENT],
        refuses=values[FULL] == REFUSE,
        syncs=values[SYNC],
        heartbeats=values[HEARTBEATS],
    )
