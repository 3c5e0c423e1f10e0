"""The data of foreign records: whole, or not."""

from __future__ import annotations

import pytest

from dns.foreign_records import LAYOUTS, Field, is_whole
from dns.wire_names import WireNames

START = bytes(12) + b"\3www\7example\0"
FIELDS = {Field.NAME: b"\4mail\xc0\x10", Field.TEXT: b"\3abc", Field.TEXTS: b"\3abc\0\1x"}


def whole(type_: int, data: bytes, more: bytes = b"") -> bool:
    message = START + data + more
    return is_whole(message, type_, len(START), len(START) + len(data), WireNames(message))


@pytest.mark.parametrize("type_", LAYOUTS)
def test_data_of_a_common_type_are_whole_or_malformed(type_: int) -> None:
    fields = [bytes(field) if isinstance(field, int) else FIELDS[field] for field in LAYOUTS[type_]]
    data = b"".join(fields)
    assert whole(type_, data)
    assert not whole(type_, data + b"\xff")
    for cut in range(len(data)):
        # What is cut off still stands behind it, as another record's octets would. A text may end earlier.
        ends_early = LAYOUTS[type_] == (Field.TEXTS,) and cut in (4, 5)
        assert whole(type_, data[:cut], data[cut:]) == ends_early, cut


def test_data_of_other_types_are_opaque() -> None:
    assert whole(65280, b"\xc0\xff")
    assert whole(64, b"")
