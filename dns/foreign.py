"""Messages of other servers: builds the question to a resolver, and checks the reply.

All present and future types of records pass: of the common types the data are checked, of the others only the
owner, the TTL and the length. Reading never raises. Pure; the id and the random bits are passed in.
"""

from __future__ import annotations

import enum
import struct
from typing import Final

import msgspec

from dns.codec import AD, CD, CLASS_IN, DO, EXTENDED_ERROR, HEADER, OPCODE, QR, RD, Name, Query, Rcode, Type
from dns.drafts import options_in
from dns.foreign_records import is_whole
from dns.wire_names import FIXED_FIELDS, WireNames, name_at

PAYLOAD: Final = 1232
# RFC 2181 section 8: a TTL with the highest bit set is 0.
_MAX_TTL: Final = 0x7FFFFFFF
# More records would not fit into any real message; the bound limits the work that a packet can cause.
_MAX_RECORDS: Final = 4096
# How many octets of a resolver's Extended DNS Errors (RFC 8914) are passed on.
_MAX_ERRORS: Final = 256
# Aliases that are followed, one to the next: resolvers follow about as many.
MAX_ALIASES: Final = 16

# An EDNS option for local use (RFC 6891 section 9): the agents a question has passed, 8 octets each.
VIA: Final = 65313
VIA_OCTETS: Final = 8

_HEADER: Final = struct.Struct("!HHHHHH")
_RR: Final = struct.Struct("!HHIH")
_OPTION: Final = struct.Struct("!HH")


class Inquiry(msgspec.Struct, frozen=True):
    """What a query asks, independent of the client. Queries with the same `key` have the same answer."""

    question: bytes  # in lower case
    name: Name  # in lower case
    qtype: int
    flags: int  # AD and CD
    dnssec_ok: bool

    @property
    def key(self) -> bytes:
        return self.question + bytes((self.flags | self.dnssec_ok,))


class Sent(msgspec.Struct, frozen=True):
    """A question as it was sent; replies are checked against it."""

    id: int
    question: bytes
    with_edns: bool
    message: bytes


class Odd(enum.Enum):
    """Replies that call for another try."""

    OTHER_CASE = "the question came back in other case"
    NO_EDNS = "the server does not know EDNS"


class Mark(msgspec.Struct, frozen=True):
    """The place of a record: its section (0 answers, 1 authority, 2 additional), and its end.

    It starts where the one before ends, the first one after the question.
    """

    section: int
    type: int
    ttl_s: int
    ttl_at: int
    end: int


class ForeignReply(msgspec.Struct, frozen=True):
    """An answer from a resolver. `message` ends with its last record and contains no OPT."""

    message: bytes
    flags: int
    rcode: int
    marks: tuple[Mark, ...]
    errors: bytes  # Extended DNS Errors, as options
    question_end: int
    # The names that the question's name is an alias of, one after the other: uncompressed, in lower case.
    aliases: tuple[bytes, ...] = ()


def inquiry_of(query: Query) -> Inquiry:
    """Return the Inquiry of `query`."""
    return inquiry(query.question, query.flags, dnssec_ok=query.edns is not None and query.edns.dnssec_ok)


def inquiry(question: bytes, flags: int = 0, *, dnssec_ok: bool = False) -> Inquiry:
    """Return the Inquiry of `question`, the bytes of a question."""
    # Length octets are below those of letters; the type and class after the name are not.
    lower = question[:-4].lower() + question[-4:]
    labels: list[bytes] = []
    at = 0
    while lower[at]:
        labels.append(lower[at + 1 : at + 1 + lower[at]])
        at += 1 + lower[at]
    qtype = int.from_bytes(lower[-4:-2])
    return Inquiry(lower, tuple(labels), qtype, flags & (AD | CD), dnssec_ok)


def mixed_case(question: bytes, bits: int) -> bytes:
    """Return `question` with the case of each letter of its name set by a bit of `bits` ("0x20")."""
    mixed = bytearray(question)
    for at in range(len(mixed) - 4):
        if 0x61 <= mixed[at] | 0x20 <= 0x7A:
            mixed[at] = (mixed[at] | 0x20) ^ ((bits & 1) << 5)
            bits >>= 1
    return bytes(mixed)


def outgoing(asked: Inquiry, id_: int, question: bytes, via: bytes, *, with_edns: bool) -> Sent:
    """Return the question to send to a resolver: RD set, our own OPT, the client's DO, AD and CD.

    `question` is that of `asked` in the case to send; `via` lists the agents it has passed, ours last.
    """
    message = _HEADER.pack(id_, RD | asked.flags, 1, 0, 0, 1 if with_edns else 0) + question
    if with_edns:
        option = _OPTION.pack(VIA, len(via)) + via
        message += b"\0" + _RR.pack(Type.OPT, PAYLOAD, DO if asked.dnssec_ok else 0, len(option)) + option
    return Sent(id_, question, with_edns, message)


