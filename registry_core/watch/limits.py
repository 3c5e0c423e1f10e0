"""The numbers and names that both ends of a watch must agree on. Neither end defines its own."""

from __future__ import annotations

from typing import Final

# The protocol version: the reader requests it in this header, and the answer confirms it in the same one. It is a
# header because an older registry ignores unknown headers but refuses unknown query parameters. A stream without it
# has version 1: its events carry the sender's whole cursor, and renewals are sent one by one.
PROTOCOL_HEADER: Final = "X-Watch-Protocol"
PROTOCOL: Final = 2
FIRST_PROTOCOL: Final = 1
# Tells an acknowledging reader its id.
WATCHER_HEADER: Final = "X-Watcher"

# Tells an acknowledging reader how many seconds the drains of one acknowledgement may lie apart. A reader that is not
# told so, by an older registry, takes the least.
ACK_EVERY_HEADER: Final = "X-Ack-Every"
LEAST_ACK_EVERY_S: Final = 0.2
# A drain waits for acknowledgements for some seconds, so that readers may wait no longer than this.
MOST_ACK_EVERY_S: Final = 1.0
# While drains go on, a reader acknowledges once in one and a half of these times: all together this often at most, as
# long as that is possible.
ACKS_PER_S: Final = 1000

# Seconds between signs of life, and seconds without one after which the stream is dead, whatever TCP says.
SYNC_EVERY_S: Final = 5.0
SILENCE_S: Final = 3 * SYNC_EVERY_S

# The longest line. Instead of a longer one, the writer sends a snapshot; the reader skips a longer one.
MAX_LINE_BYTES: Final = 4 * 1024 * 1024
# A part of a snapshot ends with the record that reaches this size: small enough to encode without a noticeable delay,
# and far below the limit of a line.
PART_BYTES: Final = 128 * 1024
# An instance's record as JSON. The rules of a registration allow a quarter of it (a test measures the largest
# one); a larger record in a store was not written by a registry, and is not sent.
MAX_RECORD_BYTES: Final = 128 * 1024
MAX_INSTANCES: Final = 1_000_000
# A lease is late after this part of its TTL: one and a half heartbeats, of two per TTL. The sender states the seconds,
# from which the reader computes the TTL.
LATE_AFTER_TTLS: Final = 0.75
# Late leases that one sign of life names. More than that is an outage, and they are only counted.
MAX_LATE: Final = 64
# Unread shards that one sign of life names.
MAX_UNREAD: Final = 16
# Readers that a stopping replica sends on return over this time, at this rate: the others take them in turn, and what
# they miss meanwhile is far younger than what a view may be.
RETURNS_PER_S: Final = 1000
GOODBYE_LEAST_S: Final = 0.2
GOODBYE_MOST_S: Final = 10.0
MAX_REPLICAS_TOLD: Final = 64


def ack_every_s(readers: int) -> float:
    """Return the seconds for `ACK_EVERY_HEADER` at a replica with this many readers."""
    return min(max(readers / (1.5 * ACKS_PER_S), LEAST_ACK_EVERY_S), MOST_ACK_EVERY_S)
