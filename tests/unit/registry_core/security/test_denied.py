"""The deny list: what it refuses, how lists are merged, and that it stays short."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_core.errors import ValidationError
from registry_core.ports.denials import Denial
from registry_core.security.denied import (
    MAX_DENIALS,
    DenyList,
    check_subject,
    merged,
    read_serial,
    serial_subject,
    spiffe_subject,
)

BILLING = "spiffe://vertice.internal/service/billing"


def denial(subject: str, at: float = 0.0, until: float = 100.0, *, denied: bool = True) -> Denial:
    return Denial(subject=subject, at=at, until=until, denied=denied)


def test_a_denied_serial_number_is_refused_and_its_neighbour_is_not() -> None:
    denied = DenyList()
    denied.replace([denial(serial_subject(0xAB12))], now=1.0)
    assert denied.is_denied(0xAB12, BILLING)
    assert not denied.is_denied(0xAB13, BILLING)


def test_a_denied_service_is_refused_in_both_spellings() -> None:
    denied = DenyList()
    denied.replace([denial(spiffe_subject("spiffe://vertice.internal/service/ip_intel"))], now=1.0)
    assert denied.is_denied(1, "spiffe://vertice.internal/service/ip-intel")
    assert denied.is_denied(1, "spiffe://vertice.internal/service/ip_intel")
    assert not denied.is_denied(1, "spiffe://vertice.internal/service/ip_intel2")
    assert not denied.is_denied(1, "spiffe://other.internal/service/ip_intel")


def test_an_ended_denial_refuses_nothing() -> None:
    denied = DenyList()
    denied.replace([denial(BILLING, until=5.0)], now=5.0)
    assert not denied.is_denied(1, BILLING)
    assert len(denied) == 0


def test_a_newer_withdrawal_ends_a_denial_and_an_older_one_does_not() -> None:
    assert [d.denied for d in merged([[denial(BILLING, 1)], [denial(BILLING, 2, denied=False)]], now=3)] == [False]
    assert [d.denied for d in merged([[denial(BILLING, 2)], [denial(BILLING, 1, denied=False)]], now=3)] == [True]


def test_of_a_denial_and_a_withdrawal_at_one_moment_the_denial_counts() -> None:
    both = denial(BILLING, 1), denial(BILLING, 1, denied=False)
    assert merged([both], now=2)[0].denied
    assert merged([both[::-1]], now=2)[0].denied


def test_the_version_rises_only_when_what_is_denied_changes() -> None:
    denied = DenyList()
    denied.replace([denial(BILLING)], now=1.0)
    denied.replace([denial(BILLING, until=200.0)], now=1.0)
    assert denied.version == 1
    denied.replace([], now=1.0)
    assert denied.version == 2


def test_a_list_of_any_length_stays_within_its_limit_and_keeps_the_newest() -> None:
    many = [denial(serial_subject(number), at=number) for number in range(MAX_DENIALS + 10)]
    kept = merged([many], now=1.0)
    assert len(kept) == MAX_DENIALS
    assert serial_subject(0) not in {one.subject for one in kept}


@given(st.permutations([denial(BILLING, n % 3, denied=bool(n % 2)) for n in range(6)]))
def test_the_order_in_which_lists_are_read_does_not_matter(denials: list[Denial]) -> None:
    assert [(d.at, d.denied) for d in merged([denials[:3], denials[3:]], now=0)] == [(2, True)]


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("serial=0AB1CD2E3F405162738495A6B7C8D9EA", 0x0AB1CD2E3F405162738495A6B7C8D9EA),
        ("0a:b1:cd:2e:3f:40:51:62", 0x0AB1CD2E3F405162),
        ("billing", None),
        ("0xfeed", 0xFEED),
        ("", None),
        ("f" * 41, None),
    ],
)
def test_serial_numbers_are_read_as_openssl_prints_them(text: str, number: int | None) -> None:
    assert read_serial(text) == number


def test_a_subject_is_kept_in_one_spelling() -> None:
    assert check_subject("serial:00ab") == "serial:ab"
    assert check_subject("spiffe://a.b/service/ip_intel") == "spiffe://a.b/service/ip-intel"
    for wrong in ("", "billing", "serial:", "serial:xyz", "spiffe://a b/c", "spiffe://" + "a" * 600):
        with pytest.raises(ValidationError, match="serial number"):
            check_subject(wrong)
