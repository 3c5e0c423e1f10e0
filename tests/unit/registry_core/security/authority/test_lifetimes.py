"""How long certificates are valid, and when they are renewed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry_core.security.authority.lifetimes import (
    BACKDATED_S,
    DAY_S,
    MAX_LIFETIME_S,
    AuthorityEnded,
    authority_validity,
    renewed_after_s,
    service_validity,
)

NOW = 1_800_000_000.0


@given(st.floats(10, 1000 * DAY_S), st.floats(1, 1000 * DAY_S))
def test_a_certificate_lasts_ninety_days_at_most_and_never_outlives_its_authority(
    lifetime_s: float, ends: float
) -> None:
    valid = service_validity(NOW, lifetime_s, NOW + ends)
    assert valid.not_after <= NOW + min(MAX_LIFETIME_S, ends)
    assert valid.not_before == NOW - BACKDATED_S


def test_an_authority_that_has_ended_signs_nothing() -> None:
    with pytest.raises(AuthorityEnded):
        service_validity(NOW, DAY_S, NOW)


@given(st.floats(0, 1))
def test_a_renewal_is_at_two_thirds_give_or_take(chance: float) -> None:
    assert 0.6 <= renewed_after_s(1.0, chance) <= 0.734
    assert renewed_after_s(3.0, 0.5) == pytest.approx(2.0)


def test_an_intermediate_does_not_outlive_its_root() -> None:
    assert authority_validity(NOW, 365, NOW + DAY_S).not_after == NOW + DAY_S
    assert authority_validity(NOW, 365).not_after == NOW + 365 * DAY_S
