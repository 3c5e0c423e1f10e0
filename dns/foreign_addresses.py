"""Reads the addresses in a resolver's reply: those of the question's name, and of the names it is an alias of. Pure."""

from __future__ import annotations

import ipaddress

from dns.codec import HEADER, Type
from dns.foreign import ForeignReply
from dns.wire_names import name_at
from registry_core.domain.names import unmapped

# From a record's TTL to its data: the TTL and the length.
_TTL_AND_LENGTH = 6
_LENGTHS = {Type.A: 4, Type.AAAA: 16}


def reply_addresses(reply: ForeignReply, qtype: int) -> tuple[str, ...]:
    """Return the addresses of `qtype`, A or AAAA, each once, in the order of the reply.

    Records of other owners are left out: a resolver may add what nobody asked for.
    """
    owners = {name_at(reply.message, HEADER), *reply.aliases}
    found: dict[str, None] = {}
    start = reply.question_end
    for mark in reply.marks:
        data = reply.message[mark.ttl_at + _TTL_AND_LENGTH : mark.end]
        is_asked = mark.section == 0 and mark.type == qtype and len(data) == _LENGTHS[Type(qtype)]
        if is_asked and name_at(reply.message, start) in owners:
            found[str(unmapped(ipaddress.ip_address(data)))] = None
        start = mark.end
    return tuple(found)
