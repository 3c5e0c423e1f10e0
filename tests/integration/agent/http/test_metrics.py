"""What a scrape of an agent's metrics costs it."""

from __future__ import annotations

import pytest

from agent.http import metrics
from agent.http.metrics import AgentMetrics
from registry_core.telemetry.exposition import MOST_A_SECOND
from tests.samples import FakeClock


async def test_a_flood_of_scrapes_reads_the_memory_only_for_texts_that_are_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    reads: list[int] = []

    def counted() -> int:
        reads.append(1)
        return 1000 * len(reads)

    monkeypatch.setattr(metrics, "resident_bytes", counted)
    clock = FakeClock()
    exposed = AgentMetrics(tuple, clock)
    for _ in range(5 * MOST_A_SECOND):
        body, _ = await exposed.exposition()
    assert len(reads) == MOST_A_SECOND
    assert f"agent_memory_bytes {MOST_A_SECOND * 1000}.0".encode() in body
    clock.pass_time(1.0)
    await exposed.exposition()
    assert len(reads) == MOST_A_SECOND + 1
