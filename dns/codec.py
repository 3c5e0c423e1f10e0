"""DNS messages: bytes to a query, and an answer to bytes (RFC 1035 section 4, RFC 6891).

It reads one kind of message, a query with one question, and writes one kind, its answer. Reading
never raises: any other message yields a `Refusal`, or None when it must not be answered. The codec
knows nothing of services.
"""

from __future__ import annotations

import enum
import struct
from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

import msgspec

from dns.name_limits import MAX_LABEL, MAX_NAME, check_name

MAX_MESSAGE: Final = 65535
MIN_UDP_PAYLOAD: Final = 512
HEADER: Final = 12
CLASS_IN: Final = 1
CLASS_ANY: Final = 255

COOKIE: Final = 10  # EDNS options: RFC 7873, RFC 7828, RFC 8914
KEEPALIVE: Final = 11
EXTENDED_ERROR: Final = 15
_CLIENT_COOKIE: Final = 8  # octets; the server's part has 8 to 32 more

_QR: Final = 0x8000
_AA: Final = 0x0400
_TC: Final = 0x0200
_RD: Final = 0x0100
_RA: Final = 0x0080
_CD: Final = 0x0010
_DO: Final = 0x8000  # in the TTL field of OPT
_QUESTION_AT: Final = b"\xc0\x0c"  # a pointer to the name of the question
_HEADER: Final = struct.Struct("!HHHHHH")
_RR: Final = struct.Struct("!HHIH")

# A name as its labels, without the root: (b"osint", b"vertice", b"internal").
Name: TypeAlias = tuple[bytes, ...]


class Type(enum.IntEnum):
    """The record types in answers, and the types of questions that need special handling."""

    A = 1
    NS = 2
    SOA = 6
    PTR = 12
    HINFO = 13
    TXT = 16
    AAAA = 28
    SRV = 33
    OPT = 41
    TKEY = 249
    TSIG = 250
    IXFR = 251
    AXFR = 252
    MAILB = 253
    MAILA = 254
    ANY = 255


class Rcode(enum.IntEnum):
    """Response codes; those above 15 need an OPT record (RFC 6891 section 6.1.3)."""

    NOERROR = 0
    FORMERR = 1
    SERVFAIL = 2
    NXDOMAIN = 3
    NOTIMP = 4
    REFUSED = 5
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

    @property
    def payload(self) -> int:
        """The octets that the client accepts over UDP."""
        return MIN_UDP_PAYLOAD if self.edns is None else max(MIN_UDP_PAYLOAD, self.edns.payload)


class Refusal(msgspec.Struct, frozen=True):
    """A message that is answered without records. `question` is empty when unreadable.

    With NOERROR it asks only for a cookie (RFC 7873 section 5.4).
    """

    id: int
    flags: int
    rcode: Rcode
    question: bytes = b""
    edns: Edns | None = None


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
    if flags & _QR:
        return None
    rcode = Rcode.NOERROR
    if (flags >> 11) & 0xF:
        rcode = Rcode.NOTIMP
    elif questions > 1:  # RFC 9619
        return Refusal(id_, flags, Rcode.FORMERR)
    name: Name = ()
    question, at, edns = b"", HEADER, None
    try:
        if questions:
            name, at = _question_name(message)
            at += 4
            question = message[HEADER:at]
        edns = _edns(message, at, others)
    except _Broken as broken:
        return Refusal(id_, flags, rcode or Rcode.FORMERR, question, broken.edns)
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


