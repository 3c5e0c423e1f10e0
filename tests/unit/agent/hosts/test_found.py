"""What is known of a host name after a lookup."""

from __future__ import annotations

from agent.hosts.found import ANY_TTL_S, NO_ADDRESSES, UNANSWERED, FoundAddresses, by_family, merged

KNOWN = FoundAddresses(("10.0.0.7",), ("2001:db8::7",), 60.0)


def test_a_mixed_list_is_split_by_family() -> None:
    found = by_family(["10.0.0.9", "2001:DB8::1", "::ffff:10.0.0.8", "nonsense", "fe80::1%eth0", "10.0.0.9"])
    assert found == FoundAddresses(("10.0.0.9", "10.0.0.8"), ("2001:db8::1",), ANY_TTL_S)
    assert found.addresses == ("2001:db8::1", "10.0.0.9", "10.0.0.8")
    assert by_family([]).is_whole


def test_a_family_that_nobody_answered_keeps_its_addresses() -> None:
    assert merged(KNOWN, FoundAddresses(("10.0.0.8",), None, 5.0)) == FoundAddresses(
        ("10.0.0.8",), ("2001:db8::7",), 5.0
    )
    assert merged(KNOWN, FoundAddresses(("10.0.0.8",), (), 5.0)).addresses == ("10.0.0.8",)
    assert merged(KNOWN, UNANSWERED).addresses == KNOWN.addresses
    assert merged(KNOWN, NO_ADDRESSES).addresses == ()


def test_only_answers_of_both_families_say_that_a_name_has_none() -> None:
    assert NO_ADDRESSES.is_whole
    assert not UNANSWERED.is_whole
    assert not FoundAddresses((), None).is_whole
