"""The data of foreign records: checks those of the common types, field by field (RFC 1035 section 3.3 and others).

A name in them that leads nowhere, or a length that does not fit, would reach the client's parser. Other types
are opaque (RFC 3597). Pure.
"""

from __future__ import annotations

import enum
from typing import Final, TypeAlias

from dns.wire_names import WireNames


class Field(enum.Enum):
    """A field of variable length."""

    NAME = "a domain name, which may be compressed"
    TEXT = "a character string: its length, and so many octets"
    TEXTS = "character strings to the end, at least one"


# Fields in order; a number means so many octets.
Layout: TypeAlias = tuple["Field | int", ...]

# By type, as RFC 1035 defines them, and the later ones whose names some servers compress (RFC 3597 section 4).
LAYOUTS: Final[dict[int, Layout]] = {
    1: (4,),  # A
    2: (Field.NAME,),  # NS
    3: (Field.NAME,),  # MD
    4: (Field.NAME,),  # MF
    5: (Field.NAME,),  # CNAME
    6: (Field.NAME, Field.NAME, 20),  # SOA
    7: (Field.NAME,),  # MB
    8: (Field.NAME,),  # MG
    9: (Field.NAME,),  # MR
    12: (Field.NAME,),  # PTR
    13: (Field.TEXT, Field.TEXT),  # HINFO
    14: (Field.NAME, Field.NAME),  # MINFO
    15: (2, Field.NAME),  # MX
    16: (Field.TEXTS,),  # TXT
    17: (Field.NAME, Field.NAME),  # RP
    18: (2, Field.NAME),  # AFSDB
    21: (2, Field.NAME),  # RT
    26: (2, Field.NAME, Field.NAME),  # PX
    28: (16,),  # AAAA
    33: (6, Field.NAME),  # SRV
    35: (4, Field.TEXT, Field.TEXT, Field.TEXT, Field.NAME),  # NAPTR
    36: (2, Field.NAME),  # KX
    39: (Field.NAME,),  # DNAME
    99: (Field.TEXTS,),  # SPF
}


def is_whole(message: bytes, type_: int, at: int, end: int, names: WireNames) -> bool:
    """Return whether the data from `at` to `end` are those of a record of that type."""
    layout = LAYOUTS.get(type_)
    if layout is None:
        return True
    for field in layout:
        after = _after(message, field, at, end, names)
        if after is None or after > end:
            return False
        at = after
    return at == end


def _after(message: bytes, field: Field | int, at: int, end: int, names: WireNames) -> int | None:
    match field:
        case int():
            return at + field
        case Field.NAME:
            return names.end(at)
        case Field.TEXT:
            return at + 1 + message[at] if at < end else None
        case Field.TEXTS:
            while True:
                if at >= end:
                    return None
                at += 1 + message[at]
                if at >= end:
                    return at
