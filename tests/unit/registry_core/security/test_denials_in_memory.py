"""The deny list in memory is full at some point, and never loses what it has."""

from __future__ import annotations

import pytest

from registry_core.errors import Overloaded
from registry_core.ports.denials import Denial
from registry_core.security import denials_in_memory
from registry_core.security.denials_in_memory import DenialsInMemory
from registry_core.security.denied import serial_subject
from tests.samples import FakeClock

MAX_DENIALS = 8


async def test_a_full_list_refuses_new_entries_and_takes_changes_of_old_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(denials_in_memory, "MAX_DENIALS", MAX_DENIALS)
    clock = FakeClock()
    store, now = DenialsInMemory(clock), clock.wall()
    for number in range(MAX_DENIALS):
        await store.add(Denial(subject=serial_subject(number), at=now, until=now + 10))
    with pytest.raises(Overloaded, match="full"):
        await store.add(Denial(subject=serial_subject(MAX_DENIALS), at=now, until=now + 10))
    await store.add(Denial(subject=serial_subject(3), at=now + 1, until=now + 10, denied=False))
    assert sum(denial.denied for denial in (await store.read()).denials) == MAX_DENIALS - 1
    clock.pass_time(11)
    await store.add(Denial(subject=serial_subject(MAX_DENIALS), at=now, until=now + 100))
    assert len((await store.read()).denials) == 1
