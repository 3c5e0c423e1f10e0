"""The numbers and the names that both ends of a watch have to agree on. Neither end has any of its own."""

from __future__ import annotations

from typing import Final

# The version of the protocol, asked for by the reader in this header and confirmed in the same one. A registry of
# before knows no such header and refuses unknown query parameters: so it is a header. Without it a stream is of
# version 1: its events carry the whole cursor of their sender, and renewals are sent one by one.
PROTOCOL_HEADER: Final = "X-Watch-Protocol"
PROTOCOL: Final = 2
FIRST_PROTOCOL: Final = 1
# Tells a reader that acknowledges its own id.
WATCHER_HEADER: Final = "X-Watcher"

# Seconds between two signs of life, and after how many without one the stream is dead, whatever TCP says.
SYNC_EVERY_S: Final = 5.0
SILENCE_S: Final = 3 * SYNC_EVERY_S

# No line is longer. The writer sends a snapshot where a line would be; the reader passes a longer one over.
MAX_LINE_BYTES: Final = 4 * 1024 * 1024
# A part of a snapshot: small enough that encoding it delays nobody, and far below the limit of a line.
PART_BYTES: Final = 128 * 1024
# A record of an instance as JSON. The rules of a registration allow a quarter of it (a test measures the largest
# one); what a store holds beyond it was not written by a registry, and is not sent.
MAX_RECORD_BYTES: Final = 128 * 1024
MAX_INSTANCES: Final = 1_000_000
# Leases that one sign of life names as late. More of them at a time are an outage, and counted.
MAX_LATE: Final = 64
# Shards that one sign of life names as unread.
MAX_UNREAD: Final = 16
