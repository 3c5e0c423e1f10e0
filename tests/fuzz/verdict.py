"""What must hold for every answer, whatever the query: rules checked with dnslib and a small parser of our own.

They know nothing about how the answer was made. A complaint is a sentence; an empty list means that all is well.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

import dnslib

HEADER: Final = 12
PLAIN_PAYLOAD: Final = 512
OUR_PAYLOAD: Final = 1232
MAX_MESSAGE: Final = 65535
TTL_S: Final = 5
OPT: Final = 41
SOA: Final = 6
ANY: Final = 255
TSIG: Final = 250
MAILB, MAILA = 253, 254
NOERROR, FORMERR, NXDOMAIN, NOTIMP, REFUSED, NOTAUTH, BADVERS, BADCOOKIE = 0, 1, 3, 4, 5, 9, 16, 23
ERRORS: Final = (FORMERR, NOTIMP, REFUSED, NOTAUTH, BADVERS, BADCOOKIE)
# What an answer without records may be longer than its query: an Extended DNS Error, a server's part of a cookie, the
# time in a keepalive; and the SOA.
ERROR_OCTETS: Final = 6 + 16 + 2
SOA_OCTETS: Final = ERROR_OCTETS + 82


class Record(NamedTuple):
    """The fixed fields of a record, and its section."""

    section: int  # 1 answer, 2 authority, 3 additional
    type: int
    class_: int
    ttl: int


class PassedOver(Exception):
    """Raised when a message is malformed."""


def wants_silence(query: bytes) -> bool:
    """Return whether a message must not be answered: it is shorter than a header, or is an answer itself."""
    return len(query) < HEADER or bool(query[2] & 0x80)


def complaints(query: bytes, answer: bytes, *, over_tcp: bool) -> list[str]:
    """Return the complaints about an answer."""
    if wants_silence(query):
        return ["it answers a message that must not be answered"]
    if len(answer) < HEADER:
        return ["it is shorter than a DNS header"]
    found = _of_header(query, answer)
    try:
        question, records = walk(answer)
        read = dnslib.DNSRecord.parse(_in_ascii(answer))
    except (PassedOver, dnslib.DNSError) as error:
        return [*found, f"it cannot be parsed: {error}"]
    rcode = (answer[3] & 0xF) | next((r.ttl >> 24 << 4 for r in records if r.type == OPT), 0)
    found += _of_query(query, rcode)
    found += _of_question(query, answer, question, rcode)
    found += _of_size(query, answer, records, rcode, over_tcp=over_tcp)
    found += _of_records(read, records, rcode)
    return found


def _in_ascii(message: bytes) -> bytes:
    """Return a message that can be walked, its labels in ASCII: dnslib rejects others, which are valid on the wire."""
    plain = bytearray(message)
    for at in _names(message):
        while 0 < (length := message[at]) < 0xC0:  # up to the root, or a pointer to a name that is looked at itself
            label = slice(at + 1, at + 1 + length)
            plain[label] = bytes(c if c < 0x80 else 0x78 for c in message[label])
            at = label.stop  # noqa: PLW2901 - from label to label
    return bytes(plain)


def _of_header(query: bytes, answer: bytes) -> list[str]:
    asked, given = (int.from_bytes(message[2:4]) for message in (query, answer))
    rules = {
        "the id differs": answer[:2] != query[:2],
        "QR is not set": not given & 0x8000,
        "the opcode differs": (asked ^ given) & 0x7800,
        "RD is not copied": (asked ^ given) & 0x0100,
        "a reserved bit is set": given & 0x0040,
        "AD is set": given & 0x0020,
    }
    return [complaint for complaint, broken in rules.items() if broken]


def _of_query(query: bytes, rcode: int) -> list[str]:
    """Check that malformed queries get FORMERR (RFC 6891 section 6.1.1, RFC 9619)."""
    if query[2] >> 3 & 0xF or rcode == FORMERR:
        return []
    try:
        _, records = walk(query)
    except PassedOver:
        return ["a malformed query does not get FORMERR"]
    found = []
    if int.from_bytes(query[4:6]) > 1:
        found.append("several questions do not get FORMERR")
    if sum(r.type == OPT for r in records) > 1:
        found.append("several OPT records are not FORMERR")
    if any(r.type == TSIG for r in records) != (rcode == NOTAUTH):
        found.append("NOTAUTH is for messages that are signed, and for no others")
    return found


def _of_question(query: bytes, answer: bytes, question: int, rcode: int) -> list[str]:
    asked, repeated = (int.from_bytes(message[4:6]) for message in (query, answer))
    found = []
    # SERVFAIL is for an incomplete view, and for faults of ours; the view here is complete.
    if rcode not in (NOERROR, NXDOMAIN, *ERRORS):
        found.append(f"rcode {rcode} is not justified")
    opcode = query[2] >> 3 & 0xF
    qtype = int.from_bytes(answer[question - 4 : question - 2]) if repeated else 0
    if opcode and rcode not in (NOTIMP, NOTAUTH):
        found.append("another opcode is not NOTIMP")
    if rcode == NOTIMP and not opcode and qtype not in (MAILA, MAILB):
        found.append("NOTIMP is not justified")
    if not repeated and asked and rcode not in (FORMERR, NOTIMP):
        found.append("the question is missing")
    if repeated == 1 and query[HEADER:question] != answer[HEADER:question]:
        found.append("the question differs")
    if repeated > 1:
        found.append("it has several questions")
    return found


def _of_size(query: bytes, answer: bytes, records: list[Record], rcode: int, *, over_tcp: bool) -> list[str]:
    found = []
    has_opt = any(r.type == OPT for r in records)
    if has_opt and b"\0\0\x29" not in query:
        found.append("OPT in an answer to a query without one")
    payload = min(max(PLAIN_PAYLOAD, advertised(query) or 0), OUR_PAYLOAD) if has_opt else PLAIN_PAYLOAD
    limit = MAX_MESSAGE if over_tcp else payload
    if len(answer) > limit:
        found.append(f"it has {len(answer)} octets, more than the limit of {limit}")
    if over_tcp and answer[2] & 2:
        found.append("it is truncated over TCP")
    more = len(answer) - len(query)
    if rcode in ERRORS and more > ERROR_OCTETS:
        found.append(f"an error is {more} octets longer than the query")
    if not any(r.section == 1 for r in records) and more > SOA_OCTETS:
        found.append(f"an answer without answer records is {more} octets longer than the query")
    return found


def _of_records(read: dnslib.DNSRecord, records: list[Record], rcode: int) -> list[str]:
    answers = [r for r in records if r.section == 1]
    types = {r.type for r in answers}
    qtypes = {q.qtype for q in read.questions}
    authority = [r.type for r in records if r.section == 2]
    found = []
    if any(r.type == OPT and r.section != 3 for r in records) or sum(r.type == OPT for r in records) > 1:
        found.append("OPT is out of place")
    if any(r.ttl > TTL_S or r.class_ != 1 for r in records if r.type not in (OPT, TSIG)):
        found.append("a record lives too long, or is of another class")
    if rcode != NOERROR and answers:
        found.append("an error with answers")
    if rcode in ERRORS and any(r.type not in (OPT, TSIG) for r in records):
        found.append("an error with records")
    if rcode == NXDOMAIN and authority != [SOA]:
        found.append("an NXDOMAIN without SOA")
    if rcode == NOERROR and read.questions and not answers and authority != [SOA] and not read.header.tc:
        found.append("nothing at all, and not even an SOA")
    if [r.type for r in records[-1:]].count(TSIG) != (rcode == NOTAUTH):
        found.append("a TSIG record is for NOTAUTH, and comes last")
    if not types <= qtypes and not (ANY in qtypes and len(types) == 1):
        found.append("another type than was asked for")
    if not {rr.rname for rr in read.rr} <= {q.qname for q in read.questions}:
        found.append("a record of another name than queried")
    return found


# -- reading


def _names(message: bytes) -> list[int]:
    """Return where the names of the questions and the owners of the records begin."""
    questions, *counts = struct.unpack_from("!4H", message, 4)
    at, names = HEADER, []
    for number in range(questions + sum(counts)):
        names.append(at)
        at = _after_name(message, at)
        at += 4 if number < questions else 10 + int.from_bytes(message[at + 8 : at + 10])
    return names


def walk(message: bytes) -> tuple[int, list[Record]]:
    """Return where the questions end, and the records. Raises PassedOver when bytes are left over or missing."""
    try:
        questions, *counts = struct.unpack_from("!4H", message, 4)
        at = HEADER
        for _ in range(questions):
            at = _after_name(message, at) + 4
        question = at
        records = []
        for section, count in enumerate(counts, 1):
            for _ in range(count):
                at = _after_name(message, at)
                type_, class_, ttl, length = struct.unpack_from("!HHIH", message, at)
                records.append(Record(section, type_, class_, ttl))
                at += 10 + length
    except (struct.error, IndexError) as error:
        raise PassedOver(str(error)) from error
    if at != len(message):
        raise PassedOver(f"it ends at octet {at}, but has {len(message)} octets")
    return question, records


def advertised(query: bytes) -> int | None:
    """Return the payload size in a query's OPT record; None when there is none, or the query is malformed."""
    try:
        _, records = walk(query)
    except PassedOver:
        return None
    return next((r.class_ for r in records if r.type == OPT and r.section == 3), None)


def _after_name(message: bytes, at: int) -> int:
    while message[at]:
        if message[at] >= 0xC0:
            return at + 2
        at += 1 + message[at]
    return at + 1
