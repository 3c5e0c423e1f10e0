"""The start of a watcher of a master: what ends it, and what does not."""

from __future__ import annotations

import pytest

from registry_core.errors import SettingsError
from registry_core.store.redis.probes import Fault
from registry_core.store.redis.url import ServerAddress
from registry_core.store.redis.watcher import START_S, MasterWatcher
from tests.samples import FakeClock

HERE = ServerAddress("127.0.0.1", 1)


def hearing_at_the_end(monkeypatch: pytest.MonkeyPatch, fault: Fault) -> MasterWatcher:
    """Return a watcher that hears of `fault` in the moment in which its time for the start is over."""
    clock = FakeClock()
    watcher = MasterWatcher("main", nodes=[HERE], clock=clock)

    def meet(node: ServerAddress) -> None:
        watcher._nodes[node] = fault

    def doubt(_length_s: float) -> None:
        monkeypatch.setattr(clock, "monotonic", iter([0.0, START_S + 0.1, START_S + 0.1, START_S + 0.1]).__next__)

    monkeypatch.setattr(watcher, "_meet", meet)
    monkeypatch.setattr(watcher, "doubt", doubt)
    return watcher


async def test_a_lasting_fault_ends_the_start_even_if_it_is_heard_of_at_the_last_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    watcher = hearing_at_the_end(monkeypatch, Fault("it wants other credentials", lasting=True))
    with pytest.raises(SettingsError, match="it wants other credentials"):
        await watcher.start()


async def test_a_fault_that_may_pass_does_not_end_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    watcher = hearing_at_the_end(monkeypatch, Fault("it does not answer"))
    await watcher.start()
    await watcher.close()
