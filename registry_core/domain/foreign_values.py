"""Status and protocol values that a later release knows and this one does not.

A record with such a value is kept unchanged: the digest covers it, and the next reader gets it. An unknown status is
not `passing`, so such an instance is in an answer only when none passes. Requests are decoded strictly, so callers
cannot send such values.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

from registry_core.domain.records import Instance, Protocol, Status

MAX_VALUES: Final = 64  # of each kind; a peer that sends more is broken, not a later release
MAX_LENGTH: Final = 32

_VALUE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*", re.ASCII)

E = TypeVar("E", bound=enum.StrEnum)

_known: Final[dict[tuple[type[enum.StrEnum], str], enum.StrEnum]] = {}


def enum_value(kind: type[E], text: object) -> E:
    """Return the member of `kind` that `text` names, or a value of `kind` that stands for an unknown text.

    Raises ValueError for a text that no release could use.
    """
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is not a valid {kind.__name__}")  # noqa: TRY004 - wrong input like any other
    try:
        return kind(text)
    except ValueError:
        if len(text) > MAX_LENGTH or not _VALUE.fullmatch(text):
            raise
    there = _known.get((kind, text))
    if there is None:
        if sum(of is kind for of, _ in _known) >= MAX_VALUES:
            raise ValueError(f"more than {MAX_VALUES} unknown values of {kind.__name__}")
        there = str.__new__(kind, text)
        there._name_, there._value_ = text.upper(), text
        _known[kind, text] = there
    assert isinstance(there, kind)
    return there


def record_of(fields: Mapping[str, Any]) -> Instance:
    """Return decoded JSON as a record, and keep a status or protocol that only a later release knows.

    It drops unknown fields. Raises ValueError or MsgspecError when the JSON is not a record.
    """
    known = dict(fields)
    status, protocol = known.pop("status", Status.PASSING.value), known.pop("protocol", Protocol.HTTP.value)
    instance = msgspec.convert(known, Instance)
    return msgspec.structs.replace(instance, status=enum_value(Status, status), protocol=enum_value(Protocol, protocol))
