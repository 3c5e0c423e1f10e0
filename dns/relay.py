"""Relays resolvers' replies: makes the client's answer from one, and completes it where it leads into our zone. Pure.

People migrate by making an old name an alias of a name in our zone. The resolver that holds the old name mostly
does not know ours, so what it says of that name is replaced by what the view says.
"""

from __future__ import annotations

import struct
from bisect import bisect_right
from collections.abc import Sequence
from operator import attrgetter
from typing import Final

import msgspec

from dns.codec import AD, CD, HEADER, QR, RD, TC, Answer, Query, Rcode, Type
from dns.drafts import Draft, Lead, draft_of, error_option, fitting
from dns.foreign import ForeignReply, Mark
from dns.hop import Hop
from dns.wire_names import is_below, name_at

STALE_ANSWER: Final = 3
STALE_NXDOMAIN: Final = 19
# Replies with fewer records are aged anew for each answer; of the others, so many are kept aged.
_MANY_RECORDS: Final = 100
_MOST_AGED: Final = 16
_MAX_TTL_S: Final = 0x7FFFFFFF
_HEADER: Final = struct.Struct("!HHHHHH")
# From a record's TTL to its data: the TTL and the length.
_TTL_AND_LENGTH: Final = 6


class Relayed(msgspec.Struct, frozen=True):
    """A resolver's reply as it is given to clients: `age_s` old, with a cap on TTLs, and perhaps known to be stale."""

    reply: ForeignReply
    age_s: int = 0
    most_ttl_s: int = _MAX_TTL_S
    stale: bool = False


class AgedMessages:
    """The messages of a few large replies with the TTLs of this second, written once for all clients."""

    def __init__(self) -> None:
        self._aged: dict[tuple[int, int, int], tuple[ForeignReply, bytes]] = {}

    def of(self, relayed: Relayed, marks: Sequence[Mark]) -> bytes:
        """Return the message up to the last of `marks`, the first records of the reply."""
        reply, end = relayed.reply, marks[-1].end if marks else relayed.reply.question_end
        if not relayed.age_s and relayed.most_ttl_s == _MAX_TTL_S:
            return reply.message[:end]
        if len(marks) < _MANY_RECORDS:
            return bytes(_aged(relayed, marks, end))
        key = id(reply), relayed.age_s, relayed.most_ttl_s
        kept = self._aged.get(key)
        if kept is None:
            whole = bytes(_aged(relayed, reply.marks, len(reply.message)))
            kept = self._aged[key] = reply, whole  # with the reply, so that its id stays its own
            if len(self._aged) > _MOST_AGED:
                del self._aged[next(iter(self._aged))]
        return kept[1][:end]


def relay_draft(query: Query, relayed: Relayed, room: int, aged: AgedMessages) -> Draft:
    """Return the draft of a resolver's reply as the answer to `query`, in at most `room` octets.

    It has the client's id and spelling of the name, and TTLs less the reply's age. What does not fit is dropped
    record by record from the end: additional ones silently, others with TC (RFC 2181 section 9).
    """
    reply = relayed.reply
    errors = b"" if query.edns is None else fitting(_errors(relayed), room - reply.question_end)
    room -= len(errors)
    # The records are in the order of their places and of their sections.
    count = bisect_right(reply.marks, room, key=attrgetter("end"))
    marks, cut = reply.marks[:count], count < len(reply.marks) and reply.marks[count].section < 2
    ends = [bisect_right(marks, section, key=attrgetter("section")) for section in range(3)]
    counts = (ends[0], ends[1] - ends[0], ends[2] - ends[1])
    message = aged.of(relayed, marks)
    wants_ad = query.flags & AD or (query.edns is not None and query.edns.dnssec_ok)  # RFC 6840 section 5.7
    flags = QR | (query.flags & (RD | CD)) | (reply.flags & AD if wants_ad else 0) | (TC if cut else 0)
    flags |= (reply.flags & TC) | (reply.rcode & 0xF)
    head = _HEADER.pack(query.id, flags, 1, *counts)
    return Draft(b"".join((head, query.question, message[reply.question_end :])), reply.rcode, errors)


