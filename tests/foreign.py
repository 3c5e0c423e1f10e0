"""DNS messages made by dnslib: a question as a resolver receives it, and right and wrong answers to it."""

from __future__ import annotations

from typing import Any

import dnslib

from dns.foreign import ForeignReply, Sent, inquiry, judge, outgoing

SOA = "example. 900 IN SOA ns.example. admin.example. 1 3600 600 86400 60"


def reply_to(query: bytes, *zone: str, authority: str = "", rcode: int = 0, **header: int) -> bytes:
    """Return an answer to `query` with the records in `zone`, in zone file syntax."""
    record = dnslib.DNSRecord.parse(query).reply(ra=1, aa=0)
    record.header.rcode = rcode
    for name, value in header.items():
        setattr(record.header, name, value)
    record.add_answer(*(rr for line in zone for rr in dnslib.RR.fromZone(line)))
    if authority:
        record.add_auth(*dnslib.RR.fromZone(authority))
    return bytes(record.pack())


def read(message: bytes) -> Any:
    """Return a message as dnslib parses it."""
    return dnslib.DNSRecord.parse(message)


def name_in(query: bytes) -> str:
    """Return the queried name, with its case."""
    return str(read(query).q.qname)


def sent_for(name: str, qtype: str = "A") -> Sent:
    """Return the question for `name` as it is sent to a resolver, in lower case."""
    question = dnslib.DNSRecord.question(name.lower(), qtype).pack()[12:]
    return outgoing(inquiry(bytes(question)), 99, bytes(question), bytes(8), with_edns=True)


def reply_of(name: str, *zone: str, qtype: str = "A", **more: Any) -> ForeignReply:
    """Return the checked reply to the question for `name`, with records and `more` as in `reply_to`."""
    sent = sent_for(name, qtype)
    reply = judge(reply_to(sent.message, *zone, **more), sent)
    assert isinstance(reply, ForeignReply)
    return reply