def _edns(message: bytes, at: int, counts: Sequence[int]) -> Edns | None:
    """Walk over the records after the question, and return the contents of the one OPT record."""
    found: Edns | None = None
    end = len(message)
    additional_from = counts[0] + counts[1]
    # Each record takes at least 11 octets, so a false count fails at the end of the message.
    for number in range(sum(counts)):
        owner_at, at = at, _after_name(message, at)
        if at + 10 > end:
            raise _Broken
        type_, class_, ttl, length = _RR.unpack_from(message, at)
        at += 10 + length
        if at > end:
            raise _Broken
        if type_ == Type.OPT:
            # One at most, in the additional section, and owned by the root (RFC 6891 section 6.1.1).
            if found is not None or message[owner_at] != 0 or number < additional_from:
                raise _Broken(found)
            found = Edns(payload=class_, version=(ttl >> 16) & 0xFF, dnssec_ok=bool(ttl & _DO))
            if length:
                found = _with_options(found, message[at - length : at])
    if at != end:
        raise _Broken(found)
    return found


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


def option(code: int, data: bytes) -> bytes:
    """Return one EDNS option."""
    return struct.pack("!HH", code, len(data)) + data


def refuse(refusal: Refusal, *, payload: int, options: bytes = b"", recursion: bool = False) -> bytes:
    """Return the answer to a refused message. `options` are sent to EDNS clients, as in `write`."""
    edns = refusal.edns
    opt = b"" if edns is None else _opt(edns, refusal.rcode, payload, options)
    flags = _QR | (refusal.flags & (0x7800 | _RD | _CD)) | (_RA if recursion else 0) | (refusal.rcode & 0xF)
    header = _HEADER.pack(refusal.id, flags, 1 if refusal.question else 0, 0, 0, 1 if opt else 0)
    return header + refusal.question + opt


def write(
    query: Query, answer: Answer, *, size: int, payload: int, options: bytes = b"", recursion: bool = False
) -> bytes:
    """Return `answer` to `query` in at most `size` octets; `payload` is what we accept over UDP.

    When it does not fit, additional records are dropped first, then answers from the end, and TC is
    set (RFC 2181 section 9) unless a part suffices. `recursion` is whether other names are looked up
    as well.
    """
    opt = b""
    if query.edns is not None:
        opt = _opt(query.edns, answer.rcode, payload, _error_option(answer) + options)
    names = _OwnerNames(query)
    room = size - HEADER - len(query.question) - len(opt)
    answers, fitting = _section(answer.answers, room, names)
    room -= len(answers)
    truncated = fitting < len(answer.answers)
    authority, authorities, additional, additionals = b"", 0, b"", 0
    if not truncated:
        authority, authorities = _section(answer.authority, room, names)
        room -= len(authority)
        truncated = authorities < len(answer.authority)
        if not truncated:
            additional, additionals = _section(answer.additional, room, names)
    if truncated and answer.part_will_do and fitting:
        truncated = False
    truncated = truncated or answer.ask_over_tcp
    flags = (
        _QR
        | (_AA if answer.authoritative else 0)
        | (_TC if truncated else 0)
        | (query.flags & (_RD | _CD))
        | (_RA if recursion else 0)
        | (answer.rcode & 0xF)
    )
    header = _HEADER.pack(query.id, flags, 1, fitting, authorities, additionals + (1 if opt else 0))
    return b"".join((header, query.question, answers, authority, additional, opt))


class _OwnerNames:
    """Writes owner names, each as a pointer into the question or in full.

    The owners of additional records share the zone with the question. Pointing into the question is
    the only compression that pays, and it is simple enough to be safe.
    """

    def __init__(self, query: Query) -> None:
        self._at: dict[Name, int] = {}
        at = HEADER
        for number, label in enumerate(query.name):
            self._at[tuple(part.lower() for part in query.name[number:])] = at
            at += 1 + len(label)

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


def _opt(asked: Edns, rcode: Rcode, payload: int, options: bytes) -> bytes:
    # The version is always ours, 0; DO is copied (RFC 3225 section 3).
    extended = (rcode >> 4) << 24 | (_DO if asked.dnssec_ok else 0)
    return b"\0" + _RR.pack(Type.OPT, payload, extended, len(options)) + options


def _error_option(answer: Answer) -> bytes:
    if answer.extended_error is None:
        return b""
    return option(EXTENDED_ERROR, answer.extended_error.to_bytes(2) + answer.error_text.encode())
