"""Values of a status or a protocol that a later release knows, and this one does not.

A record that has one is kept as it is: the digest is over it, the next reader is told it, and a status that is not
known is not `passing`, so that such an instance is answered with only when nothing passes. What callers of this release
send is never such a value: requests are decoded strictly.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from typing import Any, Final, TypeVar

import msgspec

from registry_core.domain.records import Instance, Protocol, Status

MAX_VALUES: Final = 64  # of each kind; a peer that sends more is no later release, but broken
MAX_LENGTH: Final = 32

_VALUE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]*", re.ASCII)

E = TypeVar("E", bound=enum.StrEnum)

_known: Final[dict[tuple[type[enum.StrEnum], str], enum.StrEnum]] = {}


def enum_value(kind: type[E], text: object) -> E:
    """Return the member of `kind` that `text` names, or a value of `kind` that stands for a text it does not know.

    Raises ValueError for what could be no member of any release.
    """
    if not isinstance(text, str):
        raise ValueError(f"{text!r} is not a valid {kind.__name__}")  # noqa: TRY004 - of wrong input, like any other
    try:
        return kind(text)
    except ValueError:
        if len(text) > MAX_LENGTH or not _VALUE.fullmatch(text):
            raise
    there = _known.get((kind, text))
    if there is None:
        if sum(of is kind for of, _ in _known) >= MAX_VALUES:
            raise ValueError(f"more than {MAX_VALUES} values of {kind.__name__} that are not known here")
        there = str.__new__(kind, text)
        there._name_, there._value_ = text.upper(), text
        _known[kind, text] = there
    assert isinstance(there, kind)
    return there


def record_of(fields: Mapping[str, Any]) -> Instance:
    """Return the record that decoded JSON is, with a status or a protocol that only a later release knows as it is.

    Fields that are not known here are left out. Raises ValueError or MsgspecError for what is no record.
    """
    known = dict(fields)
    status, protocol = known.pop("status", Status.PASSING.value), known.pop("protocol", Protocol.HTTP.value)
    instance = msgspec.convert(known, Instance)
    return msgspec.structs.replace(instance, status=enum_value(Status, status), protocol=enum_value(Protocol, protocol))
