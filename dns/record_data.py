"""The wire format of the data of the records in answers."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from dns.codec import Name
from dns.name_limits import check_name


def name_data(name: Name) -> bytes:
    """Return a name uncompressed, as RFC 3597 section 4 requires in the data of newer types.

    Raises NameTooLong when it has none.
    """
    check_name(name)
    return b"".join(bytes((len(label),)) + label for label in name) + b"\0"


def srv_data(priority: int, weight: int, port: int, target: Name) -> bytes:
    """Return the data of SRV (RFC 2782); the target is not compressed."""
    return struct.pack("!HHH", priority, weight, port) + name_data(target)


def text_data(texts: Iterable[bytes]) -> bytes:
    """Return the data of TXT: at least one string, each of at most 255 octets."""
    strings = [text[:255] for text in texts] or [b""]
    return b"".join(bytes((len(text),)) + text for text in strings)


def soa_data(primary: Name, mailbox: Name, serial: int, minimum_s: int) -> bytes:
    """Return the data of SOA. The zone is never transferred, so only the last timer matters."""
    return name_data(primary) + name_data(mailbox) + struct.pack("!IIIII", serial, 3600, 600, 86400, minimum_s)


def name_of(text: str) -> Name:
    """Return the dotted name `text`, which is ASCII, in lower case."""
    return tuple(label.encode("ascii") for label in text.lower().strip(".").split(".") if label)
