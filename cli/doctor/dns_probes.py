"""Asks name servers over UDP whether they answer for our zone, and nothing else. Each query has a timeout.

Only an agent knows `ns.<zone>`, and answers 127.0.0.1, the querying machine; the answer also comes through a
forwarding resolver. Such a resolver may keep it back: as a private address, or because nobody signs the zone; the
same question without DNSSEC (CD, RFC 4035 section 3.2.2) tells. A server that does not know that name may still
serve the zone for someone else.
"""

from __future__ import annotations

import contextlib
import ipaddress
import secrets
import socket
import struct
import time
from typing import Final

from cli.doctor.facts import DNS_PORT, ZoneAnswer
from dns.codec import CLASS_IN, Rcode, Type
from dns.record_data import name_data, name_of

TIMEOUT_S: Final = 0.8
TRIES: Final = 2
_HEADER: Final = struct.Struct("!HHHHHH")
_RD: Final = 0x0100
_CD: Final = 0x0010
_POINTER: Final = 0xC0
_MAX_LABELS: Final = 130
_QR: Final = 0x8000
_MAX_MESSAGE: Final = 4096
# How many unrelated datagrams are read before a server counts as silent.
_MAX_STRANGE: Final = 16
_NO_ANSWER: Final = (Rcode.SERVFAIL, Rcode.NOTIMP, Rcode.REFUSED)
_LOOPBACK: Final = bytes((127, 0, 0, 1))


def ask_for_zone(server: str, zone: str, port: int = DNS_PORT) -> ZoneAnswer:
    """Return the answer of the server at that IP address. Blocks for at most six timeouts."""
    answer = _ask(server, port, f"ns.{zone}", Type.A)
    if answer is not None and _holds_loopback(answer):
        return ZoneAnswer.OURS
    if answer is None or _rcode(answer) == Rcode.SERVFAIL:
        # A resolver that validates fails, or is still looking for signatures.
        unchecked = _ask(server, port, f"ns.{zone}", Type.A, _RD | _CD)
        if unchecked is not None and _holds_loopback(unchecked):
            return ZoneAnswer.BOGUS
    if answer is None:
        return ZoneAnswer.SILENT
    of_zone = _ask(server, port, zone, Type.SOA)
    if of_zone is not None and _is_positive(of_zone):
        return ZoneAnswer.FILTERED if _primary(of_zone) == f"ns.{zone}" else ZoneAnswer.ELSEWHERES
    return ZoneAnswer.REFUSES if _rcode(answer) in _NO_ANSWER else ZoneAnswer.UNKNOWN


def hides_addresses(server: str, name: str, agent: tuple[str, int], port: int = DNS_PORT) -> bool:
    """Return whether the agent has IPv4 addresses of `name`, and the server, which asks it, has none. Blocks."""
    here, there = _ask(*agent, name, Type.A), _ask(server, port, name, Type.A)
    return here is not None and there is not None and _is_positive(here) and not _is_positive(there)


def refuses_many(server: str, name: str, agent: tuple[str, int], port: int = DNS_PORT) -> bool:
    """Return whether the server, which asks the agent, fails for the many SRV records of `name`. Blocks."""
    here, there = _ask(*agent, name, Type.SRV), _ask(server, port, name, Type.SRV)
    return here is not None and there is not None and _is_positive(here) and _rcode(there) == Rcode.SERVFAIL


def _is_positive(answer: bytes) -> bool:
    return _rcode(answer) == Rcode.NOERROR and int.from_bytes(answer[6:8]) > 0


def _rcode(answer: bytes) -> int:
    return answer[3] & 0xF


def _holds_loopback(answer: bytes) -> bool:
    """Return whether it has an A record for 127.0.0.1: type, class, four octets of TTL, length, data."""
    record = Type.A.to_bytes(2) + CLASS_IN.to_bytes(2)
    at = answer.find(record, _HEADER.size)
    while at >= 0:
        if answer[at + 8 : at + 14] == b"\0\4" + _LOOPBACK:
            return _is_positive(answer)
        at = answer.find(record, at + 1)
    return False


def _primary(answer: bytes) -> str:
    """Return the primary server in the first SOA record, in lower case; "" if there is none."""
    at = answer.find(Type.SOA.to_bytes(2) + CLASS_IN.to_bytes(2), _HEADER.size)
    at = answer.find(Type.SOA.to_bytes(2) + CLASS_IN.to_bytes(2), at + 1)  # after the question
    labels: list[bytes] = []
    at += 10
    for _ in range(_MAX_LABELS):
        if not 10 <= at < len(answer) or not answer[at]:
            break
        if answer[at] >= _POINTER:
            at = int.from_bytes(answer[at : at + 2]) & 0x3FFF
        else:
            labels.append(answer[at + 1 : at + 1 + answer[at]])
            at += 1 + answer[at]
    return b".".join(labels).decode("latin-1").lower()


def _ask(server: str, port: int, name: str, type_: Type, flags_sent: int = _RD) -> bytes | None:
    """Return the response to the query, or None when none comes or nothing listens there."""
    question = name_data(name_of(name)) + type_.to_bytes(2) + CLASS_IN.to_bytes(2)
    for _ in range(TRIES):
        with contextlib.suppress(OSError), _connected(server, port) as asking:
            number = secrets.randbits(16)
            asking.send(_HEADER.pack(number, flags_sent, 1, 0, 0, 0) + question)
            ends_at = time.monotonic() + TIMEOUT_S
            for _ in range(_MAX_STRANGE):
                asking.settimeout(max(0.001, ends_at - time.monotonic()))
                answer = asking.recv(_MAX_MESSAGE)
                if len(answer) >= _HEADER.size:
                    answered, flags, *_ = _HEADER.unpack_from(answer)
                    if answered == number and flags & _QR:
                        return answer
    return None


def _connected(server: str, port: int) -> socket.socket:
    """Return a socket that receives from that server only (RFC 5452 section 9). Raises OSError."""
    family = socket.AF_INET6 if ipaddress.ip_address(server).version == 6 else socket.AF_INET
    asking = socket.socket(family, socket.SOCK_DGRAM)
    try:
        # getaddrinfo() queries no server for a numeric address, and parses the scope of a link-local one.
        asking.connect(socket.getaddrinfo(server, port, family, socket.SOCK_DGRAM, flags=socket.AI_NUMERICHOST)[0][4])
    except BaseException:
        asking.close()
        raise
    return asking
