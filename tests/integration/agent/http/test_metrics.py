"""What a scrape of an agent's metrics costs it, and the formats that it gets."""

from __future__ import annotations

import pytest
from prometheus_client.parser import text_string_to_metric_families

from agent.http import metrics
from agent.http.metrics import AgentMetrics
from registry_core.telemetry.exposition import MOST_A_SECOND
from tests.integration.agent.http.test_http import OSINT, frozen
from tests.openmetrics import families_in
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


async def test_a_scraper_that_prefers_openmetrics_gets_the_same_families_as_in_plain_text() -> None:
    async with frozen() as agent:
        agent.show(*OSINT)
        await agent.get("/services/osint-service")
        plain = await agent.get("/metrics")
        async with agent.session.get(
            f"{agent.url}/metrics", headers={"Accept": "application/openmetrics-text"}
        ) as answer:
            text = await answer.read()
    assert plain.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    assert families_in(text).keys() == {family.name for family in text_string_to_metric_families(plain.body.decode())}
