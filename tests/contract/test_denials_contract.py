"""How every store keeps the deny list."""

from __future__ import annotations

import time

from registry_core.ports.denials import Denial
from tests.contract.harness import StoreUnderTest

BILLING = "spiffe://vertice.internal/service/billing"
FAR = 4_000_000_000.0


def denial(subject: str = BILLING, *, at: float | None = None, until: float = FAR, denied: bool = True) -> Denial:
    return Denial(subject=subject, at=time.time() if at is None else at, until=until, denied=denied, reason="why")


async def test_what_is_denied_is_read_back_unchanged(under_test: StoreUnderTest) -> None:
    wanted = denial()
    await under_test.store.denials.add(wanted)
    read = await under_test.store.denials.read()
    assert read.denials == (wanted,)
    assert not read.unread
    assert read.known


async def test_the_newer_entry_about_a_subject_counts(under_test: StoreUnderTest) -> None:
    store, now = under_test.store.denials, time.time()
    await store.add(denial(at=now))
    await store.add(denial(at=now + 1, denied=False))
    await store.add(denial(at=now - 5))
    assert [(one.at, one.denied) for one in (await store.read()).denials] == [(now + 1, False)]


async def test_an_ended_entry_is_not_read(under_test: StoreUnderTest) -> None:
    store = under_test.store.denials
    await store.add(denial("serial:1", until=1.0))
    await store.add(denial("serial:2"))
    assert [one.subject for one in (await store.read()).denials] == ["serial:2"]
