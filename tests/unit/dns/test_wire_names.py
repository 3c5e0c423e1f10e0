"""Names in messages: what is one, where it ends, and that no octet is walked twice."""

from __future__ import annotations

import pytest

from dns.wire_names import MAX_POINTERS, WireNames, is_below, name_at

# A header, and then names at known places.
NAMES = bytes(12) + b"\3www\7Example\0" + b"\4mail\xc0\x10" + b"\xc0\x19" + b"\xc0\x20"
WWW, EXAMPLE, MAIL, POINTER, POINTERS = 12, 16, 25, 32, 34


@pytest.mark.parametrize(
    ("at", "end", "name"),
    [
        (WWW, 25, b"\3www\7example\0"),
        (EXAMPLE, 25, b"\7example\0"),
        (MAIL, 32, b"\4mail\7example\0"),
        (POINTER, 34, b"\4mail\7example\0"),
        (POINTERS, 36, b"\4mail\7example\0"),
    ],
)
def test_a_name_is_followed_along_its_pointers(at: int, end: int, name: bytes) -> None:
    names = WireNames(NAMES)
    assert names.end(at) == end
    assert names.end(at) == end, "also when it is known"
    assert name_at(NAMES, at) == name


@pytest.mark.parametrize(
    "name",
    [b"", b"\3ww", b"\3www", b"\xc0", b"\xc0\x0c", b"\1a\xc0\x0c", b"\xc0\x0e", b"\xc0\x0b", b"\x40a\0", b"\x80a\0",
     b"\xc0\x10\0\0\1a\0", (b"\x3f" + b"a" * 63) * 4 + b"\0"],
)  # fmt: skip
def test_what_leads_nowhere_or_forward_or_too_far_is_none(name: bytes) -> None:
    assert WireNames(bytes(12) + name).end(12) is None


def test_a_name_has_255_octets_at_most_with_what_it_points_at() -> None:
    long = b"".join(b"\x3f" + b"a" * 63 for _ in range(3)) + b"\x3c" + b"a" * 60 + b"\0"
    assert len(long) == 254
    for label, end in ((b"", 268), (b"\0", None), (b"\1a", None)):
        message = bytes(12) + long + label + b"\xc0\x0c"
        names = WireNames(message)
        assert names.end(12) == 266
        assert names.end(266) == (end if label != b"\0" else 267)


@pytest.mark.parametrize("one_by_one", [False, True])
def test_pointers_lead_from_one_to_the_next_as_often_as_a_name_has_labels(one_by_one: bool) -> None:
    """Else each of thousands of records could have its name followed over thousands of pointers."""
    starts = [15 + 2 * n for n in range(MAX_POINTERS + 1)]
    chain = b"".join((0xC000 | target).to_bytes(2) for target in (12, *starts[:-1]))
    names = WireNames(bytes(12) + b"\1a\0" + chain)
    if one_by_one:
        assert [names.end(at) for at in starts[:-1]] == [at + 2 for at in starts[:-1]], "each is known by the next"
    else:
        assert names.end(starts[-2]) == starts[-2] + 2
    assert names.end(starts[-1]) is None


def test_a_name_never_goes_through_the_fixed_fields_of_a_record() -> None:
    message = bytes(12) + b"\0" + b"\0\1\0\1\1a\0\0\0\0" + b"\xc0\x11" + b"\xc0\x0c"
    names = WireNames(message)
    assert names.end(12) == 13
    names.fields_at(13)
    assert names.end(23) is None, "a TTL that looks like a name"
    assert names.end(25) == 27


@pytest.mark.parametrize(
    ("name", "below"),
    [(b"\7example\0", True), (b"\3www\7example\0", True), (b"\1a\3www\7example\0", True), (b"\0", False),
     (b"\4test\0", False), (b"\x0bwww\7example\0", False), (b"\7example\3com\0", False)],
)  # fmt: skip
def test_a_name_is_below_a_zone_by_whole_labels(name: bytes, below: bool) -> None:
    assert is_below(name, b"\7example\0") == below
