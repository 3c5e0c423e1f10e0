"""The stated size of a service is what Python allocates for it."""

from __future__ import annotations

import gc
import inspect
import re
import tracemalloc
from typing import Any

import msgspec
import pytest

from agent.view.lru import ViewLimits
from agent.view.staging import Staging
from agent.view.view import AgentView
from registry_core.domain import catalog
from registry_core.domain.catalog import Lived
from registry_core.domain.footprint import NAME_BYTES
from registry_core.domain.names import cached_label_of
from registry_core.domain.records import Instance
from registry_core.watch.stage import Absent, transports_of
from tests.samples import FakeClock, instance

pytestmark = pytest.mark.untraced

ERROR = 0.2
TABLE_BYTES = 64 * 1024
# The lines of the catalogue that share a text: each may be the one at which Python's table of shared texts grows.
SHARING = {
    number
    for number, line in enumerate(inspect.getsource(catalog).splitlines(), 1)
    if re.search(r"\bintern\b", line) and "import" not in line
}
_LIVED = msgspec.json.Decoder(list[Lived])
ROOMY = ViewLimits(100_000, 1 << 40)


def sent(services: int, each: int, more_addresses: int = 0, **more: Any) -> list[bytes]:
    """Return a fleet as it is received, in parts: no two instances share what a decoder creates each time."""
    fleet = []
    for s in range(services):
        for i in range(each):
            host = f"10.{s // 250}.{s % 250}.{i}"
            addresses = (host, *(f"fd00::{s:x}:{i:x}:{n}" for n in range(more_addresses)))
            record = instance(f"service_{s:05}", host, addresses=addresses, version="1.4.2", zone="eu-west-1a", **more)
            fleet.append(Lived(record, 1_764_000_000.0 + i))
    return [msgspec.json.encode(fleet[start : start + 256]) for start in range(0, len(fleet), 256)]


def interpreter_bytes() -> int:
    """Return the growth of Python's table of interned texts, which belongs to the process and doubles now and then."""
    blocks = tracemalloc.take_snapshot().filter_traces([tracemalloc.Filter(True, catalog.__file__)]).traces
    return sum(block.size for block in blocks if block.size > TABLE_BYTES and block.traceback[0].lineno in SHARING)


def settle() -> None:
    """Free garbage, and the process's cache of labels, which does not belong to a view."""
    cached_label_of.cache_clear()
    gc.collect()


def fill(view: AgentView, parts: list[bytes]) -> None:
    staging = view.staging()
    for part in parts:
        staging.add(_LIVED.decode(part))
    view._cache.replace(*staging.taken())
    for label in tuple(view.catalog.labels()):
        view.find(label)


@pytest.mark.parametrize(
    "fleet",
    [
        pytest.param((1000, 1, 0, {}), id="small services"),
        pytest.param((200, 20, 0, {"tags": ("canary", "blue")}), id="middling services"),
        pytest.param((1, 4000, 0, {}), id="one huge service"),
        pytest.param((500, 3, 2, {"metadata": {f"key-{n}": "v" * 50 for n in range(20)}}), id="much metadata"),
        pytest.param((500, 2, 0, {"metadata": {"a": {"b": [1.5, {"c": "d" * 30}]}}}), id="deep metadata"),
        pytest.param((300, 2, 5, {}), id="many addresses"),
    ],
)
def test_the_measured_size_is_the_allocated_one(fleet: tuple[int, int, int, dict[str, Any]]) -> None:
    services, each, more_addresses, more = fleet
    parts = sent(services, each, more_addresses, **more)
    view = AgentView(FakeClock(), room=ROOMY)
    settle()
    tracemalloc.start()
    try:
        fill(view, parts)
        settle()
        allocated = tracemalloc.get_traced_memory()[0] - interpreter_bytes()
    finally:
        tracemalloc.stop()
    assert len(view.catalog) == services * each
    assert view.bytes == pytest.approx(allocated, rel=ERROR)


def test_a_name_costs_the_stated_size() -> None:
    names: dict[str, Absent] = {}
    settle()
    tracemalloc.start()
    try:
        for number in range(20_000):
            record: Instance = instance(f"some_service_{number:06}")
            names[record.key.label] = Absent(record.service_name, transports_of(record))
        del record
        settle()
        allocated = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert pytest.approx(allocated / len(names), rel=ERROR) == NAME_BYTES


def test_a_huge_snapshot_is_never_in_memory_as_a_whole() -> None:
    limit = 3 * 1024 * 1024
    parts = sent(8000, 2)
    view = AgentView(FakeClock(), room=ViewLimits(400, limit))
    settle()
    tracemalloc.start()
    try:
        fill(view, parts)
        table = interpreter_bytes()
        now, most = (size - table for size in tracemalloc.get_traced_memory())
    finally:
        tracemalloc.stop()
    assert view.known == 8000
    assert len(set(view.catalog.labels())) == 400
    assert view.bytes <= limit
    assert now <= limit * (1 + ERROR)
    part = 256 * 3000
    assert most <= 2 * limit * (1 + ERROR) + part, "the staged records, those in view, and one part"


def test_a_snapshot_staged_again_is_not_in_memory_twice() -> None:
    parts = sent(500, 2, metadata={"k": "v" * 500})
    view = AgentView(FakeClock(), room=ROOMY)
    fill(view, parts)
    held = {id(record) for record in view.catalog}
    staging: Staging = view.staging()
    for part in parts:
        staging.add(_LIVED.decode(part))
    assert {id(lived.instance) for lived in staging.taken()[0]} == held
