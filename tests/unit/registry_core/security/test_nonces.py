"""Nonces: no signature is accepted twice, and a memory that is full locks out nobody but who filled it."""

from __future__ import annotations

import pytest

from registry_core.security.nonces import BUCKET_S, CLOCKS_S, Nonces, require_in_time
from registry_core.security.signature_errors import OutOfTime, Replayed, SignedBeforeStart
from registry_core.security.signatures import WINDOW_S, Signature

START = 1_764_000_000.5
NOW = START + 1000.0


def signature(created: float = NOW, nonce: str = "n" * 16, key_id: str = "shared") -> Signature:
    return Signature(key_id, int(created), nonce, b"", b"", None)


def test_a_signature_is_accepted_once() -> None:
    nonces = Nonces(START)
    nonces.spend(signature(), NOW)
    with pytest.raises(Replayed):
        nonces.spend(signature(), NOW)
    nonces.spend(signature(nonce="m" * 16), NOW)
    nonces.spend(signature(key_id="service:ip-intel"), NOW)
    assert len(nonces) == 3


@pytest.mark.parametrize("off_s", [-WINDOW_S, 0, WINDOW_S])
def test_it_is_remembered_for_as_long_as_it_would_be_accepted(off_s: int) -> None:
    nonces, made = Nonces(START), int(NOW) + off_s
    nonces.spend(signature(made), NOW)
    last = made + WINDOW_S
    for now in (NOW, (NOW + last) / 2, float(last)):
        with pytest.raises(Replayed):
            nonces.spend(signature(made), now)
    with pytest.raises(OutOfTime):
        nonces.spend(signature(made), last + 1.0)


def test_it_is_forgotten_afterwards() -> None:
    nonces = Nonces(START)
    for number in range(500):
        nonces.spend(signature(NOW, f"{number:016}"), NOW)
    nonces.spend(signature(NOW + 2 * WINDOW_S), NOW + 2 * WINDOW_S)
    assert len(nonces) == 1


@pytest.mark.parametrize(("off_s", "words"), [(-WINDOW_S - 1, "301 s ago"), (WINDOW_S + 2, "in the future")])
def test_a_late_and_a_future_one_are_told_the_time(off_s: int, words: str) -> None:
    with pytest.raises(OutOfTime, match=words) as refused:
        require_in_time(signature(int(NOW) + off_s), int(NOW))
    assert refused.value.example == int(NOW)
    assert refused.value.provided == int(NOW) + off_s


def test_what_was_signed_before_the_start_may_have_been_seen_before() -> None:
    nonces = Nonces(START)
    with pytest.raises(SignedBeforeStart):
        nonces.spend(signature(START), START + 0.2)
    with pytest.raises(OutOfTime, match="before this registry started"):
        nonces.spend(signature(START - 60), START + 0.2)
    nonces.spend(signature(START + 1), START + 1)


def test_a_store_that_also_remembers_makes_the_start_irrelevant() -> None:
    nonces = Nonces(START)
    nonces.spend(signature(START - 60), START + 0.2, shared=True)
    with pytest.raises(Replayed):
        nonces.spend(signature(START - 60), START + 0.2, shared=True)


def test_who_fills_the_memory_loses_the_old_ones_and_nobody_else_does() -> None:
    nonces = Nonces(START, most=100)
    nonces.spend(signature(NOW - 5, "first" * 4, "service:good"), NOW)
    for number in range(99):  # a service that signs for the far future
        nonces.spend(signature(NOW + WINDOW_S - BUCKET_S * (number % 7), f"{number:016}", "service:bad"), NOW)
    assert len(nonces) == 100
    with pytest.raises(Replayed):
        nonces.spend(signature(NOW - 5, "first" * 4, "service:good"), NOW)
    nonces.spend(signature(NOW, "next" * 4, "service:good"), NOW)
    assert len(nonces) <= 100
    with pytest.raises(OutOfTime, match="'service:bad' signs more than this registry can remember"):
        nonces.spend(signature(NOW, "other" * 4, "service:bad"), NOW)
    with pytest.raises(Replayed):
        nonces.spend(signature(NOW, "next" * 4, "service:good"), NOW)


def test_memory_stays_within_its_bound_and_nothing_forgotten_is_accepted_again() -> None:
    nonces = Nonces(START, most=1000)
    refused = 0
    for number in range(5000):
        made = NOW + number % 60
        try:
            nonces.spend(signature(made, f"{number:016}"), NOW)
        except OutOfTime:
            refused += 1
        assert len(nonces) <= 1000
    assert refused
    for number in range(5000):
        with pytest.raises((Replayed, OutOfTime)):
            nonces.spend(signature(NOW + number % 60, f"{number:016}"), NOW)


def test_the_mark_for_a_store_is_of_one_key_and_outlives_the_signature_everywhere() -> None:
    nonces = Nonces(START)
    ours, theirs = (nonces.once(signature(key_id=key_id), NOW) for key_id in ("shared", "service:billing"))
    assert ours.mark != theirs.mark, "nobody can use up the nonces of another key"
    assert ours.attempt != theirs.attempt
    assert nonces.once(signature(), NOW).mark == ours.mark
    for made in (NOW - WINDOW_S, NOW, NOW + WINDOW_S):
        kept_until = NOW + nonces.once(signature(made), NOW).keep_ms / 1000
        assert kept_until >= int(made) + WINDOW_S + CLOCKS_S - 0.01, (
            "a replica whose clock is behind still takes it then"
        )
