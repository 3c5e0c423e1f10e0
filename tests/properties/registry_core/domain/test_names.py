"""Names against the one pattern that they must match."""

from __future__ import annotations

import re

from hypothesis import example, given
from hypothesis import strategies as st

from registry_core.domain import names
from registry_core.domain.events import Position
from registry_core.errors import ValidationError
from registry_core.watch.cursor import cursor_of, parse_cursor

NEARLY = st.text(st.sampled_from("abz09_-A.\u00e9 \n"), max_size=70)


@given(st.one_of(NEARLY, st.text(max_size=70), st.from_regex(r"[a-z0-9][a-z0-9_-]{2,64}", fullmatch=True)))
def test_a_name_is_taken_just_when_it_follows_the_pattern(name: str) -> None:
    good = re.fullmatch(r"[a-z0-9][a-z0-9_-]{2,62}", name, re.ASCII) and not re.fullmatch(
        r"i[-_][0-9a-f]{12}", name, re.ASCII
    )
    try:
        names.check_service_name(name)
    except ValidationError:
        assert not good
    else:
        assert good
        assert re.fullmatch(r"[a-z0-9-]{3,63}", names.label_of(name))


@given(st.text(max_size=80))
def test_every_accepted_host_is_valid_in_a_url(host: str) -> None:
    try:
        kept = names.check_host(host)
    except ValidationError:
        return
    assert re.fullmatch(r"[a-z0-9._:-]+", kept), kept
    assert names.check_host(kept) == kept


@given(
    st.lists(
        st.builds(Position, st.integers(0, 9), st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True), st.integers(0, 10**9)),
        unique_by=lambda p: p.shard,
    )
)
def test_every_cursor_survives_a_round_trip(positions: list[Position]) -> None:
    cursor = cursor_of(positions)
    assert parse_cursor(str(cursor)) == cursor


ADDRESSES = st.ip_addresses().map(str)
NEARLY_IPV4 = st.lists(st.integers(0, 300).map(str) | st.sampled_from(["", "01", "00", "1 ", "\u0661"]), max_size=5)


@example("0.0.0.0")
@example("223.255.255.255")
@example("224.0.0.0")
@example("239.255.255.255")
@example("240.0.0.0")
@given(st.one_of(ADDRESSES, NEARLY_IPV4.map(".".join), st.text(max_size=40)))
def test_an_address_is_what_the_standard_library_accepts(host: str) -> None:
    address = names.ip_address(host)
    assert names.canonical_ip(host) == (None if address is None else address.compressed)
    if address is not None:
        assert names.is_of_nobody(address.compressed) == (address.is_unspecified or address.is_multicast)