def judge(message: bytes, sent: Sent) -> ForeignReply | Odd | None:
    """Return `message` as the answer to `sent`, or None when it is not one and the wait continues.

    The id, QR, opcode and question must match `sent` (RFC 5452 section 9.1); the socket checks the address
    and the port. A malformed answer to this very question counts as the resolver's failure: it is SERVFAIL
    without records (with TC it may be whole over TCP).
    """
    if len(message) < HEADER:
        return None
    id_, flags, questions, *counts = _HEADER.unpack_from(message)
    if id_ != sent.id or not flags & QR or flags & OPCODE:
        return None
    rcode = flags & 0xF
    if questions == 0 and len(message) == HEADER and rcode in (Rcode.FORMERR, Rcode.NOTIMP):
        # RFC 6891 section 7: a server that does not know OPT may send a bare header.
        return Odd.NO_EDNS if sent.with_edns else None
    end = HEADER + len(sent.question)
    if questions != 1 or len(message) < end:
        return None
    asked = message[HEADER:end]
    if asked != sent.question:
        same = asked[-4:] == sent.question[-4:] and asked[:-4].lower() == sent.question[:-4].lower()
        return Odd.OTHER_CASE if same else None
    reply = _read(message, flags, end, counts)
    if reply is None and rcode not in (Rcode.FORMERR, Rcode.NOTIMP):
        rcode = Rcode.SERVFAIL
    if reply is None:
        reply = ForeignReply(message[:end], flags, rcode, (), b"", end)
    if reply.rcode in (Rcode.FORMERR, Rcode.NOTIMP) and sent.with_edns:
        return Odd.NO_EDNS
    return reply


def _read(message: bytes, flags: int, at: int, counts: list[int]) -> ForeignReply | None:
    """Walk over the records; return None when one is malformed, or when they do not match the header."""
    question_end = at
    names = WireNames(message)
    marks: list[Mark] = []
    zeroed: list[int] = []  # where the TTLs are that mean 0
    rcode = flags & 0xF
    errors = b""
    opt_at = 0
    if sum(counts) > _MAX_RECORDS or names.end(HEADER) != question_end - 4:
        return None
    for section, count in enumerate(counts):
        for _ in range(count):
            start = at
            name_end = names.end(at)
            if name_end is None or name_end + FIXED_FIELDS > len(message):
                return None
            type_, class_, ttl, length = _RR.unpack_from(message, name_end)
            names.fields_at(name_end)
            at = name_end + FIXED_FIELDS + length
            if at > len(message):
                return None
            if type_ == Type.OPT:
                if opt_at or section != 2 or message[start] != 0:
                    return None
                opt_at = start
                rcode |= (ttl >> 24) << 4
                errors = _errors(message[at - length : at])
            elif not opt_at:
                if class_ != CLASS_IN or not is_whole(message, type_, at - length, at, names):
                    return None
                # Records after OPT can only point to themselves: being additional, they are dropped with it.
                if ttl > _MAX_TTL:
                    ttl = 0
                    zeroed.append(name_end + 4)
                marks.append(Mark(section, type_, ttl, name_end + 4, at))
    kept = bytearray(message[: opt_at or at])
    for ttl_at in zeroed:
        kept[ttl_at : ttl_at + 4] = bytes(4)
    whole = bytes(kept)
    return ForeignReply(whole, flags, rcode, tuple(marks), errors, question_end, _aliases(whole, question_end, marks))


def _aliases(message: bytes, question_end: int, marks: list[Mark]) -> tuple[bytes, ...]:
    """Return the names that CNAME records lead to from the question's name; a loop ends with its first repetition."""
    targets: dict[bytes, bytes] = {}
    start = question_end
    for mark in marks:
        if mark.section == 0 and mark.type == Type.CNAME:
            targets[name_at(message, start)] = name_at(message, mark.ttl_at + 6)
        start = mark.end
    found: dict[bytes, None] = {}
    name = targets.get(name_at(message, HEADER)) if targets else None
    while name is not None and name not in found and len(found) < MAX_ALIASES:
        found[name] = None
        name = targets.get(name)
    return tuple(found)


def _errors(options: bytes) -> bytes:
    kept = b""
    for code, start, end in options_in(options):
        if code == EXTENDED_ERROR and end - start >= 6 and len(kept) + end - start <= _MAX_ERRORS:
            kept += options[start:end]
    return kept


def _after_name(message: bytes, at: int) -> int | None:
    while at < len(message):
        length = message[at]
        if length == 0:
            return at + 1
        if length >= 0xC0:
            return at + 2
        if length > 63:
            return None
        at += 1 + length
    return None


def via_of(message: bytes, query: Query) -> bytes:
    """Return the agents that the well-formed query in `message` has passed."""
    at = HEADER + len(query.question)
    for _ in range(sum(_HEADER.unpack_from(message)[3:])):
        name_end = _after_name(message, at)
        if name_end is None or name_end + _RR.size > len(message):
            break
        type_, _, _, length = _RR.unpack_from(message, name_end)
        at = name_end + _RR.size + length
        if type_ == Type.OPT:
            options = message[at - length : at]
            for code, start, end in options_in(options):
                if code == VIA:
                    whole = (end - start - _OPTION.size) // VIA_OCTETS * VIA_OCTETS
                    return options[start + _OPTION.size :][:whole]
    return b""


def lifetime_s(reply: ForeignReply, qtype: int) -> int:
    """Return how long a reply may be cached, in seconds; 0 means not at all.

    Positive: the smallest TTL of the answers. Negative (RFC 2308 section 5): as the SOA says, and 0 without one.
    """
    ttls = [mark.ttl_s for mark in reply.marks if mark.section == 0]
    positive = reply.rcode == Rcode.NOERROR and any(
        mark.section == 0 and qtype in (mark.type, Type.ANY) for mark in reply.marks
    )
    if not positive:
        soa = next((mark for mark in reply.marks if mark.section == 1 and mark.type == Type.SOA), None)
        if soa is None:
            return 0
        ttls += [soa.ttl_s, int.from_bytes(reply.message[soa.end - 4 : soa.end])]
    return min(ttls)


def can_be_forwarded(query: Query) -> bool:
    """Return whether a question that the zone refuses is for a foreign name, rather than for an unsupported type."""
    return query.qclass == CLASS_IN and query.qtype not in (Type.AXFR, Type.IXFR)
