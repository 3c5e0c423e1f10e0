"""The lines of an audit log: JSON objects, one for each entry. Pure."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from typing import Final

import msgspec

from registry_core.ports.audit import AuditEntry

# Entries about the log itself have these operations.
OPENED: Final = "audit-opened"
CLOSED: Final = "audit-closed"
REMOVED: Final = "audit-removed"
LOST: Final = "audit-lost"
DISPUTED: Final = "audit-disputed"
DONE: Final = "done"
_ENCODER: Final = msgspec.json.Encoder()


class CountedEntry(msgspec.Struct, frozen=True):
    """Entries that differ in little but their time: the last of them, how many there were, and when the first was."""

    entry: AuditEntry
    times: int
    since: float  # Unix seconds


class AuditLine(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One line. Texts that are empty are left out."""

    time: str  # ISO 8601, UTC
    replica: str
    operation: str
    result: str
    status: int = 0  # of the answer (HTTP); 0: the line is about the log itself
    service: str = ""
    instance: str = ""
    who: str = ""
    proof: str = ""
    key_id: str = ""
    client: str = ""
    reason: str = ""
    trace_id: str = ""
    times: int = 1
    since: str = ""


def line_of(entry: AuditEntry | CountedEntry, replica: str) -> bytes:
    """Return the line of an entry, without a line end. `replica` is the name of the log's replica."""
    if isinstance(entry, AuditEntry):
        # Nearly all are, and one without a line of its own: it is encoded as it is, but for its time.
        try:
            rest = _ENCODER.encode(entry).partition(b",")[2]
        except UnicodeEncodeError:  # a request may name a service in octets that are no text
            return _ENCODER.encode(_as_text(_line(entry, replica)))
        return b'{"time":"%b","replica":%b,%b' % (iso(entry.time).encode(), _as_json(replica), rest)
    line = _line(entry.entry, replica)
    line.times, line.since = entry.times, iso(entry.since)
    try:
        return _ENCODER.encode(line)
    except UnicodeEncodeError:
        return _ENCODER.encode(_as_text(line))


@functools.lru_cache(maxsize=8)  # a log has one replica
def _as_json(text: str) -> bytes:
    return _ENCODER.encode(text)


def about_log(operation: str, time: float, reason: str = "", *, result: str = DONE) -> AuditEntry:
    """Return an entry about the log itself."""
    return AuditEntry(time=time, operation=operation, status=0, result=result, reason=reason)


def iso(time: float) -> str:
    """Return Unix seconds in ISO 8601, UTC, with milliseconds."""
    milliseconds = int(time * 1000)
    return f"{_second(milliseconds // 1000)}.{milliseconds % 1000:03d}Z"


@functools.lru_cache(maxsize=64)
def _second(time: int) -> str:
    """Return a second in ISO 8601: most entries of a batch share it."""
    return datetime.fromtimestamp(time, UTC).isoformat()[:-6]


def day_of(time: float) -> str:
    """Return the day (UTC, YYYYMMDD) of Unix seconds."""
    return datetime.fromtimestamp(time, UTC).strftime("%Y%m%d")


def _line(entry: AuditEntry, replica: str) -> AuditLine:
    return AuditLine(
        time=iso(entry.time),
        replica=replica,
        operation=entry.operation,
        result=entry.result,
        status=entry.status,
        service=entry.service,
        instance=entry.instance,
        who=entry.who,
        proof=entry.proof,
        key_id=entry.key_id,
        client=entry.client,
        reason=entry.reason,
        trace_id=entry.trace_id,
    )


def _as_text(line: AuditLine) -> AuditLine:
    texts = {name: value for name, value in msgspec.structs.asdict(line).items() if isinstance(value, str)}
    clean = {name: text.encode("utf-8", "replace").decode() for name, text in texts.items()}
    return msgspec.structs.replace(line, **clean)
