"""Asks a DNS server at a steady rate from a process of its own, and prints how long each answer took.

Run as `python -m tests.steady_queries PORT PER_S SECONDS NAME...`. A query is sent when it is due, whether the earlier
ones have been answered or not, and its time counts from when it was due. Prints a JSON list of milliseconds, with null
for a query without an answer.
"""

from __future__ import annotations

import json
import select
import socket
import sys
import time

import dnslib

# How long to wait for the last answers.
PATIENCE_S = 2.0


def ask(port: int, per_s: float, seconds: float, names: list[str]) -> list[float | None]:
    """Return the time of each answer, in milliseconds, in the order of the queries."""
    questions = [dnslib.DNSRecord.question(name).pack()[2:] for name in names]
    count = int(per_s * seconds)
    took: list[float | None] = [None] * count
    with socket.socket(type=socket.SOCK_DGRAM) as asking:
        asking.setblocking(False)
        asking.connect(("127.0.0.1", port))
        began, sent, got = time.monotonic() + 0.1, 0, 0
        while got < count:
            now = time.monotonic()
            while sent < count and began + sent / per_s <= now:
                asking.send(sent.to_bytes(2) + questions[sent % len(questions)])
                sent += 1
            if sent == count and now > began + seconds + PATIENCE_S:
                break
            wait_s = max(0.0, began + sent / per_s - now) if sent < count else 0.1
            if not select.select([asking], [], [], wait_s)[0]:
                continue
            number = int.from_bytes(asking.recv(65535)[:2])
            took[number] = (time.monotonic() - began - number / per_s) * 1000
            got += 1
    return took


if __name__ == "__main__":
    sys.stdout.write(json.dumps(ask(int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), sys.argv[4:])))
