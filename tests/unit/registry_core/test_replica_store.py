"""A store in Redis needs its library, and the message says how to get it; the memory store needs nothing."""

from __future__ import annotations

import random
import sys
from typing import NoReturn

import pytest

from registry_core.errors import MissingPackage
from registry_core.replica_settings import replica_settings
from registry_core.replica_store import source_of, store_of
from registry_core.store.memory import MemoryStore
from registry_core.supervision import Background
from registry_core.telemetry.metrics import ReplicaMetrics
from tests.samples import FakeClock


def test_the_memory_store_loads_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    assert isinstance(made({}), MemoryStore)


def test_a_follower_loads_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    settings, clock = replica_settings({"REGISTRY_FOLLOW": "http://127.0.0.1:8888"}), FakeClock()
    background = Background(clock)

    def no_hub() -> NoReturn:
        raise AssertionError

    source = source_of(settings, clock, random.Random(1), ReplicaMetrics(), background, hub=no_hub)
    assert source.follower is not None
    assert source.store is source.follower.store
    assert source.view is source.follower.view


def test_a_missing_library_is_named_with_what_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.startswith("registry_core.store.redis")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "redis", None)
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(MissingPackage, match="REGISTRY_STORE needs the Python package redis"):
        made({"REGISTRY_STORE": "redis://127.0.0.1:6379"})


def made(environment: dict[str, str]) -> object:
    clock = FakeClock()
    return store_of(replica_settings(environment), clock, random.Random(1), ReplicaMetrics(), Background(clock))
