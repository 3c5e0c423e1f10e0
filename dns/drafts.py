"""Drafts: answers as bytes, without what belongs to the hop, which `dns/hop.py` adds to every answer alike. Pure."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Final

import msgspec

from dns.codec import (
    AA,
    CD,
    CLASS_IN,
    EXTENDED_ERROR,
    HEADER,
    OPCODE,
    QR,
    RD,
    TC,
    Answer,
    Name,
    Query,
    Record,
    Refusal,
)
from dns.name_limits import check_name

# The text in a TCP answer from which records had to be left out, and its Extended DNS Error (RFC 8914 section 4.1).
PART: Final = "there are more records than one message holds"
_OTHER: Final = 0
_QUESTION_AT: Final = b"\xc0\x0c"  # a pointer to the name of the question
_MAX_POINTER: Final = 0x3FFF
_HEADER: Final = struct.Struct("!HHHHHH")
_RR: Final = struct.Struct("!HHIH")
_OPTION: Final = struct.Struct("!HH")


class Draft(msgspec.Struct, frozen=True):
    """An answer without an OPT record and without RA."""

    message: bytes
    rcode: int  # all 12 bits, of which the message has 4
    errors: bytes = b""  # Extended DNS Errors, as options
    signature: bytes = b""  # a TSIG record


class Lead(msgspec.Struct, frozen=True):
    """The first records of an answer, which follow the question, as bytes; they end with the alias `name`."""

    records: bytes
    count: int
    name: Name
    name_at: int  # the name's place in the message


def option(code: int, data: bytes) -> bytes:
    """Return one EDNS option."""
    return _OPTION.pack(code, len(data)) + data


def options_in(data: bytes) -> list[tuple[int, int, int]]:
    """Return the code, the start and the end of each whole option."""
    found = []
    at = 0
    while at + _OPTION.size <= len(data):
        code, length = _OPTION.unpack_from(data, at)
        end = at + _OPTION.size + length
        if end > len(data):
            break
        found.append((code, at, end))
        at = end
    return found


def error_option(code: int, text: str = "") -> bytes:
    """Return an Extended DNS Error (RFC 8914)."""
    return option(EXTENDED_ERROR, code.to_bytes(2) + text.encode())


def fitting(options: bytes, room: int) -> bytes:
    """Return the first of `options` that fit into `room` octets."""
    if len(options) <= room:
        return options
    return options[: max((end for _, _, end in options_in(options) if end <= room), default=0)]


def refusal_draft(refusal: Refusal, errors: bytes = b"") -> Draft:
    """Return the draft of the answer to a refused message."""
    flags = QR | (refusal.flags & (OPCODE | RD | CD)) | (refusal.rcode & 0xF)
    header = _HEADER.pack(refusal.id, flags, 1 if refusal.question else 0, 0, 0, 0)
    return Draft(header + refusal.question, refusal.rcode, errors, refusal.signature)


def draft_of(query: Query, answer: Answer, room: int, *, over_tcp: bool = False, lead: Lead | None = None) -> Draft:
    """Return the draft of `answer` to `query` in at most `room` octets, the Extended DNS Errors included.

    When it does not fit, additional records are dropped first, then answers from the end, and TC is set (RFC 2181
    section 9) unless a part suffices. A TCP client cannot be sent anywhere else: a part is all it can get, and an
    Extended DNS Error says so. With `lead`, those records come first, and the answers belong to its name.
    """
    whole_room = room
    room -= HEADER + len(query.question)
    errors = b""
    if query.edns is not None and (answer.extended_error is not None or answer.more_errors):
        errors = fitting(_errors_of(answer), room)
    names = _OwnerNames(query)
    records = answer.answers
    first, leading = b"", 0
    if lead is not None:
        first, leading = lead.records, lead.count
        names.learn(lead.name, lead.name_at)
        records = tuple(msgspec.structs.replace(one, owner=lead.name) if one.owner is None else one for one in records)
    room -= len(errors) + len(first)
    answers, fitted = _section(records, room, names)
    room -= len(answers)
    truncated = fitted < len(records)
    if truncated and over_tcp:
        error = _OTHER if answer.extended_error is None else answer.extended_error
        part = msgspec.structs.replace(answer, part_will_do=True, extended_error=error, error_text=PART)
        return draft_of(query, part, whole_room, lead=lead)
    authority, authorities, additional, additionals = b"", 0, b"", 0
    if not truncated:
        authority, authorities = _section(answer.authority, room, names)
        room -= len(authority)
        truncated = authorities < len(answer.authority)
        if not truncated:
            additional, additionals = _section(answer.additional, room, names)
    if truncated and answer.part_will_do and fitted:
        truncated = False
    flags = (
        QR
        | (AA if answer.authoritative else 0)
        | (TC if truncated or answer.ask_over_tcp else 0)
        | (query.flags & (RD | CD))
        | (answer.rcode & 0xF)
    )
    header = _HEADER.pack(query.id, flags, 1, leading + fitted, authorities, additionals)
    message = b"".join((header, query.question, first, answers, authority, additional))
    return Draft(message, answer.rcode, errors)


class _OwnerNames:
    """Writes owner names, each as a pointer into the question or in full.

    The owners of additional records share the zone with the question. Pointing into the question (and to the end of
    a lead) is the only compression that pays, and it is simple enough to be safe.
    """

    def __init__(self, query: Query) -> None:
        self._at: dict[Name, int] = {}
        at = HEADER
        name = tuple(label.lower() for label in query.name)
        for number, label in enumerate(name):
            self._at[name[number:]] = at
            at += 1 + len(label)

    def learn(self, name: Name, at: int) -> None:
        """Note where a name is written, if a pointer reaches that far."""
        if at <= _MAX_POINTER:
            self._at[name] = at

    def owner(self, name: Name | None) -> bytes:
        """Return the wire form of an owner's name. Raises NameTooLong when it has none."""
        if name is None:
            return _QUESTION_AT
        check_name(name)
        head = bytearray()
        for number, label in enumerate(name):
            at = self._at.get(name[number:])
            if at is not None:
                return bytes(head) + (0xC000 | at).to_bytes(2)
            head.append(len(label))
            head += label
        return bytes(head) + b"\0"


def _section(records: Iterable[Record], room: int, names: _OwnerNames) -> tuple[bytes, int]:
    """Return the first records that fit into `room` octets, and their number."""
    written = bytearray()
    count = 0
    for record in records:
        owner = names.owner(record.owner)
        if len(written) + len(owner) + 10 + len(record.data) > room:
            break
        written += owner
        written += _RR.pack(record.type, CLASS_IN, record.ttl_s, len(record.data))
        written += record.data
        count += 1
    return bytes(written), count


def _errors_of(answer: Answer) -> bytes:
    if answer.extended_error is None:
        return answer.more_errors
    return error_option(answer.extended_error, answer.error_text) + answer.more_errors
