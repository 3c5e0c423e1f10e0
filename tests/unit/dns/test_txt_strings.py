"""The TXT record of an instance: key=value, bounded, and unambiguous (RFC 1464)."""

from __future__ import annotations

from typing import Any

import pytest

from dns.txt_strings import data_of
from tests.samples import instance


def strings(**more: Any) -> list[bytes]:
    """Return the strings of the record of an instance with `more`."""
    data, found = data_of(instance(**more)), []
    while data:
        found.append(data[1 : 1 + data[0]])
        data = data[1 + data[0] :]
    return found


def test_an_instance_without_metadata_has_one_empty_string() -> None:
    assert strings() == [b""]


def test_the_version_comes_first_and_the_keys_in_order() -> None:
    assert strings(version="1.4.2", metadata={"zeta": "z", "alpha": "a"}) == [b"version=1.4.2", b"alpha=a", b"zeta=z"]


def test_the_version_of_the_instance_overrides_one_in_its_metadata() -> None:
    assert strings(version="1.4.2", metadata={"version": "9"}) == [b"version=1.4.2"]
    assert strings(metadata={"version": "9", "alpha": "a"}) == [b"version=9", b"alpha=a"]


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("", b"k="),
        ("a=b", b"k=a=b"),
        (" a ", b"k= a "),
        ("ü", b"k=\xc3\xbc"),
        ("\ud800", b"k=?"),
        (7, b"k=7"),
        (-1.5, b"k=-1.5"),
        (True, b"k=true"),
        (False, b"k=false"),
    ],
)
def test_plain_values_are_written_unchanged(value: object, written: bytes) -> None:
    assert strings(metadata={"k": value}) == [written]


@pytest.mark.parametrize("value", [None, [], ["a"], {"a": 1}, b"a"])
def test_other_values_are_left_out(value: object) -> None:
    assert strings(metadata={"k": value, "other": 1}) == [b"other=1"]


@pytest.mark.parametrize(
    ("key", "written"),
    [
        ("a=b", b"a`=b=v"),
        ("a`b", b"a``b=v"),
        (" a", b"` a=v"),
        ("a ", b"a` =v"),
        ("\ta\t", b"`\ta`\t=v"),
        ("a b", b"a b=v"),
        ("  ", b"` ` =v"),
        ("=", b"`==v"),
        ("ü", b"\xc3\xbc=v"),
        ("\ud800", b"?=v"),
    ],
)
def test_special_characters_in_a_key_are_quoted(key: str, written: bytes) -> None:
    assert strings(metadata={key: "v"}) == [written]


def test_an_empty_key_is_left_out() -> None:
    assert strings(metadata={"": "v"}) == [b""]


def test_a_string_has_255_octets_at_most_and_is_never_cut() -> None:
    assert strings(metadata={"k": "v" * 253}) == [b"k=" + b"v" * 253]
    assert strings(metadata={"k": "v" * 254, "other": 1}) == [b"other=1"]
    assert strings(metadata={"k": "ü" * 127, "other": 1}) == [b"other=1"], "octets, not characters"
    assert strings(version="1" * 255) == [b""]


def test_there_are_32_strings_at_most_and_those_left_out_do_not_count() -> None:
    metadata: dict[str, Any] = {f"k{number:02}": number for number in range(40)}
    found = strings(version="1", metadata=metadata)
    assert found == [b"version=1", *(f"k{number:02}={number}".encode() for number in range(31))]
    assert len(strings(metadata={**metadata, "a": "v" * 300, "b": None})) == 32
