"""Queries: reads their bytes, and defines what is said in answer to them (RFC 1035 section 4, RFC 6891).

It reads one kind of message, a query with one question. Reading never raises: any other message yields a
`Refusal`, or None when it must not be answered. The codec knows nothing of services, and writes nothing:
`dns/drafts.py` does.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Sequence
from typing import Final, TypeAlias

import msgspec

from dns import signatures, wire_names
from dns.name_limits import MAX_LABEL, MAX_NAME

MAX_MESSAGE: Final = 65535
MIN_UDP_PAYLOAD: Final = 512
HEADER: Final = wire_names.HEADER
CLASS_IN: Final = 1
CLASS_ANY: Final = 255

COOKIE: Final = 10  # EDNS options: RFC 7873, RFC 7828, RFC 8914
KEEPALIVE: Final = 11
EXTENDED_ERROR: Final = 15
_CLIENT_COOKIE: Final = 8  # octets; the server's part has 8 to 32 more

# The flags of a header.
QR: Final = 0x8000
OPCODE: Final = 0x7800
AA: Final = 0x0400
TC: Final = 0x0200
RD: Final = 0x0100
RA: Final = 0x0080
AD: Final = 0x0020
CD: Final = 0x0010
DO: Final = 0x8000  # in the TTL field of OPT
_HEADER: Final = struct.Struct("!HHHHHH")
_RR: Final = struct.Struct("!HHIH")

# A name as its labels, without the root: (b"osint", b"vertice", b"internal").
Name: TypeAlias = tuple[bytes, ...]


class Type(enum.IntEnum):
    """The record types in answers, and the types of questions that need special handling."""

    A = 1
    NS = 2
    CNAME = 5
    SOA = 6
    PTR = 12
    TXT = 16
    AAAA = 28
    SRV = 33
    DNAME = 39
    OPT = 41
    TKEY = 249
    TSIG = 250
    IXFR = 251
    AXFR = 252
    MAILB = 253
    MAILA = 254
    ANY = 255


def type_name(qtype: int) -> str:
    """Return the label under which a type is counted; unusual types share one, to keep labels few."""
    try:
        return Type(qtype).name
    except ValueError:
        return "other"


class Rcode(enum.IntEnum):
    """Response codes; those above 15 need an OPT record (RFC 6891 section 6.1.3)."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
    NOTAUTH = 9
    BADVERS = 16
    BADCOOKIE = 23


class Edns(msgspec.Struct, frozen=True):
    """The contents of a query's OPT record."""

    payload: int
    version: int
    dnssec_ok: bool
    has_options: bool = False
    cookie: bytes | None = None  # the client's 8 octets, and the server's if present
    keepalive: bool = False


class Query(msgspec.Struct, frozen=True):
    """A query with one question. `question` is its bytes, which the answer repeats, including the case."""

    id: int
    flags: int
    name: Name
    qtype: int
    qclass: int
    question: bytes
    edns: Edns | None


class Refusal(msgspec.Struct, frozen=True):
    """A message that is answered without records. `question` is empty when unreadable.

    With NOERROR it asks only for a cookie (RFC 7873 section 5.4).
    """

    id: int
    flags: int
    rcode: Rcode
    question: bytes = b""
    edns: Edns | None = None
    signature: bytes = b""  # the TSIG record of the answer


class Record(msgspec.Struct, frozen=True):
    """One resource record. `owner` None means the name of the question."""

    owner: Name | None
    type: Type
    ttl_s: int
    data: bytes


class Answer(msgspec.Struct, frozen=True):
    """An answer, before it is cut to size."""

    rcode: Rcode
    authoritative: bool = True
    answers: tuple[Record, ...] = ()
    authority: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()
    # RFC 8914: an Extended DNS Error's code, sent to EDNS clients.
    extended_error: int | None = None
    error_text: str = ""
    more_errors: bytes = b""  # those of a resolver, as options
    # The answers are alternatives, so a part of them is an answer too (RFC 2181 section 9 asks for TC only
    # where the missing records were required).
    part_will_do: bool = False
    # Only the advice to retry over TCP.
    ask_over_tcp: bool = False


class _Broken(Exception):
    """Raised when a message is truncated or has an invalid pointer.

    `edns` is its OPT record, as far as it could be read: a client that sent one gets one.
    """

    def __init__(self, edns: Edns | None = None) -> None:
        super().__init__()
        self.edns = edns


