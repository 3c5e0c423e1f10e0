"""A typical DNS server built with dnslib: parses each query, looks the name up, and encodes the answer.

Run as `python -m bench.dnslib_server PORT ZONEFILE`.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

from dnslib import QTYPE, RCODE, RR, DNSRecord


def serve(port: int, records: str) -> None:
    """Answer from `records`, a zone file, until the process is stopped."""
    found: dict[tuple[str, str], list[RR]] = {}
    for record in RR.fromZone(records):
        found.setdefault((str(record.rname).lower(), QTYPE[record.rtype]), []).append(record)
    sock = socket.socket(type=socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 * 1024 * 1024)
    sock.bind(("127.0.0.1", port))
    while True:
        data, asker = sock.recvfrom(4096)
        query = DNSRecord.parse(data)
        answer = query.reply()
        records_found = found.get((str(query.q.qname).lower(), QTYPE[query.q.qtype]))
        if records_found is None:
            answer.header.rcode = RCODE.NXDOMAIN
        else:
            answer.add_answer(*records_found)
        sock.sendto(answer.pack(), asker)


if __name__ == "__main__":
    serve(int(sys.argv[1]), Path(sys.argv[2]).read_text(encoding="utf-8"))
