"""TSIG, for a server without keys: the answer to a signed query (RFC 8945 sections 5.2 and 5.3.2). Pure."""

from __future__ import annotations

import struct
from typing import Final

from dns.wire_names import WireNames, name_at

TSIG: Final = 250
_CLASS_ANY: Final = 255
_BAD_KEY: Final = 17
# The time in 48 bits, the fudge, and the length of the MAC; after the MAC the original id, the error and the length
# of the other data.
_BEFORE_MAC: Final = struct.Struct("!HIHH")
_AFTER_MAC: Final = struct.Struct("!HHH")
_RR: Final = struct.Struct("!HHIH")


def bad_key(message: bytes, owner_at: int, fields_at: int) -> bytes | None:
    """Return the unsigned TSIG record that rejects the key of the one in `message`; None when that is malformed.

    It starts at `owner_at`, and its type at `fields_at`. The caller has checked that it ends with the message.
    """
    names = WireNames(message)
    _, class_, _, _ = _RR.unpack_from(message, fields_at)
    data_at = fields_at + _RR.size
    names.fields_at(fields_at)
    algorithm_end = names.end(data_at)
    if class_ != _CLASS_ANY or names.end(owner_at) != fields_at or algorithm_end is None:
        return None
    mac_at = algorithm_end + _BEFORE_MAC.size
    if mac_at > len(message):
        return None
    high, low, fudge, mac_octets = _BEFORE_MAC.unpack_from(message, algorithm_end)
    after_at = mac_at + mac_octets
    algorithm = name_at(message, data_at)
    if len(algorithm) != algorithm_end - data_at:  # compressed, which RFC 3597 section 4 forbids
        return None
    if after_at + _AFTER_MAC.size > len(message):
        return None
    original_id, _, other_octets = _AFTER_MAC.unpack_from(message, after_at)
    if after_at + _AFTER_MAC.size + other_octets != len(message):
        return None
    data = algorithm + _BEFORE_MAC.pack(high, low, fudge, 0)
    data += _AFTER_MAC.pack(original_id, _BAD_KEY, 0)
    return name_at(message, owner_at) + _RR.pack(TSIG, _CLASS_ANY, 0, len(data)) + data