def read(message: bytes) -> Query | Refusal | None:
    """Return the query in `message`; a Refusal for another kind of request; None for no answer.

    None: the message is too short for an id, or is itself an answer (RFC 8906: answering those causes loops).
    """
    if len(message) < HEADER:
        return None
    id_, flags, questions, *others = _HEADER.unpack_from(message)
    if flags & QR:
        return None
    rcode = Rcode.NOERROR
    if (flags >> 11) & 0xF:
        rcode = Rcode.NOTIMP
    elif questions > 1:  # RFC 9619
        return Refusal(id_, flags, Rcode.FORMERR, edns=_edns_after(message, questions, others))
    name: Name = ()
    question, at, edns, signature = b"", HEADER, None, b""
    try:
        if questions:
            name, at = _question_name(message)
            at += 4
            question = message[HEADER:at]
        edns, signature = _records(message, at, others)
    except _Broken as broken:
        return Refusal(id_, flags, rcode or Rcode.FORMERR, question, broken.edns)
    if signature:
        # RFC 8945 section 5.2.1: no key is known here.
        return Refusal(id_, flags, Rcode.NOTAUTH, question, edns, signature)
    if rcode:
        return Refusal(id_, flags, rcode, question, edns)
    if not questions:
        asks_for_cookie = edns is not None and edns.cookie is not None
        return Refusal(id_, flags, Rcode.NOERROR if asks_for_cookie else Rcode.FORMERR, edns=edns)
    qtype, qclass = struct.unpack_from("!HH", question, len(question) - 4)
    return Query(id_, flags, name, qtype, qclass, question, edns)


def _question_name(message: bytes) -> tuple[Name, int]:
    """Return the name, and the offset of its type and class, which are checked to be there."""
    labels: list[bytes] = []
    at = HEADER
    end = len(message)
    while at < end:
        length = message[at]
        at += 1
        if length == 0:
            if at + 4 > end:
                break
            return tuple(labels), at
        # There is nothing before the question that a pointer could lead to.
        if length > MAX_LABEL or at + length > end or at + length - HEADER >= MAX_NAME:
            break
        labels.append(message[at : at + length])
        at += length
    raise _Broken


def _edns_after(message: bytes, questions: int, counts: Sequence[int]) -> Edns | None:
    """Return the contents of the OPT record after several questions, as far as they can be read."""
    at = HEADER
    try:
        for _ in range(questions):  # each takes at least 5 octets, so a false count fails at the end of the message
            at = _after_name(message, at) + 4
        return _records(message, at, counts)[0]
    except _Broken as broken:
        return broken.edns


def _records(message: bytes, at: int, counts: Sequence[int]) -> tuple[Edns | None, bytes]:
    """Walk over the records after the question: return the contents of the one OPT record, and a TSIG's answer."""
    found: Edns | None = None
    signature, misplaced = b"", False
    end = len(message)
    additional_from = counts[0] + counts[1]
    # Each record takes at least 11 octets, so a false count fails at the end of the message.
    for number in range(sum(counts)):
        owner_at, at = at, _after_name(message, at)
        if at + 10 > end:
            raise _Broken(found)
        type_, class_, ttl, length = _RR.unpack_from(message, at)
        at += 10 + length
        if at > end:
            raise _Broken(found)
        misplaced = misplaced or bool(signature)  # RFC 8945 section 5.2: a TSIG record comes last
        if type_ == Type.OPT:
            # One at most, in the additional section, and owned by the root (RFC 6891 section 6.1.1).
            if found is not None or message[owner_at] != 0 or number < additional_from:
                raise _Broken(found)
            found = Edns(payload=class_, version=(ttl >> 16) & 0xFF, dnssec_ok=bool(ttl & DO))
            if length:
                found = _with_options(found, message[at - length : at])
        elif type_ == Type.TSIG and not misplaced:  # at most once: a message could hold hundreds
            signature = signatures.bad_key(message[:at], owner_at, at - 10 - length) or b""
            misplaced = misplaced or not signature or number < additional_from
    if at != end or misplaced:
        raise _Broken(found)
    return found, signature


def _with_options(edns: Edns, data: bytes) -> Edns:
    """Return `edns` with its options; unknown ones are skipped."""
    at, end = 0, len(data)
    cookie: bytes | None = None
    keepalive = False
    while at < end:
        if at + 4 > end:
            raise _Broken(edns)
        code, length = struct.unpack_from("!HH", data, at)
        at += 4 + length
        if at > end:
            raise _Broken(edns)
        if code == COOKIE and cookie is None:  # all but the first are ignored (RFC 7873 section 5.2)
            if length != _CLIENT_COOKIE and not 2 * _CLIENT_COOKIE <= length <= 5 * _CLIENT_COOKIE:
                raise _Broken(edns)
            cookie = data[at - length : at]
        elif code == KEEPALIVE:
            keepalive = True
    return msgspec.structs.replace(edns, has_options=True, cookie=cookie, keepalive=keepalive)


def _after_name(message: bytes, at: int) -> int:
    end = len(message)
    while at < end:
        length = message[at]
        if length == 0:
            return at + 1
        if length >= 0xC0:  # a pointer ends a name; its target does not matter
            return at + 2
        if length > MAX_LABEL:
            break
        at += 1 + length
    raise _Broken