def stale_error(rcode: int) -> int:
    """Return the Extended DNS Error that marks an answer with that rcode as stale (RFC 8914 sections 4.4 and 4.20)."""
    return STALE_NXDOMAIN if rcode == Rcode.NXDOMAIN else STALE_ANSWER


def leads_into(zone: bytes, reply: ForeignReply, qtype: int) -> bytes | None:
    """Return the name in `zone`, uncompressed, that the question's name is an alias of; None when there is none."""
    if not reply.aliases or qtype in (Type.CNAME, Type.ANY):
        return None
    return next((name for name in reply.aliases if is_below(name, zone)), None)


def alias_lifetime_s(reply: ForeignReply) -> int:
    """Return how long, in seconds, a reply that leads into our zone may be cached: its aliases are all that is used."""
    return min((mark.ttl_s for mark in reply.marks if mark.section == 0 and mark.type == Type.CNAME), default=0)


def question_for(query: Query, name: bytes) -> Query:
    """Return the question for `name`, uncompressed, that completes the answer to `query`."""
    labels: list[bytes] = []
    at = 0
    while name[at]:
        labels.append(name[at + 1 : at + 1 + name[at]])
        at += 1 + name[at]
    return msgspec.structs.replace(query, name=tuple(labels), question=name + query.question[-4:])


def completed_draft(query: Query, relayed: Relayed, asked: Query, answer: Answer, hop: Hop) -> Draft | None:
    """Return the reply's aliases up to the name of `asked`, and then `answer`, ours to `asked`.

    None when the reply has its records in an unusual order. The aliases keep their signatures; AD is not set, as
    our records have none.
    """
    lead = _lead(relayed, asked)
    if lead is None:
        return None
    error = answer.extended_error
    if error is None and relayed.stale:
        error = stale_error(answer.rcode)
    part = msgspec.structs.replace(answer, authoritative=False, extended_error=error)
    if HEADER + len(query.question) + len(lead.records) > hop.room:
        return draft_of(query, Answer(Rcode.NOERROR, authoritative=False, ask_over_tcp=True), hop.room)
    return draft_of(query, part, hop.room, over_tcp=hop.over_tcp, lead=lead)


def _lead(relayed: Relayed, asked: Query) -> Lead | None:
    """Return the reply's first records, which belong to the names before that of `asked`; None if that is not there.

    With them are the DNAME records from which a server made the aliases (RFC 6672 section 3.1).
    """
    reply = relayed.reply
    name = asked.question[:-4]
    before = {name_at(reply.message, HEADER), *reply.aliases[: reply.aliases.index(name)]}
    message = bytearray(reply.message)
    start = end = reply.question_end
    count = name_place = 0
    for mark in reply.marks:
        if mark.section:
            break
        owner = name_at(reply.message, start)
        if mark.type == Type.DNAME:
            before.add(owner)
        if owner not in before:
            break
        _set_age(message, mark, relayed)
        start = end = mark.end
        count += 1
        if mark.type == Type.CNAME and name_at(reply.message, mark.ttl_at + _TTL_AND_LENGTH) == name:
            name_place = mark.ttl_at + _TTL_AND_LENGTH
    if not name_place:
        return None
    return Lead(bytes(message[reply.question_end : end]), count, asked.name, name_place)


def _aged(relayed: Relayed, marks: Sequence[Mark], end: int) -> bytearray:
    message = bytearray(relayed.reply.message[:end])
    for mark in marks:
        _set_age(message, mark, relayed)
    return message


def _set_age(message: bytearray, mark: Mark, relayed: Relayed) -> None:
    ttl_s = min(max(mark.ttl_s - relayed.age_s, 0), relayed.most_ttl_s)
    message[mark.ttl_at : mark.ttl_at + 4] = ttl_s.to_bytes(4)


def _errors(relayed: Relayed) -> bytes:
    own = error_option(stale_error(relayed.reply.rcode)) if relayed.stale else b""
    return own + relayed.reply.errors
